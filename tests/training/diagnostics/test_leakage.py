"""The leak probe: data that know the answer stop the run with the suspect's name; honest data pass."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from features.core.errors import GarrisonError
from features.sources.history import History
from tests.support.commands import run_command
from tests.training.conftest import START
from training.diagnostics import known_ends, lifespans
from training.diagnostics.leak_verdict import LEAK, LeakFindings, raise_on_leak
from training.diagnostics.leakage import LeakProbe
from training.registry import mlflow_registry, mlflow_runs

DAY = timedelta(days=1)
TERM = ["purchased_at", "term_starts_at", "term_ends_at"]
TICKETS = """
[tables.tickets]
source = "tickets"
columns = {{ ticket_id = "ticket_id", account_id = "account_id", opened_at = "opened_at" }}
"""


@pytest.fixture(scope="module")
def answered(slim, tmp_path_factory):
    """The same with the answer under another name: what became of the account, as its record says now."""
    left = slim.tables["lifetimes"].set_index("account_id")["ended_at"].notna()
    accounts = slim.tables["accounts"]
    status = accounts["account_id"].map(left).map({True: "closed", False: "open"})
    column = ('country = "country"', 'country = "country"\nstanding = "standing"')
    return slim.vary(tmp_path_factory.mktemp("answered"), column, accounts=accounts.assign(standing=status))


def judged(company):
    return company.fit()["churn"].results[30].evaluation


def with_tickets(slim, folder, tickets):
    rows = tickets.assign(ticket_id=[f"T{i}" for i in range(len(tickets))])
    source = ("[tables.accounts]\n", 'tickets = {{ path = "tickets.parquet" }}\n[tables.accounts]\n')
    return slim.vary(folder, source, ("[churn]", TICKETS + "\n[churn]"), tickets=rows)


def test_honest_data_with_strong_reasons_have_a_signal_and_no_suspect(fitted):
    for target in fitted.values():
        for outcome in target.results.values():
            assert outcome.evaluation.verdict == "signal"
            assert not any("suspect" in reason for reason in outcome.evaluation.reasons)


def test_a_column_that_is_the_answer_renamed_is_named(answered):
    found = judged(answered)
    assert found.verdict == LEAK
    assert found.reasons[0].startswith("suspect standing: the account's standing, as it stands at the export, tells")
    assert "All the rest reach 0." in found.reasons[0]


def test_a_column_filled_in_for_some_that_left_is_named(slim, tmp_path):
    left = slim.tables["lifetimes"].set_index("account_id")["ended_at"].notna()
    accounts = slim.tables["accounts"]
    some = accounts["account_id"].map(left) & (np.arange(len(accounts)) % 2 == 0)
    column = ('country = "country"', 'country = "country"\nreason = "reason"')
    reasons = pd.Series("too dear", index=accounts.index).where(some)
    found = judged(slim.vary(tmp_path, column, accounts=accounts.assign(reason=reasons)))
    assert found.verdict == LEAK
    assert found.reasons[0].startswith("suspect reason: ")


def test_a_source_that_exists_only_near_leaving_is_named(slim, tmp_path):
    ends = slim.tables["lifetimes"].dropna(subset="ended_at")
    near = [
        (a, end - days * DAY)
        for a, end in ends[["account_id", "ended_at"]].itertuples(index=False)
        for days in (3, 12, 20)
    ]
    found = judged(with_tickets(slim, tmp_path, pd.DataFrame(near, columns=["account_id", "opened_at"])))
    assert found.verdict == LEAK
    assert found.reasons[0].startswith("suspect tickets: ")
    assert "it is there only near the label" in found.reasons[0]


def test_an_honest_source_of_a_few_accounts_is_no_suspect(slim, tmp_path):
    random = np.random.default_rng(3)
    rows = slim.tables["usage"].sample(400, random_state=3)["account_id"].to_numpy()
    when = [START + float(d) * DAY for d in random.uniform(1, 400, len(rows))]
    found = judged(with_tickets(slim, tmp_path, pd.DataFrame({"account_id": rows, "opened_at": when})))
    assert not any("suspect tickets" in reason for reason in found.reasons)


@pytest.fixture(scope="module")
def after(slim, tmp_path_factory):
    """Usage goes on for weeks after a third of the ends."""
    ends = slim.tables["lifetimes"].dropna(subset="ended_at")[::3]
    late = [
        (a, end + days * DAY)
        for a, end in ends[["account_id", "ended_at"]].itertuples(index=False)
        for days in (3, 9, 21)
    ]
    usage = pd.concat([slim.tables["usage"], pd.DataFrame(late, columns=["account_id", "used_at"])])
    return slim.vary(tmp_path_factory.mktemp("after"), usage=usage)


def test_usage_recorded_after_leaving_is_named_with_how_many(after):
    found = judged(after)
    assert found.verdict == LEAK
    assert found.reasons[0].startswith("suspect usage: usage was recorded after the end of ")


def test_what_the_settings_trust_is_remarked_on_and_stops_nothing(after, tmp_path):
    found = judged(after.vary(tmp_path, ('trusted = ["seats"]', 'trusted = ["seats", "usage"]')))
    assert found.verdict == "signal"
    assert any("(training.trusted names usage)" in reason for reason in found.reasons)


def with_terms(slim, folder, *changes, ends):
    """One term an account, from the start of its life."""
    lives = slim.tables["lifetimes"]
    terms = pd.DataFrame({"account_id": lives["account_id"], "purchased_at": lives["started_at"], "amount": 10.0})
    terms = terms.assign(kind="new", term_starts_at=lives["started_at"], term_ends_at=ends)
    mapped = ('kind = "kind" }}', 'kind = "kind", term_starts_at = "term_starts_at", term_ends_at = "term_ends_at" }}')
    return slim.vary(folder, mapped, *changes, purchases=terms)


@pytest.mark.parametrize("label", ["ended", "lapse"])
def test_ends_of_terms_that_are_filled_in_at_the_cancellation_are_named(slim, tmp_path, label):
    rule = (
        '{{ kind = "lifetime" }}\nlabel = {{ kind = "ended" }}',
        '{{ kind = "in_force" }}\nlabel = {{ kind = "lapse" }}',
    )
    harmed = with_terms(
        slim, tmp_path, *([rule] if label == "lapse" else []), ends=slim.tables["lifetimes"]["ended_at"]
    )
    with History.open(harmed.settings) as history:
        suspects = known_ends.find_known_ends(history)
    assert suspects["purchases"].startswith("ends of terms are known only of those that left: ")
    if label == "ended":
        found = judged(harmed)
        assert found.verdict == LEAK
        assert any(reason.startswith("suspect purchases: ends of terms") for reason in found.reasons)


def test_ends_that_lie_ahead_or_are_followed_by_another_term_are_no_suspects(slim, tmp_path):
    lives = slim.tables["lifetimes"]
    agreed = lives["ended_at"].fillna(lives["started_at"] + 1000 * DAY)
    with History.open(with_terms(slim, tmp_path / "ahead", ends=agreed).settings) as history:
        assert known_ends.find_known_ends(history) == {}
    base = with_terms(slim, tmp_path / "one", ends=lives["started_at"] + 30 * DAY)
    first = base.tables["purchases"]
    later = [first.assign(**{c: first[c] + k * 30 * DAY for c in TERM}) for k in range(1, 4)]
    once = first.assign(term_starts_at=pd.NaT, term_ends_at=pd.NaT)
    monthly = base.vary(tmp_path / "monthly", purchases=pd.concat([first, *later, once]))
    with History.open(monthly.settings) as history:
        assert known_ends.find_known_ends(history) == {}


def test_a_flag_in_a_column_of_events_is_named_by_the_features_that_hold_it(slim, tmp_path):
    usage = slim.tables["usage"]
    ends = usage["account_id"].map(slim.tables["lifetimes"].set_index("account_id")["ended_at"])
    near = (ends - usage["used_at"]).between(0 * DAY, 25 * DAY) & (usage["account_id"].str[-1] > "3")
    mapped = ('used_at = "used_at" }}', 'used_at = "used_at", errors = "errors" }}')
    found = judged(slim.vary(tmp_path, mapped, usage=usage.assign(errors=near.astype(int))))
    assert found.verdict == LEAK
    assert any(reason.startswith("suspect error_share_") and "is above 0" in reason for reason in found.reasons)


def test_a_model_too_good_to_be_true_makes_the_labels_table_a_suspect(slim):
    labels = np.repeat([0.0, 1.0], 200)
    with History.open(slim.settings) as history:
        probe = LeakProbe(
            history,
            slim.settings.churn,
            None,
            settings=slim.settings,
            plans=(),
            keys=None,
            rows=None,
            data_until=START,
        )
        sentences = probe.find_perfection(pd.DataFrame({"label": labels, "score": labels}))
        assert sentences == {"lifetimes": "the model reaches an AUC of 1.000: no honest data tell so much"}
        blurred = labels + np.random.default_rng(3).normal(0, 0.5, len(labels))
        assert probe.find_perfection(pd.DataFrame({"label": labels, "score": blurred})) == {}


def test_labels_shuffled_have_no_signal_and_are_called_doubtful(slim, tmp_path):
    table = slim.tables["lifetimes"]
    ids = table["account_id"].sample(frac=1, random_state=5).to_numpy()
    found = judged(slim.vary(tmp_path, lifetimes=table.assign(account_id=ids)))
    assert found.verdict == "no_signal"
    assert any("(the labels may be wrong)" in reason for reason in found.reasons)


def test_fit_stops_with_the_suspects_name_and_registers_nothing(answered):
    file = answered.folder / "fit.json"
    done = run_command("training", "fit", "--config", answered.file, "--json", file)
    assert done.returncode == 1
    *steps, line = done.stderr.splitlines()
    assert steps[0].endswith("reading the tables")
    assert any(step.endswith("churn: looking for leaks") for step in steps)
    assert not any("error" in step or "Traceback" in step for step in steps)
    assert line.startswith("error: a leak is suspected, so nothing was registered: churn_30d: suspect standing: ")
    assert "training.trusted" in line
    assert json.loads(file.read_text())["targets"]["churn_30d"]["verdict"] == LEAK
    # MLflow's database is made before the training; no run and no model stand in it.
    with contextlib.closing(sqlite3.connect(answered.folder / "mlruns" / "mlflow.db")) as database:
        for table in ("runs", "model_versions"):
            assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)  # noqa: S608  # our own names


def test_a_model_with_a_suspected_leak_is_never_promoted(answered, tmp_path):
    company = answered.vary(tmp_path)
    run, registered = mlflow_runs.log_run(company.settings, company.fit(), fingerprint="0")
    assert registered["churn"].verdict == LEAK
    for force in (False, True):
        for asked in (run, "latest"):
            done = mlflow_registry.promote(company.settings, asked, reason="try", force=force)
            assert done["churn"].startswith("churn-1 stays a challenger: verdict: churn_30d is leak_suspected")


def test_ends_recorded_after_the_account_has_gone_silent_are_suspected(slim, tmp_path):
    random = np.random.default_rng(4)
    lifetimes, usage = [], []
    for number in range(250):
        stop = random.uniform(0.3, 1.1) * 450
        days = np.arange(random.random(), min(stop, 455), 1.0)
        usage += [(f"A{number:03d}", START + float(d) * DAY) for d in days]
        end = START + float(stop + 20) * DAY
        lifetimes.append((f"A{number:03d}", START, end if stop + 20 < 455 else None))
    tables = {
        "usage": pd.DataFrame(usage, columns=["account_id", "used_at"]),
        "lifetimes": pd.DataFrame(lifetimes, columns=["account_id", "started_at", "ended_at"]),
    }
    company = slim.vary(tmp_path, ("horizons = [30]", "horizons = [20]"), **tables)
    found = company.fit()["churn"].results[20].evaluation
    assert found.verdict == LEAK
    assert found.reasons[0].startswith("suspect usage: without the newest 14 days before each cutoff the AUC falls ")


def lived(posted, slim, *, ahead):
    """Remarks on 400 lives; `ahead`, a life's number of uses is drawn whatever its length."""
    random = np.random.default_rng(2)
    lifetimes, usage = [], [("A000", START)]
    for number in range(400):
        account, begin, days = f"A{number:03d}", START + float(random.uniform(0, 100)) * DAY, random.uniform(20, 300)
        lifetimes.append((account, begin, {"ended_at": begin + float(days) * DAY}))
        count = random.poisson(30) if ahead else random.poisson(days / 5)
        usage += [(account, begin + float(d) * DAY) for d in random.uniform(0, days, count)]
    usage.append(("A001", START + 460 * DAY))
    accounts = [(f"A{number:03d}", START) for number in range(400)]
    history = posted(accounts=accounts, usage=usage, lifetimes=lifetimes)
    return lifespans.find_problems(history, slim.settings.churn.label, data_until=START + 461 * DAY)[1]


def test_events_spread_over_a_life_that_was_known_ahead_are_remarked_on(posted, slim):
    assert lived(posted, slim, ahead=False) == ()
    [remark] = lived(posted, slim, ahead=True)
    assert remark.startswith("usage knows how long accounts live: of 400 accounts that left, ")


def test_an_error_names_every_suspect_once(fitted):
    e = fitted["churn"].results[30].evaluation
    bad = LeakFindings({"status": "it is the answer"}).apply(e, ())
    with pytest.raises(GarrisonError) as raised:
        raise_on_leak({"churn_30d": bad, "churn_60d": bad, "upsell_30d": e})
    assert str(raised.value).count("suspect status") == 1
    raise_on_leak({"churn_30d": e})

"""The post-mortem: who left without a warning, and the cause that the stored facts show."""

import json
from datetime import UTC, datetime

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from features.catalog import Catalog
from features.core.errors import GarrisonError
from features.settings import Churn, ChurnLabel, Cohort
from features.settings.load import load_settings
from features.sources.history import History
from features.state.tables import OUTBOX
from monitoring.performance import departures, post_mortem
from monitoring.performance.departures import Month
from serving.gate import verdict_store
from serving.gate.verdict import Reason, RunVerdict
from tests.monitoring.conftest import LIMITS, Company, day
from tests.support.commands import run_command
from training.models.calibration import Calibrator
from training.models.horizon_model import HorizonModel
from training.models.model import Model

BEFORE, AT = "2024-03-01", "2024-04-01"
GONE = ("busy", "capped", "held", "high", "late", "low", "middle", "nobody", "unknown", "unseen", "warned")
USAGE = """
[sources.usage]
path = "usage.csv"
[tables.usage]
source = "usage"
columns = { account_id = "id", used_at = "at", known_at = "known" }
"""


def promote_usage_model(company):
    """Make a model champion by which 20 uses in 90 days or more are a sign of leaving."""
    company.promote(reads=("usage_events_90d",), usage_events_90d=np.arange(40.0))
    rows = pd.DataFrame({"usage_events_90d": np.arange(40.0)})
    quiet = {"objective": "binary", "min_data_in_leaf": 5, "verbosity": -1, "num_threads": 1}
    leaves = (rows["usage_events_90d"] >= 20).astype(int)
    booster = lgb.train(quiet, lgb.Dataset(rows, leaves), num_boost_round=40)
    folder = company.settings.paths.mlruns / "bundle"
    champion = Model.load(folder)
    head = HorizonModel(90, booster.model_to_string(), Calibrator(1.0, 0.0), 0.1, champion.horizon_models[0].quantiles)
    Model(**{**vars(champion), "horizon_models": (head,), "reference": rows}).save(folder)


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    """Eleven accounts whose last purchase is in March, one a cause; `stays` buys on."""
    made = Company(tmp_path_factory.mktemp("company"))
    made.accounts({a: f"{a}@owners.test" for a in (*GONE, "stays")} | {"capped": "busy@owners.test", "nobody": None})
    made.purchases(
        [f"{a},2024-03-{n:02},10" for a in GONE for n in (2, 20)]
        + [f"stays,{at:%Y-%m-%d},10" for at in pd.date_range("2024-01-02", "2024-12-31", freq="7D")]
    )
    uses = [
        f"{a},2024-03-{n:02},{known}" for n in range(2, 27) for a, known in (("unseen", ""), ("late", "2024-05-01"))
    ]
    (made.folder / "usage.csv").write_text("\n".join(["id,at,known", *uses, "stays,2024-12-30,"]) + "\n")
    made.tables = USAGE
    made.configure(fallback_owner=None)
    made.file.write_text(made.file.read_text() + '[capacity.owners]\n"busy@owners.test" = 0.5\n')
    made.settings = load_settings(made.file)
    promote_usage_model(made)
    stored = {"catalog": Catalog.for_company(made.settings).version}
    made.score(BEFORE, dict.fromkeys(GONE, 0.08), **stored)
    made.score("2024-03-15", {"held": 0.8}, **stored)
    scores = {"high": 0.02, "low": 0.05, "middle": 0.2, "late": 0.3, "held": 0.3, "stays": 0.05}
    scores |= dict.fromkeys(("busy", "capped", "nobody", "warned"), 0.7)
    given = {a: {"score": s, "value": 9_000.0 if a == "busy" else 100.0} for a, s in scores.items()}
    made.score(AT, given | {"unseen": {"score": 0.04, "sources": "purchases"}}, **stored)
    reason = Reason("source", "usage", "hold", "is silent for 42 days")
    at = day("2024-03-15")
    verdict = RunVerdict("run1", at, at, at, (reason,), {}, None, {"churn": LIMITS.model})
    verdict_store.write_verdict(made.state, verdict)
    made.alert(AT)
    with made.state.writing() as connection:
        connection.execute(sa.update(OUTBOX).where(OUTBOX.c.state == "pending").values(state="sent"))
        # An account that was scored by no run, and one whose score of 0.7 no alerts were raised on.
        connection.execute(sa.text("DELETE FROM scores WHERE account_id = 'unknown'"))
    made.score("2024-03-22", {"high": 0.7}, **stored)
    yield made
    made.state.close()


@pytest.fixture(scope="module")
def explained(company):
    return post_mortem.run(company.settings, month=day("2024-03-01"))


def test_who_left_is_counted_and_who_was_warned_is_left_out(explained):
    assert (explained.month, explained.left, explained.announced) == ("2024-03", 11, 2)
    assert {d.account_id for d in explained.unannounced} == {*GONE} - {"busy", "warned"}


@pytest.mark.parametrize(
    ("account", "cause", "words"),
    [
        ("capped", "capacity", "70.0% on 2024-04-01: over what its owner has time for this week"),
        ("nobody", "owner", "it has no owner"),
        ("low", "no signal", "at most 8.0% (2024-03-01), the base rate is 10.0%"),
        ("middle", "threshold", "at most 20.0% (2024-04-01), episodes open at 60.0%"),
        ("held", "source", "80.0% on 2024-03-15, and that run was held: usage"),
        ("high", "not run", "70.0% on 2024-03-22, and no alerts were raised on that run"),
        ("unknown", "not run", "no run scored it"),
        ("late", "late data", "with the rows known later: 25 of usage"),
        ("unseen", "source", "4.0% on 2024-04-01 without usage"),
    ],
)
def test_the_cause_is_the_one_that_the_stored_facts_show(explained, account, cause, words):
    found = next(d for d in explained.unannounced if d.account_id == account)
    assert found.cause == cause
    assert words in found.detail


def test_it_says_what_was_known_when(explained):
    late = next(d for d in explained.unannounced if d.account_id == "late")
    assert [(f"{s.as_of:%m-%d}", s.score, s.enter) for s in late.scores] == [
        ("03-01", 0.08, pytest.approx(0.2 / 1.1)),
        ("04-01", 0.3, 0.6),
    ]
    assert (late.last_known, late.late) == ({"usage": None, "purchases": "2024-03-20"}, {"usage": 25})
    assert late.complete < 0.6 <= late.punctual


def test_a_late_row_that_would_have_changed_nothing_is_no_cause(company):
    company.score(AT, {"late": 0.3}, catalog="older definitions of features")
    found = next(d for d in post_mortem.run(company.settings, month=day(BEFORE)).unannounced if d.account_id == "late")
    assert (found.cause, found.complete, found.late) == ("threshold", None, {"usage": 25})
    company.score(AT, {"late": 0.3}, catalog=Catalog.for_company(company.settings).version)


def test_the_command_prints_a_table_within_80_columns_and_writes_json(company):
    file = company.folder / "pm.json"
    done = run_command("monitoring", "post-mortem", "--month", "2024-03", "--config", company.file, "--json", file)
    assert (done.returncode, done.stderr) == (0, "")
    first, *_ = done.stdout.splitlines()
    assert first == "2024-03: 11 accounts left, 2 of them after a message to the owner."
    table = done.stdout[done.stdout.index("scores before") - 20 :]
    print(done.stdout)
    assert max(map(len, table.splitlines())) <= 80
    data = json.loads(file.read_text())
    assert data["causes"]["source"] == 2
    assert sum(data["causes"].values()) == len(data["unannounced"]) == 9
    assert run_command("monitoring", "post-mortem", "--month", "03/2024", "--config", company.file).returncode == 2


def test_a_month_that_is_not_known_yet_names_the_last_that_is(company):
    with pytest.raises(
        GarrisonError, match=r"who left in 2024-11 is not known yet.*The last month that is known is 2024-09"
    ):
        post_mortem.run(company.settings, month=datetime(2024, 11, 1, tzinfo=UTC))
    assert post_mortem.run(company.settings).month == "2024-09"


def test_where_leaving_is_an_event_it_is_asked_of_each_account_from_its_first_day(tmp_path):
    made = Company(tmp_path)
    made.accounts(dict.fromkeys("ABCD"))
    rows = ["A,2023-05-01,2024-03-10", "B,2024-03-05,2024-03-20", "C,2023-05-01,2024-04-01", "D,2023-05-01,"]
    (tmp_path / "lives.csv").write_text("\n".join(["id,began,ended", *rows]) + "\n")
    columns = '{ account_id = "id", started_at = "began", ended_at = "ended" }'
    made.tables = f'[sources.lives]\npath = "lives.csv"\n[tables.lifetimes]\nsource = "lives"\ncolumns = {columns}\n'
    settings = made.configure()
    churn = Churn(cohort=Cohort(kind="lifetime"), label=ChurnLabel(kind="ended"))
    settings = settings.model_copy(update={"churn": churn})
    with History.open(settings) as history:
        month = Month.of(day("2024-03-15"))
        # C ends exactly at the month's end: that is April's.
        assert departures.find_departures(settings, history, month, data_until=day("2025-01-01")) == ("A", "B")
    made.state.close()

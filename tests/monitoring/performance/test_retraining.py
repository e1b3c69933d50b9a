"""Proposals to train again: each reason with its figures, and a challenger that is never promoted."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.timestamps import to_micros
from features.sources.history import History
from features.state.tables import EPISODE_EVENTS, EPISODES
from monitoring.drift.verdict import ColumnDrift, DriftVerdict
from monitoring.performance import challenger, evaluation, retraining
from monitoring.performance.evaluation import PerformanceReport
from monitoring.performance.new_labels import NewLabels, count_new_labels
from tests.monitoring.conftest import LIMITS, day
from tests.support.commands import run_command
from training.registry import promotion_log

CALM = DriftVerdict((), (), 100, 100)
MOVED = DriftVerdict((ColumnDrift("score churn 90 days", "score", 0.4, 0.1, 10, 0.0, None, (0, 0)),), (), 100, 100)


@pytest.fixture
def portfolio(company):
    """Eighty accounts that buy monthly until they leave; scores that are right of half of them."""
    random = np.random.default_rng(2)
    ids = [f"a{n:02}" for n in range(80)]
    company.accounts(dict.fromkeys(ids, "o@owners.test"))
    months = pd.date_range("2023-02-10", "2024-12-10", freq="MS") + pd.Timedelta(days=9)
    company.last = dict(zip(ids, random.integers(8, 30, 80), strict=True))
    rows = [f"{a},{at:%Y-%m-%d},10" for a in ids for n, at in enumerate(months) if n <= company.last[a]]
    company.purchases([*rows, "a00,2024-12-30,1"])
    company.promote()
    folder = company.settings.paths.mlruns / "bundle"
    promised = {"auc": 0.9, "auc_low": 0.88, "auc_high": 0.92, "verdict": "signal", "reasons": ["yes"]}
    (folder / "evaluation.json").write_text(json.dumps({"churn_90d": promised}))
    return company


def score(company, *, noise, level=1.0):
    """Score at three cutoffs: the riskier who leaves soon, blurred by noise, and times a level."""
    random = np.random.default_rng(4)
    for n, at in ((12, "2024-03-01"), (13, "2024-04-01"), (14, "2024-05-01")):
        soon = {a: float(last <= n) for a, last in company.last.items() if last >= n - 6}
        scores = {a: level * np.clip(0.2 + 0.5 * s + noise * random.normal(), 0.01, 0.99) for a, s in soon.items()}
        company.score(at, {a: float(s) for a, s in scores.items()})


def tell(state, accounts, at):
    """Tell the owners of accounts, at an instant (µs)."""
    with state.writing() as connection:
        for account in accounts:
            row = {"id": f"e-{account}", "account_id": account, "kind": "churn", "state": "open", "version": 1}
            connection.execute(sa.insert(EPISODES), row | {"opened_as_of": at, "last_as_of": at})
            told = {"episode_id": row["id"], "seq": 1, "at": at, "event": "notified", "by": "run", "details": {}}
            connection.execute(sa.insert(EPISODE_EVENTS), told)


def check(company, *, drift=CALM, labels=()):
    promotion = promotion_log.read_current(company.settings)["churn"]
    model = promotion_log.load_model(company.settings, promotion)
    performance = evaluation.run(company.settings)
    return retraining.check_champion(company.settings, promotion, model, performance, drift, labels)


def test_scores_below_their_promise_are_a_reason_and_good_ones_are_none(portfolio):
    score(portfolio, noise=0.6)
    reason = next(r for r in check(portfolio).reasons if r.kind == "performance")
    assert reason.subject == "churn_90d"
    assert "0.900 was promised: lower by at least" in reason.text
    assert reason.figures["drop"] > reason.figures["least"] > 0
    score(portfolio, noise=0.05)
    assert "performance" not in {r.kind for r in check(portfolio).reasons}


def test_scores_that_are_too_high_are_a_reason(portfolio):
    score(portfolio, noise=0.05, level=0.3)
    reason = next(r for r in check(portfolio).reasons if r.kind == "calibration")
    assert reason.figures["ece"] > reason.figures["noise"]
    assert "were expected to come true" in reason.text


def test_what_another_model_scored_is_not_held_against_the_champion(portfolio):
    score(portfolio, noise=0.6)
    with portfolio.state.writing() as connection:
        connection.exec_driver_sql("UPDATE scores SET model = 'churn-0'")
    found = check(portfolio)
    assert found.reasons == ()
    assert any("no label of a score by churn-1 has matured yet" in remark for remark in found.remarks)


def test_drift_that_matters_and_enough_new_labels_are_reasons(portfolio):
    score(portfolio, noise=0.05)
    found = check(portfolio, drift=MOVED, labels=(NewLabels(90, 2, 500, 40, 300, treated=7),))
    assert {"drift", "labels"} <= {r.kind for r in found.reasons}
    assert "40 positives in 500 new labels at 2 cutoffs, it learned from 300; of 7 of the new ones owners had" in str(
        found.reasons[-1]
    )
    few = check(portfolio, labels=(NewLabels(90, 1, 500, 29, 100), NewLabels(60, 1, 500, 40, 401)))
    assert not {r.kind for r in few.reasons} & {"drift", "labels"}
    assert sum("too few new labels" in remark for remark in few.remarks) == 2


def test_new_labels_are_those_a_training_today_would_learn_from(portfolio):
    settings = portfolio.settings
    model = promotion_log.load_champions(settings)["churn"]
    with History.open(settings) as history:
        (everything,) = count_new_labels(settings, history, model)
        (since,) = count_new_labels(settings, history, replace(model, learned_until=day("2024-04-15")))
        (nothing,) = count_new_labels(settings, history, replace(model, learned_until=day("2024-12-31")))
    assert (everything.learned, nothing.rows, nothing.positives) == (0, 0, 0)
    # The test begins on 1 July: a training learns up to the cutoff of April, whose labels end the day before. Those of
    # January ended before 15 April.
    assert since.cutoffs == 3
    assert since.positives + since.learned == everything.positives == nothing.learned
    assert 0 < since.rows < everything.rows
    assert everything.treated == 0


def test_new_labels_of_accounts_whose_owner_was_told_are_counted_and_may_be_left_out(portfolio):
    model = promotion_log.load_champions(portfolio.settings)["churn"]
    training = portfolio.settings.training.model_copy(update={"treated": "leave_out"})
    left_out = portfolio.settings.model_copy(update={"training": training})
    with History.open(portfolio.settings) as history:
        (before,) = count_new_labels(portfolio.settings, history, model)
        tell(portfolio.state, [f"a{n:02}" for n in range(40)], to_micros(day("2024-03-10")))
        (kept,) = count_new_labels(portfolio.settings, history, model)
        (left,) = count_new_labels(left_out, history, model)
    assert kept.treated > 0
    assert (kept.rows, kept.positives) == (before.rows, before.positives)
    assert (left.rows, left.treated) == (before.rows - kept.treated, 0)


def test_the_command_proposes_acts_and_never_promotes(portfolio, monkeypatch):
    score(portfolio, noise=0.6)
    commands = []

    def run_training(*words, config):
        commands.append((*words[:-1], config))
        data = {"run_id": "abc"} if words[0] == "fit" else {"targets": {"churn_90d": {"rows": 5}}}
        Path(words[-1]).write_text(json.dumps(data))

    monkeypatch.setattr(challenger, "run_training", run_training)
    file = portfolio.folder / "r.json"
    words = ("monitoring", "retrain-check", "--config", portfolio.file, "--json", file)
    done = run_command(*words, "--act")
    assert (done.returncode, done.stderr) == (0, "")
    assert "churn, champion churn-1: train again." in done.stdout
    assert f"not promoted. To promote it: python -m training promote abc --config {portfolio.file}" in done.stdout
    config = portfolio.settings.file
    assert commands == [("fit", "--json", config), ("compare", "champion", "abc", "--json", config)]
    data = json.loads(file.read_text())
    assert data["proposed"]
    assert {"performance", "labels"} <= {r["kind"] for r in data["targets"]["churn"]["reasons"]}
    assert data["challenger"]["comparison"] == {"churn_90d": {"rows": 5}}
    assert [p.version for p in promotion_log.read_promotions(portfolio.settings)] == [LIMITS.model]


def test_without_a_reason_nothing_is_trained(portfolio, monkeypatch):
    score(portfolio, noise=0.05)
    monkeypatch.setattr(retraining, "run", lambda _: retraining.RetrainingProposal(()))
    monkeypatch.setattr(challenger, "run_training", lambda *_: pytest.fail("it trained"))
    done = run_command("monitoring", "retrain-check", "--act", "--config", portfolio.file)
    assert (done.returncode, "no challenger was trained" in done.stdout) == (0, True)


def test_a_training_that_fails_is_one_error_line(portfolio, monkeypatch):
    nowhere = portfolio.folder / "nowhere.toml"
    assert challenger.run_training("no such command", config=nowhere)
    assert challenger.run_training("fit", "--help", config=nowhere) is None
    monkeypatch.setattr(challenger, "run_training", lambda *_, config: f"{config.name} has too short a history")
    with pytest.raises(GarrisonError, match=r"no challenger could be trained\. found: nowhere.toml has too short"):
        challenger.train_challenger(SimpleNamespace(file=nowhere))


def test_a_challenger_that_can_not_be_compared_yet_says_so(portfolio, monkeypatch):
    def run_training(*words, config):
        assert config == portfolio.settings.file
        if words[0] == "compare":
            return "the two models can't be compared: wait for more labels."
        return Path(words[-1]).write_text('{"run_id": "abc"}') and None

    monkeypatch.setattr(challenger, "run_training", run_training)
    found = challenger.train_challenger(portfolio.settings)
    assert (found.run, found.comparison) == ("abc", None)
    assert "wait for more labels" in found.lines()[0]


def test_without_a_champion_it_says_what_to_do(company):
    company.score("2024-03-01", {"A": 0.5})
    with pytest.raises(GarrisonError, match="no model is champion"):
        retraining.run(company.settings)


def test_an_empty_report_gives_no_group():
    assert PerformanceReport((), ()).find_overall("churn", 90) is None

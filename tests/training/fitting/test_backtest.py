"""The rolling-origin backtest: no origin knows an answer of its own future, and the pool is all of their rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from features.core.errors import LabelError
from features.settings import Churn, ChurnLabel, Cohort, Training
from features.sources.history import History
from training.fitting import backtest as backtests
from training.fitting.backtest import backtest, iterate_plans
from training.models import dataset
from training.targets.time_splits import list_cutoffs

BEGAN = datetime(2022, 1, 1, tzinfo=UTC)


def run(company, **rest):
    with History.open(company.settings) as history:
        return backtest(history, company.settings, **rest)


@pytest.fixture(scope="module")
def done(slim):
    """(what it found, the progress it told)."""
    told = []
    return run(slim, origins=3, progress=lambda *now: told.append(now))["churn_30d"], told


def churn(*, grace):
    return Churn(cohort=Cohort(kind="lifetime"), label=ChurnLabel(kind="lapse", grace_days=grace))


@given(
    horizon=st.integers(1, 200),
    grace=st.integers(0, 60),
    embargo=st.integers(0, 90),
    months=st.integers(4, 30),
    every=st.sampled_from(["week", "month"]),
)
def test_no_origin_learns_from_a_label_that_reaches_past_it(horizon, grace, embargo, months, every):
    until = BEGAN + timedelta(days=30 * months)
    found = list_cutoffs(Training(every=every), all_began=BEGAN, data_until=until)
    seen = []
    for plan in iterate_plans(churn(grace=grace), horizon, found, until, embargo=embargo):
        [origin] = plan.test
        span = timedelta(days=horizon + grace)
        assert plan.days == horizon + grace
        assert max(plan.train) + span + timedelta(days=embargo) <= origin
        assert max(plan.early) + span <= min(plan.late)
        assert origin + span <= until
        assert origin.day == 1
        seen.append(origin)
    assert seen == sorted(set(seen))


def test_each_cutoff_with_enough_before_it_is_an_origin():
    until = datetime(2023, 1, 1, tzinfo=UTC)
    found = list_cutoffs(Training(), all_began=BEGAN, data_until=until)
    assert found[0] == datetime(2022, 4, 1, tzinfo=UTC)
    # Learned early from April and May, late from June, whose answers are known on 2 July; December's are by 2023.
    months = [plan.test[0].month for plan in iterate_plans(churn(grace=0), 31, found, until)]
    assert months == [8, 9, 10, 11, 12]
    assert [p.test[0].month for p in iterate_plans(churn(grace=0), 31, found, until, embargo=31)] == [9, 10, 11, 12]


def test_the_newest_origins_are_judged_and_progress_is_told(slim, done):
    found, told = done
    assert [f"{o.as_of:%Y-%m-%d}" for o in found.origins] == ["2024-01-01", "2024-02-01", "2024-03-01"]
    assert told == [("models", n, 3) for n in (1, 2, 3)]
    assert found.skipped == ()
    with History.open(slim.settings) as history:
        assert found.origins[-1].as_of + timedelta(days=30) <= dataset.find_data_until(history, slim.settings)


def test_the_pool_is_the_rows_of_all_origins(done):
    found = done[0]
    test, evaluation = found.pooled.test, found.pooled.evaluation
    assert evaluation.rows == len(test) == sum(o.evaluation.rows for o in found.origins)
    assert not test.duplicated(["account_id", "as_of"]).any()
    for origin, part in zip(found.origins, evaluation.by_cutoff, strict=True):
        rows = test[test["as_of"] == origin.as_of]
        assert origin.evaluation.auc == pytest.approx(roc_auc_score(rows["label"], rows["score"]))
        assert (part.value, part.rows) == (f"{origin.as_of:%Y-%m-%d}", len(rows))
        assert part.auc == (pytest.approx(origin.evaluation.auc) if rows["label"].sum() >= 10 else None)
    assert evaluation.auc == pytest.approx(roc_auc_score(test["label"], test["score"]))
    assert evaluation.verdict == "signal"
    assert {"base_rate", "recency", "rfm_logistic", "bg_nbd"} <= evaluation.baselines.keys()


def test_nothing_after_an_origin_changes_its_scores(slim, done, tmp_path):
    origin, lives = datetime(2024, 1, 1, tzinfo=UTC), slim.tables["lifetimes"]
    # Who left since then has stayed.
    tables = {
        "usage": slim.tables["usage"][slim.tables["usage"]["used_at"] < origin + timedelta(days=45)],
        "lifetimes": lives.assign(ended_at=lives["ended_at"].where(lives["ended_at"] < origin + timedelta(days=15))),
    }
    again = run(slim.vary(tmp_path, **tables), origins=3)["churn_30d"]
    old, new = (f.pooled.test[f.pooled.test["as_of"] == origin] for f in (done[0], again))
    assert np.array_equal(old["score"], new["score"])
    assert (old["label"].to_numpy() != new["label"].to_numpy()).any()


def test_an_origin_that_cannot_be_judged_is_left_out_with_the_reason(slim, tmp_path):
    lives = slim.tables["lifetimes"]
    month = (pd.Timestamp("2024-02-01", tz="UTC"), pd.Timestamp("2024-03-02", tz="UTC"))
    stays = lives["ended_at"].between(*month)
    ends = lives["ended_at"].mask(stays, month[1] + pd.Timedelta(hours=1))
    found = run(slim.vary(tmp_path, lifetimes=lives.assign(ended_at=ends)), origins=3)["churn_30d"]
    assert [o.as_of.month for o in found.origins] == [1, 3]
    [(at, reason)] = found.skipped
    assert at.month == 2
    assert "one class only in the test from 2024-02-01" in reason
    assert found.as_dict()["skipped"] == [{"as_of": at.isoformat(), "reason": reason}]


def test_too_short_a_history_is_an_error_that_says_so(slim, tmp_path):
    short = slim.vary(tmp_path, ("horizons = [30]", "horizons = [300]"))
    with pytest.raises(LabelError, match="no cutoff at which churn_300d could be trained and evaluated"):
        run(short)


def test_a_rival_without_a_score_at_some_origin_is_not_in_the_pool(done, slim):
    found = done[0]
    outcome = found.pooled
    half = backtests.replace(outcome, baselines=outcome.baselines.drop(columns="bg_nbd"))
    plan = outcome.plan
    pooled = backtests._pool("churn_30d", "churn", [(plan, outcome), (plan, half)], slim.settings).pooled
    assert "bg_nbd" not in pooled.evaluation.baselines
    assert "recency" in pooled.evaluation.baselines


def test_for_machines_each_origin_tells_what_it_knew(done):
    plain = done[0].as_dict()
    assert plain["rows"] == done[0].pooled.evaluation.rows
    first = plain["by_origin"][0]
    assert first["as_of"] == "2024-01-01T00:00:00+00:00"
    assert first["learned_until"] <= first["as_of"]
    assert {"auc", "auc_low", "auc_high", "base_rate", "baselines", "verdict"} <= first.keys()

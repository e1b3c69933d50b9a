from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serving.gate.score_shift import measure_score_shifts, select_reasons
from serving.gate.scored_run import ScoredRun

FIRST = datetime(2025, 1, 1, tzinfo=UTC)
HORIZONS = {"churn_30d": ("churn", 30), "churn_90d": ("churn", 90)}


def run_of(*scores: Any, days: int = 0, model: str = "churn-1") -> ScoredRun:
    """A run with the scores of as many horizons as are given."""
    named = dict(zip(HORIZONS, scores, strict=False))
    accounts = pd.Index([f"a{n}" for n in range(len(scores[0]))], dtype=object)
    return ScoredRun(f"run{days}", FIRST + timedelta(days=days), {"churn": model}, accounts, HORIZONS, named)


def model_of(version: str, quantiles: Any) -> dict[str, Any]:
    head = SimpleNamespace(quantiles=tuple(quantiles))
    return {"churn": SimpleNamespace(version=version, horizon_model=lambda _: head)}


def draw(rows: int, seed: int, shift: float = 0.0) -> Any:
    log_odds = np.random.default_rng(seed).normal(-2.3 + shift, 1.0, rows)
    return 1 / (1 + np.exp(-log_odds))


def judge(run: ScoredRun, accepted: ScoredRun | None, models: Any = None) -> list[Any]:
    return list(select_reasons(measure_score_shifts(run, accepted, models or {})))


@pytest.mark.parametrize("rows", [50, 200, 2_000])
def test_new_accounts_of_the_same_kind_are_no_shift(rows: int) -> None:
    nights = [run_of(draw(rows, seed), days=seed) for seed in range(60)]
    assert not [reason for before, run in itertools.pairwise(nights) for reason in judge(run, before)]


@pytest.mark.parametrize(("shift", "state"), [(0.2, []), (0.8, ["hold"]), (-0.6, ["hold"])])
def test_a_shift_of_all_scores_holds_from_a_psi_of_an_eighth(shift: float, state: list[str]) -> None:
    reasons = judge(run_of(draw(3_000, 2, shift), days=31), run_of(draw(3_000, 1)))
    assert [reason.state for reason in reasons] == state


def test_the_reason_names_the_score_that_moved_furthest_with_its_figures() -> None:
    before = run_of(draw(2_000, 1), draw(2_000, 2))
    (reason,) = judge(run_of(draw(2_000, 3, 0.6), draw(2_000, 4, 1.2), days=31), before)
    assert (reason.kind, reason.subject, reason.state) == ("scores", "churn_90d", "hold")
    assert "against the last accepted run, as of 2025-01-01, mean 0.1" in reason.text
    assert reason.figures["psi"] > reason.figures["hold"] == pytest.approx(0.12)


def test_few_accounts_must_move_further() -> None:
    shifted = [judge(run_of(draw(rows, 2, 0.6), days=1), run_of(draw(rows, 1))) for rows in (19, 60, 3_000)]
    assert [len(reasons) for reasons in shifted] == [0, 0, 1]


def test_far_apart_runs_may_move_further() -> None:
    near, far = (run_of(draw(3_000, 2, 0.45), days=days) for days in (31, 310))
    before = run_of(draw(3_000, 1))
    assert [judge(run, before)[0].state for run in (near,)] == ["hold"]
    assert [reason.state for reason in judge(far, before)] == []


def test_a_new_champion_is_compared_with_its_own_calibration_and_held_only_where_absurd() -> None:
    models = model_of("churn-2", np.quantile(draw(2_000, 1), np.linspace(0, 1, 1001)))
    before = run_of(draw(2_000, 1, -2.0))
    for shift, states in ((0.0, []), (0.8, ["watch"]), (3.0, ["hold"])):
        run = run_of(draw(2_000, 2, shift), days=1, model="churn-2")
        reasons = judge(run, before, models)
        assert [reason.state for reason in reasons] == states
        assert all("the calibration of churn-2" in reason.text for reason in reasons)
        assert [r.state for r in judge(run, None, models)] == states


def test_scores_of_another_model_than_the_champion_are_compared_with_nothing() -> None:
    assert judge(run_of(draw(500, 1, 3.0), model="churn-1"), None, model_of("churn-2", [0.1] * 1001)) == []

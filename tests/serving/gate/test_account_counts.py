from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serving.gate.account_counts import judge_account_counts
from serving.gate.scored_run import ScoredRun

FIRST = datetime(2025, 1, 1, tzinfo=UTC)


def run_of(accounts: Iterable[Any], cohort: int, days: int = 0) -> ScoredRun:
    index, scores = pd.Index([str(a) for a in accounts], dtype=object), {"churn_90d": np.full(cohort, 0.1)}
    at = FIRST + timedelta(days=days)
    return ScoredRun("run", at, {"churn": "churn-1"}, index, {"churn_90d": ("churn", 90)}, scores)


def judge(run: ScoredRun, accepted: ScoredRun | None) -> list[tuple[str, str]]:
    return [(reason.subject, reason.state) for reason in judge_account_counts(run, accepted)]


BEFORE = run_of(range(1_000), 600)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (run_of(range(1_000), 600), []),
        (run_of(range(1_080), 560), []),
        (run_of(range(60, 1_000), 600), [("accounts", "watch")]),
        (run_of(range(0, 1_000, 2), 300), [("accounts", "hold"), ("cohort of churn", "hold")]),
        (run_of(range(1_300), 600), [("new accounts", "watch")]),
        (run_of(range(2_000), 1_200), [("new accounts", "hold")]),
        (run_of([f"x{n}" for n in range(1_000)], 600), [("accounts", "hold"), ("new accounts", "hold")]),
        (run_of(range(1_000), 450), [("cohort of churn", "watch")]),
        (run_of(range(1_000), 0), [("churn", "hold")]),
    ],
)
def test_lost_and_new_accounts_and_cohorts_that_shrink_are_reasons(run: ScoredRun, expected: list[Any]) -> None:
    assert judge(run, BEFORE) == expected


def test_what_a_month_may_not_change_a_year_may() -> None:
    assert judge(run_of(range(150, 1_500), 450, days=365), BEFORE) == []
    assert judge(run_of(range(150, 1_500), 450, days=30), BEFORE) == [
        ("accounts", "watch"),
        ("new accounts", "watch"),
        ("cohort of churn", "watch"),
    ]


def test_a_few_accounts_of_a_small_company_are_no_reason() -> None:
    assert judge(run_of(range(4, 12), 5), run_of(range(10), 9)) == []


def test_the_first_run_is_held_only_for_an_empty_cohort() -> None:
    assert judge(run_of(range(10), 3), None) == []
    assert judge(run_of(range(10), 0), None) == [("churn", "hold")]

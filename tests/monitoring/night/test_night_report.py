"""A night is done, held, failed or unfinished, as its log says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from features.core.errors import GarrisonError
from monitoring.night.night_log import ACCEPTED, DISCARDED, HELD, STEPS, NightLog, StepResult, find_previous
from monitoring.night.night_report import NightReport, find_last_success, read_night

FIRST, SECOND = datetime(2024, 6, 1, tzinfo=UTC), datetime(2024, 6, 2, tzinfo=UTC)


def log_night(
    company: Any, at: datetime = FIRST, *, steps: int = len(STEPS), decision: str = ACCEPTED, failed: str = ""
) -> NightReport:
    """Log the first steps of a night."""
    log = NightLog(company.state, at)
    for position, step in enumerate(STEPS[:steps]):
        log.begin(step, position)
        figures = {"decision": decision, "run": "r", "advice": "decide"} if step == "gate" else {}
        log.end(step, StepResult("failed" if step == failed else "done", f"{step} was run", figures))
    return read_night(company.state, at)


def test_an_accepted_night_is_closed_and_a_discarded_one_is_done_but_may_be_scored_again(company: Any) -> None:
    done, discarded = log_night(company), log_night(company, SECOND, decision=DISCARDED)
    assert (done.state, done.is_closed) == ("done", True)
    assert (discarded.state, discarded.is_closed) == ("done", False)
    for report in (done, discarded):
        report.raise_for_failures()


def test_a_night_whose_process_died_is_unfinished_between_steps_and_within_one(any_company: Any) -> None:
    assert read_night(any_company.state, FIRST).state == "unfinished"
    assert log_night(any_company, steps=3).state == "unfinished"
    log_night(any_company, SECOND)
    NightLog(any_company.state, SECOND).begin("report", STEPS.index("report"))
    report = read_night(any_company.state, SECOND)
    assert (report.state, report.steps["report"].attempts, report.steps["report"].seconds) == ("unfinished", 2, 0.0)


def test_failures_and_holds_raise_with_what_to_do(company: Any) -> None:
    failed = log_night(company, failed="deliver")
    assert failed.state == "failed"
    with pytest.raises(GarrisonError, match=r"failed\. found: deliver: deliver was run"):
        failed.raise_for_failures()
    held = log_night(company, SECOND, decision=HELD)
    assert held.state == "held"
    with pytest.raises(GarrisonError, match="decide; then run the night again"):
        held.raise_for_failures()


def test_the_last_success_is_the_newest_night_that_was_done(company: Any) -> None:
    assert find_last_success(company.state, SECOND) is None
    log_night(company)
    log_night(company, SECOND, failed="drift")
    success = find_last_success(company.state, SECOND)
    assert success is not None
    assert success.as_of == FIRST
    assert find_previous(company.state, SECOND, done="alert") == FIRST
    assert find_previous(company.state, FIRST) is None

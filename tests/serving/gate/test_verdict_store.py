from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from features.core.errors import GarrisonError
from features.state import database
from features.state.database import Store
from serving.gate import verdict_store
from serving.gate.verdict import Reason, RunVerdict

DAY = datetime(2025, 1, 1, tzinfo=UTC)
USAGE = Reason("source", "usage", "hold", "last event 2024-11-20, silent for 42 days", {"days": 42})
MOVED = Reason("scores", "churn_90d", "hold", "the scores moved by a PSI of 4.05")
ODD = Reason("source", "tickets", "watch", "has more empty values than it had")


def verdict_of(run: str, *reasons: Reason, day: int = 0) -> RunVerdict:
    at = DAY + timedelta(days=day)
    return RunVerdict(run, at, at, at, reasons, {"psi churn_90d": 0.01}, None, {"churn": "churn-1"})


@pytest.fixture(params=["sqlite", "postgres"])
def state(request: pytest.FixtureRequest, own_harbour: Any) -> Iterator[Store]:
    """An open state database."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    with database.open(own_harbour.settings.model_copy(update={"state_url": url})) as opened:
        yield opened


@pytest.mark.parametrize(("reasons", "expected"), [((), "ok"), ((ODD,), "watch"), ((ODD, USAGE), "hold")])
def test_a_run_is_as_bad_as_its_worst_reason(reasons: tuple[Reason, ...], expected: str) -> None:
    assert verdict_of("r", *reasons).state == expected


def test_verdicts_are_read_as_written_and_judging_again_replaces(state: Store) -> None:
    first, second = verdict_of("aa1", USAGE, ODD), verdict_of("ab2", day=1)
    for verdict in (first, second, replace(second, reasons=(ODD,), compared_with="aa1")):
        verdict_store.write_verdict(state, verdict)
    history = verdict_store.read_history(state)
    assert [judged.verdict for judged in history] == [replace(second, reasons=(ODD,), compared_with="aa1"), first]
    assert [judged.is_accepted for judged in history] == [True, False]
    assert [judged.verdict.run for judged in verdict_store.read_history(state, before=second.as_of)] == ["aa1"]
    assert [judged.verdict.run for judged in verdict_store.read_history(state, limit=1)] == ["ab2"]


def test_runs_are_found_by_the_beginning_of_their_id(state: Store) -> None:
    for run, day in (("aa1", 0), ("ab2", 1)):
        verdict_store.write_verdict(state, verdict_of(run, day=day))
    assert [verdict_store.find_run(state, name).run for name in ("aa", "ab2", "latest")] == ["aa1", "ab2", "ab2"]
    for name, problem in (("a", "more than one run begins with a"), ("c", "no judged run c"), ("%", "no judged run %")):
        with pytest.raises(GarrisonError, match=problem):
            verdict_store.find_run(state, name)


def test_a_release_covers_the_reasons_it_was_given_on_and_a_discard_ends_it(state: Store) -> None:
    held = verdict_of("r1", USAGE, ODD)
    assert not verdict_store.write_verdict(state, held).is_accepted
    made = verdict_store.write_decision(state, held, "released", reason=" the app was closed for repairs ")
    assert (made.reason, made.covers) == ("the app was closed for repairs", {("source", "usage")})
    assert made.decided_by
    assert verdict_store.look_up_decision(state, held) == verdict_store.JudgedRun(held, made)
    assert verdict_store.look_up_decision(state, held).is_accepted
    # Scored again, with the same fault, then with one more; and another day.
    assert verdict_store.write_verdict(state, verdict_of("r2", USAGE)).is_accepted
    assert not verdict_store.write_verdict(state, verdict_of("r2", USAGE, MOVED)).is_accepted
    assert not verdict_store.write_verdict(state, verdict_of("r3", USAGE, day=1)).is_accepted
    verdict_store.write_decision(state, held, "discarded", reason="it was no repair")
    assert verdict_store.look_up_decision(state, held).is_discarded
    again = verdict_store.write_verdict(state, verdict_of("r4", USAGE))
    assert (again.is_accepted, again.is_discarded) == (False, False)


def test_a_discarded_run_is_not_accepted_though_nothing_was_found(state: Store) -> None:
    verdict = verdict_of("r1")
    assert verdict_store.write_verdict(state, verdict).is_accepted
    verdict_store.write_decision(state, verdict, "discarded", reason="a test export")
    assert "was discarded by" in verdict_store.look_up_decision(state, verdict).obstacle


def test_a_delivery_although_held_decides_nothing(state: Store) -> None:
    held = verdict_of("r1", USAGE)
    verdict_store.write_verdict(state, held)
    verdict_store.write_decision(state, held, "delivered", reason="delivered to x although held")
    assert verdict_store.look_up_decision(state, held).decision is None


def test_a_decision_needs_a_reason(state: Store) -> None:
    with pytest.raises(GarrisonError, match="needs a reason"):
        verdict_store.write_decision(state, verdict_of("r1"), "released", reason=" ")

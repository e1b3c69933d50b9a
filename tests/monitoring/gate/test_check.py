from datetime import UTC, datetime, timedelta

import pytest

from monitoring.drift.schema_checks import Finding
from monitoring.drift.verdict import Column, Verdict
from monitoring.gate.check import decide

NOW = datetime(2024, 6, 1, tzinfo=UTC)
MOVED = Column("spend_90d", "number", psi=0.9, threshold=0.1, bins=10, missing=(0.0, 0.0), typical=(1.0, 2.0))


def verdict(*findings):
    return Verdict((MOVED,), findings, rows=100, reference_rows=100)


def gate(**changed):
    given = {"as_of": NOW, "newest_event": NOW - timedelta(days=1), "champion": "churn-1", "drift": verdict()}
    return decide(**given | changed)


@pytest.mark.parametrize("drift", [None, verdict(), verdict(Finding("plan", "is new since training", breaks=False))])
def test_alerts_go_out_when_nothing_speaks_against_them_and_also_under_drift(drift):
    assert gate(drift=drift).state == "open"
    assert gate(drift=drift).lines() == ("Alerts may go out.",)


def test_a_broken_snapshot_closes_it_and_says_what_is_broken():
    closed = gate(drift=verdict(Finding("plan", "is empty", breaks=True), Finding("x", "is new", breaks=False)))
    assert closed.state == "closed"
    assert closed.reasons == ("the snapshot is broken: plan: is empty",)


@pytest.mark.parametrize(("age", "state"), [(7, "open"), (8, "closed")])
def test_stale_data_close_it(age, state):
    assert gate(newest_event=NOW - timedelta(days=age)).state == state
    assert gate(newest_event=NOW - timedelta(days=age), stale_days=30).state == "open"


def test_without_a_champion_or_any_event_it_is_closed_and_all_reasons_are_told():
    closed = gate(champion=None, newest_event=None)
    assert closed.as_dict() == {"state": "closed", "reasons": ("no model is champion", "there is no event at all")}
    assert len(closed.lines()) == 3

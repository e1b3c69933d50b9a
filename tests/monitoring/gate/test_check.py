from datetime import date, timedelta

import pytest

from monitoring.drift.schema_checks import Finding
from monitoring.gate.check import TableSilence, decide_gate

NOW = date(2024, 6, 1)
BROKEN = Finding("plan", "is empty", breaks=True)
NEW = Finding("plan", "is new since training", breaks=False)


def silence(days, **rest):
    return TableSilence("usage", NOW, NOW - timedelta(days=days), **{"longest": 1} | rest)


@pytest.mark.parametrize("findings", [(), (NEW,)])
def test_alerts_go_out_when_nothing_speaks_against_them(findings):
    gate = decide_gate([silence(1)], findings)
    assert gate.state == "open"
    assert gate.lines() == ("Alerts may go out.",)


def test_a_broken_snapshot_closes_it_and_says_what_is_broken():
    gate = decide_gate([silence(1)], (BROKEN, NEW))
    assert gate.state == "closed"
    assert gate.reasons == ("the snapshot is broken: plan: is empty",)


@pytest.mark.parametrize(
    ("days", "rest", "state"),
    [
        (7, {}, "open"),
        (8, {}, "closed"),
        (8, {"longest": 8}, "open"),
        (31, {"longest": 30}, "closed"),
        (10, {"lag": 3}, "open"),
        (11, {"lag": 3}, "closed"),
    ],
)
def test_a_silence_longer_than_any_before_and_than_a_week_closes_it(days, rest, state):
    assert decide_gate([silence(1), silence(days, **rest)], ()).state == state


def test_the_reason_names_the_table_its_last_event_and_its_usual_silence():
    assert decide_gate([silence(31, longest=12)], ()).reasons == (
        (
            "usage is stale: its last event is of 2024-05-01, 31 days before 2024-06-01; "
            "its longest silence before was 12 days, 12 are allowed"
        ),
    )


def test_a_table_without_events_and_no_table_at_all_close_it_and_all_reasons_are_given():
    gate = decide_gate([TableSilence("usage", NOW, None), silence(40)], (BROKEN,))
    assert gate.as_dict()["state"] == "closed"
    assert gate.reasons[0] == "usage has no event before 2024-06-01"
    assert len(gate.lines()) == 4
    assert decide_gate([], ()).reasons == ("no event table is mapped",)

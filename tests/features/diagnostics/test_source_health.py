from datetime import date, timedelta

import pytest

from features.diagnostics.source_health import TableSilence

NOW = date(2024, 6, 1)


def silence(days, **rest):
    return TableSilence("usage", NOW, NOW - timedelta(days=days), **{"longest": 1} | rest)


@pytest.mark.parametrize(
    ("days", "rest", "holds"),
    [
        (7, {}, False),
        (8, {}, True),
        (8, {"longest": 8}, False),
        (31, {"longest": 30}, True),
        (10, {"lag": 3}, False),
        (11, {"lag": 3}, True),
    ],
)
def test_a_silence_longer_than_any_before_and_than_a_week_holds_the_run(days, rest, holds):
    finding = silence(days, **rest).finding
    assert (finding is not None and finding.severity == "hold") == holds


def test_the_finding_names_the_table_its_last_event_and_its_usual_silence():
    assert str(silence(31, longest=12).finding) == (
        "usage: is stale: its last event is of 2024-05-01, 31 days before 2024-06-01; "
        "its longest silence before was 12 days, 12 are allowed"
    )


def test_a_table_without_events_is_named():
    assert str(TableSilence("usage", NOW, None).finding) == "usage: has no event before 2024-06-01"

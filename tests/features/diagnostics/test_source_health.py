"""Silence of a source against the clock, and the whole check on a company whose source is harmed."""

from datetime import date, timedelta

import pytest

from features.diagnostics.source_health import TableSilence

NOW = date(2024, 6, 1)


def silence(days, **rest):
    return TableSilence("usage", NOW, NOW - timedelta(days=days + 1), **{"longest": 1, "past": 730} | rest)


@pytest.mark.parametrize(
    ("days", "rest", "severity"),
    [
        (3, {}, None),
        (4, {}, "watch"),
        (7, {}, "watch"),
        (8, {}, "hold"),
        (8, {"longest": 5}, None),
        (17, {"longest": 10}, None),
        (18, {"longest": 10}, "hold"),
        (18, {"longest": 10, "rate": 1.0}, "watch"),
        (10, {"lag": 3}, "watch"),
        (11, {"lag": 3}, "hold"),
        (14, {"rate": 1.0}, "watch"),
        (15, {"rate": 1.0}, "hold"),
        (8, {"rate": 4.0}, "hold"),
    ],
)
def test_a_silence_longer_than_any_before_is_watched_and_beyond_a_week_with_many_rows_missing_holds(
    days, rest, severity
):
    finding = silence(days, **rest).finding
    assert (finding and finding.severity) == severity


def test_the_finding_names_the_table_its_last_event_and_its_usual_silence():
    assert str(silence(42).finding) == (
        "usage: last event 2024-04-19, silent for 42 days; in 2 years never silent for more than 1"
    )


def test_a_table_without_events_is_named():
    assert str(TableSilence("usage", NOW, None).finding) == "usage: has no event before 2024-06-01"

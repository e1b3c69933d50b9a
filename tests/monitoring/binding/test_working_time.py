from datetime import UTC, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.settings.binding import WorkingTime
from monitoring.binding.working_time import WorkCalendar

BERLIN = WorkCalendar(WorkingTime(), "Europe/Berlin", "DE")


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("instant", "next_one"),
    [
        (utc(2026, 3, 4, 10), utc(2026, 3, 4, 10)),  # a Wednesday at 11 in Berlin
        (utc(2026, 3, 4, 3), utc(2026, 3, 4, 8)),  # before work
        (utc(2026, 3, 4, 16), utc(2026, 3, 5, 8)),  # 17:00 is no longer work
        (utc(2026, 3, 6, 20), utc(2026, 3, 9, 8)),  # over the weekend
        (utc(2026, 3, 27, 20), utc(2026, 3, 30, 7)),  # over the night in which the clock goes forward
        (utc(2026, 4, 2, 20), utc(2026, 4, 7, 7)),  # Good Friday to Easter Monday
        (utc(2026, 10, 24, 12), utc(2026, 10, 26, 8)),  # and the one in which it goes back
    ],
)
def test_the_next_working_instant(instant, next_one):
    assert BERLIN.find_next(instant) == next_one


def test_hours_count_while_people_work_alone():
    assert BERLIN.add_hours(utc(2026, 3, 4, 14), 4) == utc(2026, 3, 5, 10)
    assert BERLIN.add_hours(utc(2026, 3, 6, 15), 1.5) == utc(2026, 3, 9, 8, 30)
    assert BERLIN.add_hours(utc(2026, 3, 27, 15), 8) == utc(2026, 3, 30, 14)
    assert BERLIN.add_hours(utc(2026, 3, 4, 3), 0) == utc(2026, 3, 4, 8)


def test_the_same_instant_is_work_in_one_country_and_a_day_off_in_another():
    spring = utc(2026, 2, 17, 2)  # the Spring Festival, ten in the morning in Shanghai
    assert not WorkCalendar(WorkingTime(), "Asia/Shanghai", "CN").is_working(spring)
    assert WorkCalendar(WorkingTime(), "Asia/Shanghai").is_working(spring)


def test_a_night_shift_of_no_length_waits_for_nobody():
    empty = WorkCalendar(WorkingTime(starts=time(17), ends=time(9)), "UTC")
    assert empty.find_next(utc(2026, 3, 4, 3)) == utc(2026, 3, 4, 3)


# Hypothesis wants its bounds without a zone.
@given(
    start=st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    first=st.floats(0, 40),
    second=st.floats(0, 40),
)
def test_hours_add_up(start, first, second):
    there = BERLIN.add_hours(BERLIN.add_hours(start, first), second)
    assert abs((there - BERLIN.add_hours(start, first + second)).total_seconds()) < 24 * 3600 * 5
    assert BERLIN.add_hours(start, first) >= start
    assert BERLIN.is_working(BERLIN.find_next(start))

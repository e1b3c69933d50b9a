"""Count working time in a person's own time zone, without weekends and days off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

import holidays

from features.settings.binding import WorkingTime

_LOOK = 400  # days: no country is off for longer


@dataclass(frozen=True)
class WorkCalendar:
    """One person's working time.

    Args:
        settings: Hours and days.
        zone: IANA name of the person's time zone.
        country: Whose days off count; None counts none.
    """

    settings: WorkingTime
    zone: str
    country: str | None = None

    def is_working(self, instant: datetime) -> bool:
        """Return whether the person works at an instant."""
        day = instant.astimezone(self._zone).date()
        return any(start <= instant < end for start, end in self._iterate_spans(day, 1))

    def find_next(self, instant: datetime) -> datetime:
        """Return the first instant from this one on at which the person works, in UTC."""
        first = instant.astimezone(self._zone).date()
        return next((max(start, instant) for start, end in self._iterate_spans(first) if end > instant), instant)

    def add_hours(self, instant: datetime, hours: float) -> datetime:
        """Return the instant, in UTC, by which so many working hours have gone by since another."""
        left = timedelta(hours=hours)
        for start, end in self._iterate_spans(instant.astimezone(self._zone).date()):
            begins = max(start, instant)
            if end <= begins:
                continue
            if left <= end - begins:
                return begins + left
            left -= end - begins
        return instant + left

    def _iterate_spans(self, first: date, days: int = _LOOK) -> Iterator[tuple[datetime, datetime]]:
        """Yield the spans of work from a day on, in UTC: a day of 23 or 25 hours is as long as it is."""
        for number in range(days):
            day = first + timedelta(days=number)
            if day.isoweekday() not in self.settings.days or day in self._days_off:
                continue
            start, end = (
                datetime.combine(day, at, self._zone).astimezone(UTC)
                for at in (self.settings.starts, self.settings.ends)
            )
            if start < end:
                yield start, end

    @cached_property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.zone)

    @cached_property
    def _days_off(self) -> holidays.HolidayBase | frozenset[date]:
        return holidays.country_holidays(self.country) if self.country else frozenset()

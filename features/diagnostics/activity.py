"""Activity of a table: events a day, days without events, and how late events become known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from features.core.contract import TABLES
from features.definitions.feature import DAY
from features.sources.history import History

_HOUR = 3_600_000_000
_BARS = 240
_FIRST = datetime(1970, 1, 1, tzinfo=UTC).date()


@dataclass(frozen=True)
class ActivityGap:
    """Days in a row without an event, first and last inclusive."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """Return the number of days."""
        return (self.last - self.first).days + 1

    def __str__(self) -> str:
        return f"{self.first}" if self.first == self.last else f"{self.first} to {self.last} ({self.days} days)"


@dataclass(frozen=True)
class ActivityBar:
    """One bar of a plot, over one or more days.

    Args:
        first: Its first day.
        height: Events a day, as a share of the highest bar.
        events: Events a day.
        empty: True if none of its days has an event.
    """

    first: date
    height: float
    events: float
    empty: bool


@dataclass(frozen=True)
class TableActivity:
    """The events of a table by day, in UTC.

    Args:
        day: (n,) the days with events, ascending, counted from 1970.
        count: (n,) events on each.
        late_hours: Median, 95th percentile and maximum of the hours until an event became known; None without events.
    """

    day: np.ndarray
    count: np.ndarray
    late_hours: tuple[float, float, float] | None

    @property
    def span(self) -> int:
        """Return the number of days from the first to the last event."""
        return int(self.day[-1] - self.day[0]) + 1 if len(self.day) else 0

    def gaps(self) -> tuple[ActivityGap, ...]:
        """Return the gaps between the first and the last event, the longest first."""
        steps = np.diff(self.day)
        gaps = [
            ActivityGap(_to_date(d + 1), _to_date(d + s - 1))
            for d, s in zip(self.day[:-1][steps > 1], steps[steps > 1], strict=True)
        ]
        return tuple(sorted(gaps, key=lambda g: (-g.days, g.first)))

    def bars(self) -> Iterator[ActivityBar]:
        """Yield at most 240 bars of a plot, each over equally many days but the last."""
        if not len(self.day):
            return
        # Use whole weeks where single days are too many: otherwise weekends would show as a pattern.
        width = 1 if self.span <= _BARS else 7 * -(-self.span // (7 * _BARS))
        bar_index = ((self.day - self.day[0]) // width).astype(int)
        total = np.bincount(bar_index, weights=self.count)
        days = np.full(len(total), width)
        days[-1] = self.span - width * (len(total) - 1)
        daily = total / days
        for n, events in enumerate(daily):
            yield ActivityBar(
                _to_date(self.day[0] + n * width), float(events / daily.max()), float(events), not total[n]
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the activity for JSON: dates in ISO."""
        gaps = self.gaps()
        names = ("median", "p95", "max")
        return {
            "days": self.span,
            "days_without_events": sum(g.days for g in gaps),
            "gaps": [{"first": g.first.isoformat(), "last": g.last.isoformat(), "days": g.days} for g in gaps],
            "lateness_hours": None if self.late_hours is None else dict(zip(names, self.late_hours, strict=True)),
        }


def measure_activity(history: History, table: str) -> TableActivity:
    """Measure the activity of one event table, without the copies of events that a merge made."""
    time = TABLES[table].time
    own = f"FROM {table} WHERE first_known_at IS NULL"
    days = history.query(f"SELECT {time} // {DAY} AS day, count(*) AS n {own} GROUP BY 1 ORDER BY 1")
    late = f"known_at - {time}"
    # Count equal delays first: where one lag holds for the table, few values are left to sort.
    counts = f"SELECT {late} AS late, count(*) AS n {own} GROUP BY 1 ORDER BY 1"
    running = f"SELECT late, sum(n) OVER (ORDER BY late) AS reached, sum(n) OVER () AS whole FROM ({counts})"  # noqa: S608  # the contract's own names
    shares = ", ".join(f"min(late) FILTER (reached >= {share} * whole)" for share in (0.5, 0.95, 1))
    quantiles = history.query(f"SELECT [{shares}] AS late FROM ({running})")["late"].iloc[0]  # noqa: S608  # as above
    hours = None if not len(days) else tuple(float(v) / _HOUR for v in quantiles)
    return TableActivity(days["day"].to_numpy(), days["n"].to_numpy(), hours)  # type: ignore[arg-type]  # three of them


def _to_date(day: Any) -> date:
    """Convert a day counted from 1970 to a date, clipped to the calendar."""
    first, last = (date.min - _FIRST).days, (date.max - _FIRST).days
    return _FIRST + timedelta(days=int(min(max(day, first), last)))

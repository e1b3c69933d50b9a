"""Profile of an event table: its figures by day, as they could be seen at an instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Days = NDArray[np.float64]  # one figure a day
Counts = NDArray[np.int64]
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class SourceProfile:
    """The figures of an event table by day, from `first` to the day before `as_of`.

    Args:
        table: Its name in the contract.
        first: The first day, counted from 1970, in UTC.
        today: The day of `as_of`; its own figures are not complete, and are left out.
        newest: The day of the newest visible event.
        hours: (days, 24) rows by hour of the day.
        accounts: (days,) accounts with a row.
        repeats: (days,) rows that equal another one in every column.
        content: (days,) a checksum of the day's rows without their time of day.
        filled: By mapped column, (days,) rows with a value.
        logs: By number column, (2, days): sum of the logarithms of its values, and their number.
        prices: (2, days): sum of the logarithms of amount / quantity over what the same account usually paid for
            the same product, and their number. Zero where there are no amounts.
        values: By text column of few values, and value, (days,) rows.
        unknown: (days,) rows in quarantine since their account is not known.
        dropped: (days,) rows that reading dropped since they equal another one.
        delays: (2, days): by the day they became known, sum of the days that rows took, and their number.
        settled: Days after which 99 % of the rows of a day are known.
        longest: Whole days without an event, the most that an earlier night found.
    """

    table: str
    first: int
    today: int
    newest: int
    hours: Counts
    accounts: Counts
    repeats: Counts
    content: Counts
    filled: Mapping[str, Counts] = field(default_factory=dict)
    logs: Mapping[str, Days] = field(default_factory=dict)
    prices: Days = field(default_factory=lambda: np.zeros((2, 0)))
    values: Mapping[str, Mapping[str, Counts]] = field(default_factory=dict)
    unknown: Counts = field(default_factory=lambda: np.zeros(0, np.int64))
    dropped: Counts = field(default_factory=lambda: np.zeros(0, np.int64))
    delays: Days = field(default_factory=lambda: np.zeros((2, 0)))
    settled: int = 0
    longest: int = 0

    @property
    def rows(self) -> Counts:
        """Return (days,) the number of rows."""
        return self.hours.sum(axis=1)

    @property
    def end(self) -> int:
        """Return the index after the last day whose rows are complete.

        A source that is some days behind may have stopped in the middle of its newest day: that day is left out.
        """
        complete = self.today - self.settled
        return max(0, (complete if self.newest >= complete - 1 else self.newest) - self.first)

    @property
    def span(self) -> str:
        """Return the time that it covers, in words."""
        return format_span(len(self.rows))

    def until(self, days: int) -> Self:
        """Return the profile of its first days, as if the next night came right after them."""
        rows = np.flatnonzero(self.rows[:days])
        return replace(
            self,
            today=self.first + days,
            newest=self.first + int(rows[-1]),
            hours=self.hours[:days],
            accounts=self.accounts[:days],
            repeats=self.repeats[:days],
            content=self.content[:days],
            filled={column: n[:days] for column, n in self.filled.items()},
            logs={column: n[:, :days] for column, n in self.logs.items()},
            prices=self.prices[:, :days],
            values={column: {v: n[:days] for v, n in shares.items()} for column, shares in self.values.items()},
            unknown=self.unknown[:days],
            dropped=self.dropped[:days],
            delays=self.delays[:, :days],
            longest=measure_longest_gap(rows),
        )

    def date_of(self, index: int) -> date:
        """Return the date of the day with this index."""
        return _EPOCH + timedelta(days=self.first + int(index))


def format_span(days: int) -> str:
    """Return days in the largest unit that fits twice."""
    for unit, length in (("year", 365), ("month", 30)):
        if days >= 2 * length:
            return f"{days / length:.0f} {unit}s"
    return format_days(days)


def format_days(days: int) -> str:
    """Return a number of days in words."""
    return f"{days} day{'s' * (days != 1)}"


def measure_longest_gap(event_days: NDArray[Any]) -> int:
    """Return the most whole days between two days with events.

    Args:
        event_days: The days with events, ascending.
    """
    return int(np.diff(event_days).max()) - 1 if len(event_days) > 1 else 0

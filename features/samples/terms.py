"""Contract terms on the calendar: which accounts' terms end, are charged or rise in price on a day."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

TERMS = (1, 3, 12)  # months; each divides a year, so a price rise always falls on a renewal
NEARING = 50  # days before a price rise in which it is announced and may pinch


def month_of(days: Ints) -> tuple[Ints, Ints]:
    """Months since 1970 and day of the month (0 is the first) of days since 1970."""
    dates = days.astype("M8[D]")
    months = dates.astype("M8[M]")
    return months.astype(np.int64), (dates - months.astype("M8[D]")).astype(np.int64)


def day_in(months: Ints, dom: Ints) -> Ints:
    """Days since 1970 of day `dom` in each month, or the month's last day where it is shorter."""
    first = months.astype("M8[M]").astype("M8[D]").astype(np.int64)
    following = (months + 1).astype("M8[M]").astype("M8[D]").astype(np.int64)
    return np.minimum(first + dom, following - 1)


@cache
def month_start(month: int) -> int:
    """Day since 1970 on which a month since 1970 starts."""
    return int(np.datetime64(month, "M").astype("M8[D]").astype(np.int64))


@dataclass(frozen=True)
class Terms:
    """Back-to-back terms of n accounts, all counted from the first term's start.

    Args:
        month: Month since 1970 of that start; only its place in the year matters.
        dom: Day of the month of that start, 0 is the first.
        length: Months a term lasts, one of `TERMS`.
        indexed: Whether the price rises on each anniversary.
    """

    month: Ints
    dom: Ints
    length: Ints
    indexed: Flags

    def of(self, account: Ints) -> Terms:
        """The terms of some of the accounts."""
        return Terms(self.month[account], self.dom[account], self.length[account], self.indexed[account])

    def charged(self, day: int) -> Flags:
        """Whether a month of the contract starts on this day."""
        _, dom, size = _place(day)
        return np.minimum(self.dom, size - 1) == dom

    def ends(self, day: int) -> Flags:
        """Whether a term ends, and the next may start, at this day's midnight."""
        return self.charged(day) & ((_place(day)[0] - self.month) % self.length == 0)

    def rises(self, day: int) -> Flags:
        """Whether the price rises at this day's midnight."""
        return self.charged(day) & self.indexed & ((_place(day)[0] - self.month) % 12 == 0)

    def nearing(self, day: int) -> Flags:
        """Whether a price rise falls within the `NEARING` days after this one."""
        near = np.zeros(len(self.dom), bool)
        for month in range(_place(day + 1)[0], _place(day + NEARING)[0] + 1):
            start, following = month_start(month), month_start(month + 1)
            due = np.minimum(start + self.dom, following - 1)
            near |= ((self.month - month) % 12 == 0) & (due > day) & (due <= day + NEARING)
        return near & self.indexed

    def days_left(self, day: int) -> Ints:
        """Days from this day's midnight to the end of the running term; 0 where it ends at that midnight."""
        month = _place(day)[0] + (self.month - _place(day)[0]) % self.length
        end = day_in(month, self.dom)
        return np.where(end < day, day_in(month + self.length, self.dom), end) - day


@cache
def _place(day: int) -> tuple[int, int, int]:
    """A day's month since 1970, day of that month (0 is the first), and the month's length."""
    month = int(np.datetime64(day, "D").astype("M8[M]").astype(np.int64))
    start = month_start(month)
    return month, day - start, month_start(month + 1) - start

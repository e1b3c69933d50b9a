"""Place contract terms on the calendar: which accounts' terms end, are charged or rise in price on a day."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

TERMS = (1, 3, 12)  # months; each divides a year, so a price rise always falls on a renewal
NEARING = 50  # days before a price rise in which it is announced and may pinch


def split_days(days: Ints) -> tuple[Ints, Ints]:
    """Split days since 1970 into months since 1970 and day of the month (0 is the first)."""
    dates = days.astype("M8[D]")
    months = dates.astype("M8[M]")
    return months.astype(np.int64), (dates - months.astype("M8[D]")).astype(np.int64)


def find_day(months: Ints, dom: Ints) -> Ints:
    """Return the day since 1970 of day `dom` in each month, or of the last day in a shorter month."""
    first = months.astype("M8[M]").astype("M8[D]").astype(np.int64)
    following = (months + 1).astype("M8[M]").astype("M8[D]").astype(np.int64)
    return np.minimum(first + dom, following - 1)


@cache
def find_month_start(month: int) -> int:
    """Return the day since 1970 on which a month since 1970 starts."""
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
        """Return the terms of some of the accounts."""
        return Terms(self.month[account], self.dom[account], self.length[account], self.indexed[account])

    def charged(self, day: int) -> Flags:
        """Return whether a month of the contract starts on this day."""
        _, dom, size = _place(day)
        return np.minimum(self.dom, size - 1) == dom

    def ends(self, day: int) -> Flags:
        """Return whether a term ends, and the next may start, at this day's midnight."""
        return self.charged(day) & ((_place(day)[0] - self.month) % self.length == 0)

    def rises(self, day: int) -> Flags:
        """Return whether the price rises at this day's midnight."""
        return self.charged(day) & self.indexed & ((_place(day)[0] - self.month) % 12 == 0)

    def nearing(self, day: int) -> Flags:
        """Return whether a price rise falls within the `NEARING` days after this one."""
        near = np.zeros(len(self.dom), bool)
        for month in range(_place(day + 1)[0], _place(day + NEARING)[0] + 1):
            start, following = find_month_start(month), find_month_start(month + 1)
            due = np.minimum(start + self.dom, following - 1)
            near |= ((self.month - month) % 12 == 0) & (due > day) & (due <= day + NEARING)
        return near & self.indexed

    def days_left(self, day: int) -> Ints:
        """Return the days from this day's midnight to the end of the running term; 0 if it ends then."""
        month = _place(day)[0] + (self.month - _place(day)[0]) % self.length
        end = find_day(month, self.dom)
        return np.where(end < day, find_day(month + self.length, self.dom), end) - day


@cache
def _place(day: int) -> tuple[int, int, int]:
    """Return a day's month since 1970, its day of that month (0 is the first), and the month's length."""
    month = int(np.datetime64(day, "D").astype("M8[M]").astype(np.int64))
    start = find_month_start(month)
    return month, day - start, find_month_start(month + 1) - start

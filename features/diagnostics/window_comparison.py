"""Comparison of the newest days of a series with the weeks before them, and with how such comparisons went before.

A window of whole weeks is compared with the eight weeks before it, in which each weekday weighs the same. Whether the
change is unusual is learnt from the same comparison at every earlier day: its median is the source's growth, its
spread the source's noise, and a change that came at this time last year, or that came twice before, is usual.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.diagnostics.source_findings import Severity

Series = NDArray[np.float64]  # one figure a day

WEEK, YEAR = 7, 364
# Days looked at: short to be quick, long to see through the noise of few rows.
WINDOWS = (7, 28)
REFERENCE_WEEKS = 8
# By window, days left out between it and the weeks before: what has been wrong for a month is not among them.
_GAPS = {7: 0, 28: 7}
# Comparisons of the past that are needed to know a spread, and those looked at.
LEAST_PAST, MOST_PAST = 56, 2 * YEAR
# A change is usual if one half as strong came within so many days of this day last year, by window: Easter moves, and
# four weeks hardly feel it. Or if it came almost as strongly in two spells at any time.
_SEASON_DAYS = {7: 21, 28: 10}
_AS_STRONG_IN_SEASON, _AS_STRONG = 0.5, 0.7
# Spreads from the usual that a finding needs. Some fifty figures are looked at each night, hence so many.
HOLD_Z, _WATCH_Z = 6.0, 5.0
# The median of |x - median| of a normal distribution, as a share of its standard deviation.
_MAD = 0.6745


@dataclass(frozen=True)
class WindowChange:
    """The change of the newest window against the weeks before it.

    Args:
        value: The change, such as a logarithm of a ratio or a difference of shares.
        usual: Its median in the past.
        low: The lowest in the past, without the newest four weeks: what is wrong now may have begun then.
        high: The highest.
        z: (value - usual) / spread.
        seasonal: Whether it came as strongly at this time last year, or twice before at any time.
        years: Whether the past covers this time of last year.
    """

    value: float
    usual: float
    low: float
    high: float
    z: float
    seasonal: bool
    years: bool


@dataclass(frozen=True)
class Bounds:
    """How large a change must be.

    Args:
        hold: From where it is held.
        watch: From where it is to be watched.
        z: Spreads from the usual that a hold needs.
    """

    hold: float
    watch: float
    z: float = HOLD_Z

    def grade(self, change: WindowChange | None, deviation: float) -> Severity | None:
        """Return the severity of a change; None where it is usual, or as at this time last year.

        Args:
            change: The change.
            deviation: How far it is from its usual value, towards what is harmful.
        """
        if change is None or change.seasonal:
            return None
        if deviation >= self.hold and abs(change.z) >= self.z:
            return "hold"
        return "watch" if deviation >= self.watch and abs(change.z) >= _WATCH_Z else None


def sum_windows(series: NDArray[Any], window: int) -> Series:
    """Return (days,) the sums over the `window` days that end with each day; NaN where there are fewer."""
    total = np.concatenate([[0.0], np.cumsum(series, dtype=float)])
    sums = np.full(len(series), np.nan)
    sums[window - 1 :] = total[window:] - total[:-window]
    return sums


def lag(series: Series, days: int) -> Series:
    """Return the series of `days` earlier; NaN where there is none."""
    earlier = np.full(len(series), np.nan)
    earlier[days:] = series[: max(0, len(series) - days)]
    return earlier


def compare_levels(series: NDArray[Any], window: int) -> tuple[Series, Series]:
    """Return (days,) the logarithm of each window's level over that of the weeks before it, and its least variance.

    The level before is the mean of eight weeks without the lowest and the highest: a holiday among them is no norm.
    The variance is that of counts without any other noise.
    """
    weekly = sum_windows(series, WEEK)
    before = np.stack([lag(weekly, window + _GAPS[window] + WEEK * week) for week in range(REFERENCE_WEEKS)])
    level = (before.sum(axis=0) - before.min(axis=0) - before.max(axis=0)) / (REFERENCE_WEEKS - 2)
    weeks = window / WEEK
    recent = sum_windows(series, window)
    change = np.log((recent + 0.5) / (level * weeks + 0.5))
    # Of the rows that came, where fewer came: a quiet week is noisier than those before it.
    least = np.fmin(recent, level * weeks)
    variance = 1 / np.maximum(least, 0.5) + 1 / np.maximum(level * (REFERENCE_WEEKS - 2), 0.5)
    return change, variance


def align(series: Series, offset: int, length: int) -> Series:
    """Return (length,) a series that begins `offset` days after its first one; NaN where it has no day."""
    days = np.arange(offset, offset + length)
    inside = (days >= 0) & (days < len(series))
    aligned = np.full(length, np.nan)
    aligned[inside] = series[days[inside]]
    return aligned


def compare_means(sums: NDArray[Any], counts: NDArray[Any], window: int) -> tuple[Series, Series, Series]:
    """Return (days,) each window's mean less that of the weeks before it, and how many values either has."""
    reference, back = WEEK * REFERENCE_WEEKS, window + _GAPS[window]
    recent_n, before_n = sum_windows(counts, window), lag(sum_windows(counts, reference), back)
    before = lag(sum_windows(sums, reference), back)
    with np.errstate(divide="ignore", invalid="ignore"):
        change = sum_windows(sums, window) / recent_n - before / before_n
    return np.where((recent_n > 0) & (before_n > 0), change, np.nan), recent_n, before_n


def find_change(changes: Series, variance: Series, window: int) -> WindowChange | None:
    """Judge the newest of a series of changes by all earlier ones; None where too few are known.

    Args:
        changes: (days,) the change at each day, the newest last.
        variance: (days,) their least variance; that of the past is used where it is larger.
        window: Days that a change looks at.
    """
    if not len(changes) or not np.isfinite(changes[-1]):
        return None
    newest, earlier = float(changes[-1]), changes[: max(0, len(changes) - max(WINDOWS))][-MOST_PAST:]
    past = earlier[np.isfinite(earlier)]
    if len(past) < LEAST_PAST:
        return None
    usual = float(np.median(past))
    spread = max(float(np.median(np.abs(past - usual))) / _MAD, float(np.sqrt(variance[-1])), 1e-9)
    deviation = newest - usual
    strength = np.nan_to_num((changes - usual) / deviation) if deviation else np.zeros(len(changes))
    return WindowChange(
        newest,
        usual,
        low=float(past.min()),
        high=float(past.max()),
        z=deviation / spread,
        seasonal=_is_seasonal(strength, window),
        years=len(past) >= YEAR + max(_SEASON_DAYS.values()),
    )


def _is_seasonal(strength: Series, window: int) -> bool:
    """Return whether such a change came at this time of an earlier year, or in two separate spells before.

    Args:
        strength: (days,) changes as shares of the newest one.
        window: Days that a change looks at.
    """
    newest, around = len(strength) - 1, _SEASON_DAYS[window]
    for year in range(YEAR, newest + 1, YEAR):
        if (strength[max(0, newest - year - around) : newest - year + around + 1] >= _AS_STRONG_IN_SEASON).any():
            return True
    # A spell that lasts until today, and what follows from it in the weeks compared with, is not one of the past.
    past = np.flatnonzero(strength[: max(0, newest + 1 - 2 * window - WEEK * REFERENCE_WEEKS)] >= _AS_STRONG)
    return len(past) > 0 and int((np.diff(past) > 2 * WEEK + window).sum()) >= 1

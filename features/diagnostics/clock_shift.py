"""Whether the clock of a source was moved: its rows by hour of the week, against the same profile some hours later."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.diagnostics.source_findings import SourceFinding
from features.diagnostics.source_profile import Counts, SourceProfile
from features.diagnostics.window_comparison import LEAST_PAST, MOST_PAST, REFERENCE_WEEKS, WEEK, WINDOWS

_HOURS = 24 * WEEK
# Shifts of an hour are summer time, and so no move.
_UNMOVED = [-1, 0, 1]
# By window, the hours after which the profile repeats, and the longest shift looked at. A week with a holiday is no
# usual week, but its days have usual hours.
_PERIODS = {7: (24, 12), 28: (_HOURS, 36)}
_LEAST_ROWS = 60
# Rows that the smooth part of the profile counts as, in an hour of the week.
_SMOOTHING = 2.0
# How much better a moved profile must fit, in log-likelihood: of a row, of all rows, in spreads of the past's gains.
_LEAST_GAIN, _LEAST_TOTAL, _SPREADS = 0.02, 12.0, 6.0


@dataclass(frozen=True)
class ClockShift:
    """A move of a source's clock.

    Args:
        hours: Hours that its events are later than before; negative where they are earlier.
        gain: Log-likelihood a row that the moved profile gains over the unmoved.
        usual: The highest such gain at any night before.
        window: Days looked at.
    """

    hours: int
    gain: float
    usual: float
    window: int


def find_shift(profile: SourceProfile) -> SourceFinding | None:
    """Return the finding that the clock of a source was moved by hours or a day."""
    for window in WINDOWS:
        shift = find_clock_shift(profile, window)
        if shift:
            direction = "later" if shift.hours > 0 else "earlier"
            text = (
                f"its events of the last {window} days come about {abs(shift.hours)} hours {direction} in the day and "
                f"week than in the {REFERENCE_WEEKS} weeks before"
            )
            figures = {"hours": shift.hours, "gain": shift.gain, "usual": shift.usual, "days": window}
            return SourceFinding(profile.table, "shifted", "hold", text, figures)
    return None


def find_clock_shift(profile: SourceProfile, window: int) -> ClockShift | None:
    """Return the shift by which the newest days fit their usual week better; None where no shift does.

    Args:
        profile: Of the table.
        window: The newest days, in whole weeks.
    """
    end = profile.end
    by_week = _fold_weeks(profile.hours[:end])
    size = window // WEEK
    if len(by_week) < REFERENCE_WEEKS + size + LEAST_PAST // WEEK:
        return None
    gains, shifts = _measure_gains(by_week[-(MOST_PAST // WEEK) :], size, *_PERIODS[window])
    newest, past = gains[-1], gains[: len(gains) - max(WINDOWS) // WEEK]
    past = past[np.isfinite(past)]
    if not np.isfinite(newest) or len(past) < LEAST_PAST // WEEK:
        return None
    if newest * by_week[-size:].sum() < _LEAST_TOTAL:
        return None
    middle = float(np.median(past))
    spread = float(np.median(np.abs(past - middle))) / 0.6745
    highest = float(past.max())
    if newest < max(_LEAST_GAIN, highest + 0.5 * (highest - middle), middle + _SPREADS * spread):
        return None
    return ClockShift(int(shifts[-1]), float(newest), highest, window)


def _fold_weeks(hours: Counts) -> Counts:
    """Return (weeks, 168) the rows by hour of the week, where weeks end with the newest day."""
    weeks = len(hours) // WEEK
    return hours[len(hours) - weeks * WEEK :].reshape(weeks, _HOURS)


def _measure_gains(by_week: Counts, size: int, period: int, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each window of `size` weeks, the best gain of a shift in log-likelihood a row, and that shift.

    Args:
        by_week: (weeks, 168) rows.
        size: Weeks of a window.
        period: Hours of the profile: of a day, or of a week.
        longest: Hours of the longest shift either way.
    """
    total = np.concatenate([np.zeros((1, _HOURS)), np.cumsum(by_week, axis=0)])
    last = np.arange(REFERENCE_WEEKS + size, len(total))
    recent = _fold(total[last] - total[last - size], period)
    log = np.log(_smooth(_fold(total[last - size] - total[last - size - REFERENCE_WEEKS], period)))
    rows = recent.sum(axis=1)
    # The log-likelihood of the rows under the profile moved to each hour, as a circular correlation.
    fits = np.fft.irfft(np.fft.rfft(recent) * np.conj(np.fft.rfft(log)), n=period)
    shifts = np.array([s for s in range(-longest, longest + 1) if s not in _UNMOVED])
    with np.errstate(divide="ignore", invalid="ignore"):
        gains = (fits[:, shifts] - fits[:, _UNMOVED].max(axis=1, keepdims=True)) / rows[:, None]
    gains = np.where(rows[:, None] >= _LEAST_ROWS, gains, np.nan)
    best = np.argmax(np.nan_to_num(gains, nan=-np.inf), axis=1)
    return gains[np.arange(len(last)), best], shifts[best]


def _fold(rows: np.ndarray, period: int) -> np.ndarray:
    """Return (windows, period) the rows by hour of the day or of the week."""
    return np.asarray(rows.reshape(len(rows), _HOURS // period, period).sum(axis=1))


def _smooth(rows: np.ndarray) -> np.ndarray:
    """Return the shares of the hours; those of a week are drawn towards those of hour and weekday apart."""
    by_day = rows.reshape(len(rows), -1, 24)
    days = by_day.shape[1]
    whole = np.maximum(rows.sum(axis=1), 1.0)[:, None, None]
    day = (by_day.sum(axis=2, keepdims=True) + 1) / (whole + days)
    hour = (by_day.sum(axis=1, keepdims=True) + 1) / (whole + 24)
    weight = _SMOOTHING * rows.shape[1]
    return ((by_day + weight * day * hour) / (whole + weight)).reshape(rows.shape)

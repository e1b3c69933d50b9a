"""Whether the clock of a source was moved: its rows by hour of the week, against the same profile some hours later."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.diagnostics.source_findings import SourceFinding
from features.diagnostics.source_profile import Counts, SourceProfile
from features.diagnostics.window_comparison import LEAST_PAST, MOST_PAST, REFERENCE_WEEKS, WEEK, WINDOWS

_HOURS = 24 * WEEK
# Shifts looked at, in hours: up to a day and a half either way. One of an hour is summer time, and so no move.
_UNMOVED = [-1, 0, 1]
_SHIFTS = np.array([s for s in range(-36, 37) if s not in _UNMOVED])
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
    gains, shifts = _measure_gains(by_week[-(MOST_PAST // WEEK) :], size)
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


def _measure_gains(by_week: Counts, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each window of `size` weeks, the best gain of a shift in log-likelihood a row, and that shift."""
    total = np.concatenate([np.zeros((1, _HOURS)), np.cumsum(by_week, axis=0)])
    last = np.arange(REFERENCE_WEEKS + size, len(total))
    recent = total[last] - total[last - size]
    before = total[last - size] - total[last - size - REFERENCE_WEEKS]
    profile = _smooth(before)
    log = np.log(profile)
    rows = recent.sum(axis=1)
    # The log-likelihood of the rows under the profile moved to each of 168 hours, as a circular correlation.
    fits = np.fft.irfft(np.fft.rfft(recent) * np.conj(np.fft.rfft(log)), n=_HOURS)
    unmoved, moved = fits[:, _UNMOVED].max(axis=1), fits[:, _SHIFTS]
    with np.errstate(divide="ignore", invalid="ignore"):
        gains = (moved - unmoved[:, None]) / rows[:, None]
    gains = np.where(rows[:, None] >= _LEAST_ROWS, gains, np.nan)
    best = np.argmax(np.nan_to_num(gains, nan=-np.inf), axis=1)
    return gains[np.arange(len(last)), best], _SHIFTS[best]


def _smooth(rows: np.ndarray) -> np.ndarray:
    """Return (weeks, 168) shares of the hours of the week, drawn towards those of hour and weekday apart."""
    by_day = rows.reshape(len(rows), WEEK, 24)
    whole = np.maximum(rows.sum(axis=1), 1.0)[:, None, None]
    day = (by_day.sum(axis=2, keepdims=True) + 1) / (whole + WEEK)
    hour = (by_day.sum(axis=1, keepdims=True) + 1) / (whole + 24)
    expected = day * hour
    return ((by_day + _SMOOTHING * _HOURS * expected) / (whole + _SMOOTHING * _HOURS)).reshape(rows.shape)

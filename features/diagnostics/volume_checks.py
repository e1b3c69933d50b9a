"""Check how many rows a source has, from which accounts, and whether they came before: against its own past."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import exp, log

import numpy as np

from features.diagnostics.source_findings import Severity, SourceFinding, pick_worst
from features.diagnostics.source_profile import SourceProfile
from features.diagnostics.window_comparison import (
    REFERENCE_WEEKS,
    WEEK,
    WINDOWS,
    Bounds,
    Series,
    WindowChange,
    align,
    compare_levels,
    compare_means,
    find_change,
    sum_windows,
)

# Rows that a window needs before shares of it are looked at.
LEAST_ROWS = 20
# Of fewer rows and of more; and of those that only one source has, of which its own noise is less of a doubt.
_FEWER, _MORE = Bounds(log(1 / 0.65), log(1 / 0.8), z=4.5), Bounds(log(1.6), log(1.3), z=4.5)
_ALONE_Z = 3.0
_ACCOUNTS = Bounds(log(1.6), log(1.3))
_DELAY = Bounds(np.inf, 2.0)
# Share of rows of unknown accounts, above the highest before.
_UNKNOWN = Bounds(0.2, 0.03)
# Of a company that has not seen a year: an August may be quiet, and of little past little is known of its noise.
_YOUNG_FEWER, _YOUNG_MORE = Bounds(log(1 / 0.55), log(1 / 0.8)), Bounds(log(2), log(1.3))
# Rows that a window would have, for their number to be judged.
_LEAST_EXPECTED = 30
# Around New Year, a company that has not seen one before can't know what is usual: from (month, day) to (month, day).
_TURN_OF_YEAR = ((12, 18), (2, 7))


def find_volume_change(profile: SourceProfile, others: Sequence[SourceProfile] = ()) -> SourceFinding | None:
    """Return the finding that a source has far fewer or more rows than in the weeks before.

    A change that is usual at this time of the year, or may be so in a company too young to know, holds a run only
    where the other sources went on: holidays and seasons change them all.

    Args:
        profile: Of the source.
        others: Of the company's other sources.
    """
    rows = profile.rows[: profile.end]
    findings = []
    for window in WINDOWS:
        changes, variance = compare_levels(rows, window)
        change = find_change(changes, variance, window)
        if change is None or rows[-window:].sum() < _LEAST_EXPECTED * exp(change.value - change.usual):
            continue
        alone = find_change(*_compare_with(profile, others, changes, variance, window), window)
        severity = _grade_volume(profile, window, change, alone)
        if severity:
            a_day = float(rows[-window:].mean())
            text = f"{_format(a_day)} rows a day in the last {window} days, {_describe_change(profile, change)}"
            figures = {"rows_a_day": a_day, "change": exp(change.value), "z": change.z, "days": window}
            kind = "halved" if change.value < change.usual else "doubled"
            findings.append(SourceFinding(profile.table, kind, severity, text, figures))
    return pick_worst(findings)


def _grade_volume(
    profile: SourceProfile, window: int, change: WindowChange, alone: WindowChange | None
) -> Severity | None:
    """Return the severity of a change of a source's rows, given the change against another source, if there is one."""
    deviation = change.value - change.usual
    bounds = _FEWER if deviation < 0 else _MORE
    is_alone = alone is not None and bounds.grade(alone, (alone.value - alone.usual) * np.sign(deviation)) == "hold"
    if change.years:
        if is_alone:
            change, bounds = replace(change, seasonal=False), replace(bounds, z=_ALONE_Z)
        return bounds.grade(change, abs(deviation))
    severity = (_YOUNG_FEWER if deviation < 0 else _YOUNG_MORE).grade(change, abs(deviation))
    return severity if is_alone or severity is None or _may_hold_young(profile, window, deviation) else "watch"


def _compare_with(
    profile: SourceProfile, others: Sequence[SourceProfile], changes: Series, variance: Series, window: int
) -> tuple[Series, Series]:
    """Return changes and their least variance against those of the other source with the most rows."""
    other = max(others, key=lambda o: o.rows.sum(), default=None)
    if other is None or not len(changes):
        return changes[:0], variance[:0]
    beside, noise = compare_levels(other.rows, window)
    offset = profile.first - other.first
    return changes - align(beside, offset, len(changes)), variance + align(noise, offset, len(changes))


def _may_hold_young(profile: SourceProfile, window: int, deviation: float) -> bool:
    """Return whether a change may hold a run of a company that has not seen this season before.

    One week may be a holiday, more rows a season; four weeks of far fewer rows are neither, but at the turn of a year.
    """
    end = profile.date_of(profile.end)
    start, stop = _TURN_OF_YEAR
    return deviation < 0 and window > WEEK and stop < (end.month, end.day) < start


def find_fewer_accounts(profile: SourceProfile) -> SourceFinding | None:
    """Return the finding that as many rows come from far fewer accounts."""
    rows, accounts = profile.rows[: profile.end], profile.accounts[: profile.end]
    findings = []
    for window in WINDOWS:
        changes, variance = compare_levels(accounts, window)
        change = find_change(changes - compare_levels(rows, window)[0], variance, window)
        severity = _ACCOUNTS.grade(change, change.usual - change.value) if change else None
        if change and severity:
            a_day = float(accounts[-window:].mean())
            text = (
                f"{_format(a_day)} accounts a day in the last {window} days, for as many rows "
                f"{_describe_change(profile, change)}"
            )
            figures = {"accounts_a_day": a_day, "change": exp(change.value), "z": change.z, "days": window}
            findings.append(SourceFinding(profile.table, "accounts", severity, text, figures))
    return pick_worst(findings)


def find_unknown_accounts(profile: SourceProfile) -> SourceFinding | None:
    """Return the finding that the ids of a source are no longer those of accounts."""
    rows = profile.rows + profile.unknown
    findings = []
    for window in WINDOWS:
        if len(rows) < WEEK * REFERENCE_WEEKS + max(WINDOWS) or profile.unknown[-window:].sum() < LEAST_ROWS:
            continue
        # Of the usual number of rows, where there are fewer now: a trickle of them is no cause of a silence.
        whole = sum_windows(rows, window)
        shares = sum_windows(profile.unknown, window) / np.maximum(np.maximum(whole, np.nanmedian(whole)), 1)
        share, highest = float(shares[-1]), float(np.nanmax(shares[: -max(WINDOWS)]))
        severity = grade_share(share, highest, _UNKNOWN)
        if severity:
            text = (
                f"{share:.0%} of the rows of the last {window} days are of no known account, and so in quarantine; "
                f"before, never more than {highest:.0%}"
            )
            figures = {"share": share, "usual": highest, "days": window}
            findings.append(SourceFinding(profile.table, "ids", severity, text, figures))
    return pick_worst(findings)


def grade_share(share: float, highest: float, bounds: Bounds) -> Severity | None:
    """Return the severity of a share that has grown beyond the highest before."""
    if share >= max(highest + bounds.hold, 1.5 * highest):
        return "hold"
    return "watch" if share >= max(highest + bounds.watch, 1.5 * highest) else None


def find_frozen_days(profile: SourceProfile) -> SourceFinding | None:
    """Return the finding that each day is a copy of the day before, but for its date."""
    rows, content = profile.rows[: profile.end], profile.content[: profile.end]
    if len(rows) < WEEK * REFERENCE_WEEKS:
        return None
    equal = (content[1:] == content[:-1]) & (rows[1:] >= LEAST_ROWS)
    run = int(np.argmin(equal[::-1])) if not equal.all() else len(equal)
    if run < 2 or equal[: len(equal) - run].any():
        return None
    text = f"the last {run + 1} days have the same rows but for the date; no two days before had"
    return SourceFinding(profile.table, "frozen", "hold", text, {"days": run + 1})


def find_late_arrivals(profile: SourceProfile) -> SourceFinding | None:
    """Return the finding that rows take days longer to become known."""
    sums, counts = profile.delays
    changes, recent, _ = compare_means(sums, counts, WEEK)
    change = find_change(changes, np.full(len(changes), 0.5**2), WEEK)
    severity = _DELAY.grade(change, change.value - change.usual) if change and recent[-1] >= LEAST_ROWS else None
    if severity is None:
        return None
    days = float(sums[-WEEK:].sum() / counts[-WEEK:].sum())
    usual = float(sums[:-WEEK].sum() / counts[:-WEEK].sum())
    text = f"rows that came in the last {WEEK} days were known after {days:.1f} days; usual are {usual:.1f}"
    return SourceFinding(profile.table, "late", severity, text, {"days": days, "usual": usual})


def _format(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:,.1f}"


def _describe_change(profile: SourceProfile, change: WindowChange) -> str:
    """Return a change of a level in words, with what it was before."""
    return (
        f"{exp(change.value):.0%} of the {REFERENCE_WEEKS} weeks before; in {profile.span} it was between "
        f"{exp(change.low):.0%} and {exp(change.high):.0%}"
    )

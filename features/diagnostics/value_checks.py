"""Check what stands in the rows of a source: repeats, nulls, units, currencies and new values, against its own past."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, log, log10

import numpy as np

from features.diagnostics.source_findings import SourceFinding, pick_worst
from features.diagnostics.source_profile import Counts, Days, SourceProfile
from features.diagnostics.volume_checks import LEAST_ROWS, grade_share
from features.diagnostics.window_comparison import (
    REFERENCE_WEEKS,
    WEEK,
    WINDOWS,
    Bounds,
    compare_means,
    find_change,
    sum_windows,
)

# Numbers that a window needs before their mean is looked at.
_LEAST_NUMBERS = 10
_REPEATS = Bounds(0.2, 0.05)
_NULLS = Bounds(0.5, 0.1, z=8)
# Of what the same accounts pay, and of any other number.
_PRICE, _NUMBER = Bounds(log(1.08), log(1.05), z=8), Bounds(log(5), log(3), z=8)
_MIX = Bounds(0.3, 0.2)
_NEW_VALUES, _NEW_CURRENCIES = Bounds(0.8, 0.3), Bounds(0.5, 0.05)
# Values first seen in so many days are new.
_NEW_DAYS = 42


def find_repeats(profile: SourceProfile) -> SourceFinding | None:
    """Return the finding that rows came twice, be they dropped on reading or kept."""
    dropped = profile.dropped if len(profile.dropped) else np.zeros_like(profile.rows)
    text = "of the rows of the last {window} days are exact repeats"
    if dropped[-max(WINDOWS) :].any():
        text += ", and are counted once"
    return _find_share(profile, profile.repeats + dropped, _REPEATS, "repeated", text, rows=profile.rows + dropped)


def find_nulls(profile: SourceProfile) -> Iterator[SourceFinding]:
    """Yield the columns that lost their values."""
    for column, filled in profile.filled.items():
        text = f"of the rows of the last {{window}} days have no {column}"
        finding = _find_share(profile, profile.rows - filled, _NULLS, "nulls", text, rows=profile.rows)
        if finding:
            yield finding


def _find_share(  # noqa: PLR0913  # what is counted, of what, and how to say it
    profile: SourceProfile, part: Counts, bounds: Bounds, kind: str, text: str, *, rows: Counts
) -> SourceFinding | None:
    part, rows = part[: profile.end], rows[: profile.end]
    findings = []
    for window in WINDOWS:
        changes, recent, _ = compare_means(part, rows, window)
        change = find_change(changes, 0.25 / np.maximum(recent, 1), window)
        severity = bounds.grade(change, change.value - change.usual) if change and recent[-1] >= LEAST_ROWS else None
        if change and severity:
            shares = sum_windows(part, window) / np.maximum(sum_windows(rows, window), 1)
            usual = float(np.nanmedian(shares[: -max(WINDOWS)]))
            sentence = f"{shares[-1]:.0%} {text.format(window=window)}; usual are {usual:.0%}"
            figures = {"share": float(shares[-1]), "usual": usual, "z": change.z, "days": window}
            findings.append(SourceFinding(profile.table, kind, severity, sentence, figures))
    return pick_worst(findings)


def find_other_units(profile: SourceProfile) -> Iterator[SourceFinding]:
    """Yield the number columns in another unit or currency; amounts are compared by account where they can be."""
    prices = _find_factor(profile, profile.prices, _PRICE, "amounts of the same accounts")
    if prices:
        yield prices
    for column, logs in profile.logs.items():
        if column != "amount" or not prices:
            finding = _find_factor(profile, logs, _NUMBER, column)
            if finding:
                yield finding


def _find_factor(profile: SourceProfile, logs: Days, bounds: Bounds, name: str) -> SourceFinding | None:
    sums, counts = logs[:, : profile.end]
    findings = []
    for window in WINDOWS:
        changes, recent, _ = compare_means(sums, counts, window)
        change = find_change(changes, 0.01**2 + 0.01 / np.maximum(recent, 1), window)
        is_enough = change is not None and recent[-1] >= _LEAST_NUMBERS
        severity = bounds.grade(change, abs(change.value - change.usual)) if change and is_enough else None
        if change and severity:
            kind = _name_factor(change.value, is_money=logs is profile.prices)
            cause = "another unit" if kind == "unit" else "another currency, or a new price for all"
            text = (
                f"{name} are {_times(change.value)} those of the {REFERENCE_WEEKS} weeks before, in the last {window} "
                f"days ({cause}?); in {profile.span} it was between {_times(change.low)} and {_times(change.high)}"
            )
            figures = {"factor": exp(change.value), "z": change.z, "days": window}
            findings.append(SourceFinding(profile.table, kind, severity, text, figures))
    return pick_worst(findings)


def _name_factor(logarithm: float, *, is_money: bool) -> str:
    """Return whether a factor is a power of ten, and so another unit, or else another currency."""
    power = logarithm / log(10)
    is_power = abs(power) > 0.5 and abs(power - round(power)) < log10(1.25)
    return "unit" if is_power or not is_money else "currency"


def find_new_values(profile: SourceProfile) -> Iterator[SourceFinding]:
    """Yield the text columns that hold values never seen before, or the known ones in another mix."""
    for column, values in profile.values.items():
        counts = {value: n[: profile.end] for value, n in values.items()}
        finding = _find_unseen(profile, column, counts) or _find_mix(profile, column, counts)
        if finding:
            yield finding


def _find_unseen(profile: SourceProfile, column: str, counts: dict[str, Counts]) -> SourceFinding | None:
    if profile.end < WEEK * REFERENCE_WEEKS + _NEW_DAYS:
        return None
    findings, day = [], profile.date_of(profile.end - _NEW_DAYS)
    for window in WINDOWS:
        whole = sum(int(n[-window:].sum()) for n in counts.values())
        unseen = {v: int(n[-window:].sum()) for v, n in counts.items() if not n[:-_NEW_DAYS].any()}
        share = sum(unseen.values()) / whole if whole >= LEAST_ROWS else 0.0
        severity = grade_share(share, 0.0, _NEW_CURRENCIES if column == "currency" else _NEW_VALUES)
        if severity:
            names = ", ".join(repr(v[:40]) for v in sorted(unseen, key=lambda v: -unseen[v])[:3])
            text = (
                f"{share:.0%} of the values of {column} in the last {window} days were not seen before {day}: {names}"
            )
            kind = "currency" if column == "currency" else "values"
            findings.append(SourceFinding(profile.table, kind, severity, text, {"share": share, "days": window}))
    return pick_worst(findings)


def _find_mix(profile: SourceProfile, column: str, counts: dict[str, Counts]) -> SourceFinding | None:
    """Return the finding that the mix of known values changed; it holds a run where they are currencies."""
    window, whole = max(WINDOWS), np.sum(list(counts.values()), axis=0)
    changes = np.stack([compare_means(n, whole, window)[0] for n in counts.values()])
    rows = sum_windows(whole, window)
    change = find_change(np.abs(changes).sum(axis=0) / 2, 0.25 / np.maximum(rows, 1), window)
    severity = _MIX.grade(change, change.value - change.usual) if change and rows[-1] >= LEAST_ROWS else None
    if change is None or severity is None:
        return None
    is_money = column == "currency"
    most = int(np.argmax(np.abs(changes[:, -1])))
    name = list(counts)[most]
    share = float(counts[name][-window:].sum() / rows[-1])
    text = (
        f"{share:.0%} of the values of {column} in the last {window} days are {name[:40]!r}, "
        f"{share - changes[most, -1]:.0%} in the {REFERENCE_WEEKS} weeks before"
    )
    kind, figures = "currency" if is_money else "values", {"moved": change.value, "z": change.z, "days": window}
    return SourceFinding(profile.table, kind, severity if is_money else "watch", text, figures)


def _times(logarithm: float) -> str:
    return f"{exp(logarithm):,.3g} times"

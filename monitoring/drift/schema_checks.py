"""What is wrong with a snapshot before any comparison: columns gone, of another type, empty, infinite."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from monitoring.drift.binning import Floats, is_number

# Columns of a snapshot that say whose row it is; they are not features.
KEYS = ("account_id", "as_of")
# So many filled rows must have been expected before an empty column means that something broke.
_EXPECTED = 10


@dataclass(frozen=True)
class Finding:
    """One thing wrong.

    Args:
        column: Where; None where it is about the snapshot as a whole.
        what: In words, without a full stop.
        breaks: Whether scores made from these rows can't be trusted.
    """

    column: str | None
    what: str
    breaks: bool

    def __str__(self) -> str:
        return f"{self.column}: {self.what}" if self.column else self.what


@dataclass(frozen=True)
class Sound:
    """The part of both samples that can be compared: same columns, same types, finite, not empty."""

    reference: pd.DataFrame
    current: pd.DataFrame
    findings: tuple[Finding, ...]


def examine(reference: pd.DataFrame, current: pd.DataFrame) -> Sound:
    """Take out what can't be compared, and say what and why; neither frame is changed.

    Args:
        reference: Features of the training snapshots; a column each, any number of rows.
        current: Features of the newest snapshot; `KEYS` may be there and are left out.
    """
    reference, current = (f.drop(columns=[k for k in KEYS if k in f]) for f in (reference, current))
    if not len(reference) or not len(current):
        which = "the newest snapshot" if len(reference) else "the training reference"
        return Sound(reference[[]], current[[]], (Finding(None, f"{which} has no rows", breaks=True),))
    findings = [Finding(c, "is not in the snapshot", breaks=True) for c in reference if c not in current]
    findings += [Finding(c, "is new since training", breaks=False) for c in current if c not in reference]
    kept: dict[str, tuple[pd.Series, pd.Series]] = {}
    for name in (c for c in reference if c in current):
        before, now = reference[name], current[name]
        findings += [Finding(name, what, breaks=breaks) for what, breaks in _problems(before, now)]
        before, now = _finite(before), _finite(now)
        if before.notna().any() and now.notna().any() and is_number(before) == is_number(now):
            kept[name] = (before, now)
    return Sound(
        pd.DataFrame({name: before for name, (before, _) in kept.items()}, index=reference.index),
        pd.DataFrame({name: now for name, (_, now) in kept.items()}, index=current.index),
        tuple(findings),
    )


def _problems(before: pd.Series, now: pd.Series) -> Iterator[tuple[str, bool]]:
    """What is wrong with one column, as (what, breaks)."""
    if is_number(now) and (infinite := np.isinf(_numbers(now))).any():
        yield f"is infinite in {infinite.sum():,} of {len(now):,} rows", True
    if not now.notna().any():
        filled = float(before.notna().mean())
        was = f"; in training {filled:.0%} of the rows had a value" if filled else ", as it was in training"
        yield f"is empty{was}", filled * len(now) >= _EXPECTED
    elif not before.notna().any():
        yield "has values, and had none in training", False
    elif is_number(before) != is_number(now):
        kinds = ("text", "numbers")
        yield f"holds {kinds[is_number(now)]}, and held {kinds[is_number(before)]} in training", True


def _finite(column: pd.Series) -> pd.Series:
    """Numbers as float64 with infinities as missing; other columns as they are."""
    if not is_number(column):
        return column
    values = _numbers(column)
    return pd.Series(np.where(np.isinf(values), np.nan, values), index=column.index)


def _numbers(column: pd.Series) -> Floats:
    return column.to_numpy(np.float64, na_value=np.nan)

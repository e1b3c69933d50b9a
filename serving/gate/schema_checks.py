"""Find what is wrong with a snapshot before any comparison: columns gone, of another type, empty, infinite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from serving.gate.binning import Floats, is_numeric
from serving.scoring.snapshot_store import StoredSnapshot
from training.models.model import Model

# Columns of a snapshot that say whose row it is; they are not features.
KEYS = ("account_id", "as_of")
# So many filled rows must have been expected before an empty column means that something broke.
_EXPECTED = 10


@dataclass(frozen=True)
class Finding:
    """One fault of a snapshot.

    Args:
        column: Its name; None for the snapshot as a whole.
        what: The fault in words, without a full stop.
        breaks: Whether it makes scores of these rows untrustworthy.
    """

    column: str | None
    what: str
    breaks: bool

    def __str__(self) -> str:
        return f"{self.column}: {self.what}" if self.column else self.what


@dataclass(frozen=True)
class ComparableSamples:
    """The part of both samples that can be compared: same columns, same types, finite, not empty.

    Args:
        columns: The reference's and the current values of each column; numbers are float64.
        findings: Why the other columns are not there, and what was wrong with these.
    """

    columns: Mapping[str, tuple[pd.Series, pd.Series]]
    findings: tuple[Finding, ...]

    @property
    def reference(self) -> pd.DataFrame:
        """Return the reference as a frame."""
        return pd.DataFrame({name: before for name, (before, _) in self.columns.items()})

    @property
    def current(self) -> pd.DataFrame:
        """Return the current sample as a frame."""
        return pd.DataFrame({name: now for name, (_, now) in self.columns.items()})


def select_model_columns(model: Model, snapshot: StoredSnapshot) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the training rows and the scored cohort, each with only the columns that the model reads.

    Models registered earlier store further columns in their reference, such as ranks among peers, which no served
    snapshot has.
    """
    eligible = snapshot.in_cohort.get(model.target)
    cohort = snapshot.frame if eligible is None else snapshot.frame[np.asarray(eligible, dtype=bool)]
    reference, current = (f[[c for c in model.features if c in f]] for f in (model.reference, cohort))
    return reference, current


def check_schema(reference: pd.DataFrame, current: pd.DataFrame) -> ComparableSamples:
    """Find the columns that can't be compared and why, and return both samples without them.

    Args:
        reference: Features of the training snapshots; a column each, any number of rows.
        current: Features of the newest snapshot. `KEYS` are left out of both.
    """
    reference, current = (f.drop(columns=[k for k in KEYS if k in f]) for f in (reference, current))
    if not len(reference) or not len(current):
        which = "the newest snapshot" if len(reference) else "the training reference"
        return ComparableSamples({}, (Finding(None, f"{which} has no rows", breaks=True),))
    findings = [Finding(c, "is not in the snapshot", breaks=True) for c in reference if c not in current]
    findings += [Finding(c, "is new since training", breaks=False) for c in current if c not in reference]
    comparable: dict[str, tuple[pd.Series, pd.Series]] = {}
    for name in (c for c in reference if c in current):
        before, now = reference[name], current[name]
        findings += [Finding(name, what, breaks=breaks) for what, breaks in _find_problems(before, now)]
        before, now = _remove_infinities(before), _remove_infinities(now)
        if _has_values(before) and _has_values(now) and is_numeric(before) == is_numeric(now):
            comparable[name] = (before, now)
    return ComparableSamples(comparable, tuple(findings))


def _find_problems(before: pd.Series, now: pd.Series) -> Iterator[tuple[str, bool]]:
    """Yield what is wrong with one column, as (text, breaks)."""
    if is_numeric(now) and (infinite := np.isinf(_to_floats(now))).any():
        yield f"is infinite in {infinite.sum():,} of {len(now):,} rows", True
    if not _has_values(now):
        filled = float(before.notna().mean())
        was = f"; in training {filled:.0%} of the rows had a value" if filled else ", as it was in training"
        yield f"no values{was}", filled * len(now) >= _EXPECTED
    elif not _has_values(before):
        yield "has values, and had none in training", False
    elif is_numeric(before) != is_numeric(now):
        kinds = ("text", "numbers")
        yield f"holds {kinds[is_numeric(now)]}, and held {kinds[is_numeric(before)]} in training", True


def _remove_infinities(column: pd.Series) -> pd.Series:
    """Return numbers as float64 with infinities as missing, other columns unchanged."""
    if not is_numeric(column):
        return column
    values = _to_floats(column)
    infinite = np.isinf(values)
    if infinite.any():
        values = np.where(infinite, np.nan, values)
    elif column.dtype == np.float64:
        return column
    return pd.Series(values, index=column.index, copy=False)


def _has_values(column: pd.Series) -> bool:
    return not (np.isnan(_to_floats(column)).all() if is_numeric(column) else column.isna().all())


def _to_floats(column: pd.Series) -> Floats:
    return column.to_numpy(np.float64, na_value=np.nan)

"""Cut a column into bins by its reference sample, and compute how far two samples differ by chance alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import chdtri

MOST = 10
# Rows that a bin between two quantiles expects, and that any bin must expect or hold to stand alone.
_FULL, _FEW = 20, 10
_UNSEEN = "not seen in training"
# The share of an empty bin: its logarithm must exist.
_NO_SHARE = 0.0001

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]
Counts = NDArray[np.intp]


@dataclass(frozen=True)
class BinnedColumn:
    """Two samples of one column, each value replaced by the number of its bin; bins are in the order of the values.

    Args:
        codes: Of the reference and of the current sample, a bin's number a row.
        labels: A name for each bin, e.g. "03 2 to 5"; one bin alone can show no drift.
        counts: (2, bins) rows of the reference and of the current sample in each bin.
    """

    codes: tuple[Codes, Codes]
    labels: tuple[str, ...]
    counts: Counts

    @property
    def count(self) -> int:
        """Return how many bins there are."""
        return len(self.labels)

    @property
    def psi(self) -> float:
        """Return the population stability index between the two samples."""
        return float(compute_psi(*self.counts))

    @property
    def reference(self) -> pd.Series:
        """Return the reference as categories: a label a row."""
        return pd.Series(pd.Categorical.from_codes(self.codes[0], self.labels))

    @property
    def current(self) -> pd.Series:
        """Return the current sample as categories: a label a row."""
        return pd.Series(pd.Categorical.from_codes(self.codes[1], self.labels))


def compute_psi(before: Counts, now: Counts) -> Floats:
    """Return the population stability index, `sum((p - q) * ln(p / q))` over the shares `p` and `q` of each bin.

    A share of 0 counts as 0.0001, as Evidently counts it.

    Args:
        before: (…, bins) rows of a sample in each bin; every sample has a row or more.
        now: (…, bins) the same of another sample.

    Returns:
        (…), one index a pair of samples.
    """
    p, q = (side / side.sum(axis=-1, keepdims=True) for side in (before, now))
    p, q = np.where(p == 0, _NO_SHARE, p), np.where(q == 0, _NO_SHARE, q)
    return np.asarray(((p - q) * np.log(p / q)).sum(axis=-1))


def is_numeric(column: pd.Series) -> bool:
    """Return whether a column is cut at its quantiles; all other columns are cut by their values."""
    return bool(pd.api.types.is_numeric_dtype(column))


def find_noise_level(rows: int, reference_rows: int, bins: int, *, chance: float) -> float:
    """Return the PSI that two samples of one distribution exceed only with this chance.

    For shares `p` and `q` of `B` bins, `sum((p - q) * ln(p / q))` is near `sum((p - q)^2 / p)`, and for
    samples of `n` and `m` rows that is `(1/n + 1/m)` times a chi-square of `B - 1` degrees of freedom. So
    without any drift PSI is `(B - 1) * (1/n + 1/m)` on average: 0.18 for 10 bins and twice 100 rows, above
    the 0.1 that the usual rule of thumb calls a shift.

    Source: Yurdakul and Naranjo, Statistical properties of the population stability index, Journal of Risk
    Model Validation 14 (3), 2020.
    """
    if bins < 2:
        return 0.0
    return (1 / rows + 1 / reference_rows) * _find_chi_square(chance, bins - 1)


@cache
def _find_chi_square(chance: float, freedom: int) -> float:
    return float(chdtri(freedom, chance))


def bin_column(reference: pd.Series, current: pd.Series) -> BinnedColumn:
    """Cut both samples at the reference's quantiles, or by its values if they are not numbers.

    Missing values are a bin of their own: a column that empties is a column that moved. Numbers get so many
    quantiles (2 to 10) that each expects 20 rows of the smaller sample. Bins where fewer than 10 of its rows
    are expected, and fewer found, are joined: the logarithm in PSI makes too much of their noise.

    Args:
        reference: One row or more; finite numbers or text, and missing values.
        current: The same.
    """
    smaller = min(len(reference), len(current))
    sides = (reference, current)
    if is_numeric(reference):
        before, now = (side.to_numpy(np.float64, na_value=np.nan) for side in sides)
        edges = _find_edges(before[~np.isnan(before)], int(np.clip(smaller // _FULL, 2, MOST)))
        names = _name_ranges(edges)
        codes = [_assign_numbers(values, edges) for values in (before, now)]
    else:
        names = sorted(reference.dropna().astype(str).unique())
        codes = [_assign_values(side, names) for side in sides]
        names = [*names, _UNSEEN]
    names = [*names, "missing"]
    counts = np.array([np.bincount(side, minlength=len(names)) for side in codes])
    group, labels = _join_small(counts, names)
    joined = np.array([np.bincount(group, weights=side, minlength=len(labels)) for side in counts]).astype(np.intp)
    return BinnedColumn((group[codes[0]], group[codes[1]]), tuple(labels), joined)


def _find_edges(values: Floats, bins: int) -> Floats:
    """Return the bins' upper edges, which belong to their bin. A value that fills a quantile gets its own bin."""
    if not len(values):
        return values
    ordered = np.sort(values)
    cuts = ordered[np.ceil(np.arange(1, bins) * len(ordered) / bins).astype(np.intp) - 1]
    # A value that fills a quantile lies on a cut, or is all that lies above the last one.
    distinct = np.unique(cuts)
    rows = np.searchsorted(ordered, distinct, side="right") - np.searchsorted(ordered, distinct)
    heavy = distinct[rows >= len(values) / bins]
    return np.unique(np.concatenate([cuts, heavy, np.nextafter(heavy, -np.inf)]))


def _assign_numbers(values: Floats, edges: Floats) -> Codes:
    return np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values))


def _name_ranges(edges: Floats) -> list[str]:
    """Return the bins' names; an edge right below the next one stands for the values less than that next one."""
    if not len(edges):
        return ["any number"]
    under = np.append(np.nextafter(edges[:-1], np.inf) == edges[1:], False)
    shown = [f"{edge:,.0f}" if 1000 <= abs(edge) < 1e9 else f"{edge:.3g}" for edge in edges]
    names = [f"{'below' if under[0] else 'up to'} {shown[0]}"]
    names += [shown[at] if under[at - 1] else f"{shown[at - 1]} to {shown[at]}" for at in range(1, len(edges))]
    return [*names, f"above {shown[-1]}"]


def _assign_values(side: pd.Series, known: list[str]) -> Codes:
    """Return the codes of the known values; the next code is for any other value, the last for a missing one."""
    rows, values = pd.factorize(side)
    places = pd.Index(known, dtype=object).get_indexer(pd.Index(values).astype(object).astype(str))
    # The code -1 of a missing value takes the last of these.
    return np.append(np.where(places < 0, len(known), places), len(known) + 1)[rows]


def _join_small(counts: Counts, names: list[str]) -> tuple[Codes, list[str]]:
    """Join bins that hold too few rows: return the final bin of each bin, and the labels; `counts` is (2, bins)."""
    rows = counts.sum(axis=1)
    smaller = rows.min()
    # Both samples count together: one alone would favour the bins that chance has filled.
    expected = counts.sum(axis=0) / rows.sum() * smaller
    stands = (expected >= _FEW) & np.array([name != _UNSEEN for name in names])
    group = np.maximum(np.cumsum(stands) - 1, 0)
    labels = [name[:24] for name, stays in zip(names, stands, strict=True) if stays]
    largest = (counts[:, ~stands].sum(axis=1) / rows).max() * smaller
    if not labels or expected[~stands].sum() >= _FEW or largest >= 2 * _FEW:
        group[~stands] = len(labels)
        labels.append("rare or new")
    elif largest > 0:
        smallest = int(np.argmin(expected[stands]))
        group[~stands] = smallest
        labels[smallest] += " or rare"
    return group, [f"{at:02d} {name}" for at, name in enumerate(labels, 1)]

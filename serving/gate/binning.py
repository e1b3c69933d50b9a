"""Cut a column into bins by its reference sample, and compute how far two samples differ by chance alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2

MOST = 10
# Rows that a bin between two quantiles expects, and that any bin must expect or hold to stand alone.
_FULL, _FEW = 20, 10
_UNSEEN = "not seen in training"

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]
Counts = NDArray[np.intp]


@dataclass(frozen=True)
class BinnedColumn:
    """Two samples of one column, each value replaced by the label of its bin; labels are in the order of the values.

    Args:
        reference: Categorical, one label a row, e.g. "03 2 to 5".
        current: The same.
        count: How many bins there are; one bin alone can show no drift.
    """

    reference: pd.Series
    current: pd.Series
    count: int


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
    return float((1 / rows + 1 / reference_rows) * chi2.isf(chance, bins - 1))


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
        edges = _find_edges(reference.dropna().to_numpy(np.float64), int(np.clip(smaller // _FULL, 2, MOST)))
        names = _name_ranges(edges)
        codes = [_assign_numbers(side.to_numpy(np.float64), edges) for side in sides]
    else:
        names = sorted(reference.dropna().astype(str).unique())
        codes = [_assign_values(side, names) for side in sides]
        names = [*names, _UNSEEN]
    names = [*names, "missing"]
    counts = np.array([np.bincount(side, minlength=len(names)) for side in codes])
    group, labels = _join_small(counts, names)
    before, now = (pd.Series(pd.Categorical.from_codes(group[side], labels)) for side in codes)
    return BinnedColumn(before, now, len(labels))


def _find_edges(values: Floats, bins: int) -> Floats:
    """Return the bins' upper edges, which belong to their bin. A value that fills a quantile gets its own bin."""
    if not len(values):
        return values
    cuts = np.quantile(values, np.arange(1, bins) / bins, method="inverted_cdf")
    distinct, rows = np.unique(values, return_counts=True)
    heavy = distinct[rows >= len(values) / bins]
    return np.unique(np.concatenate([cuts, heavy, np.nextafter(heavy, -np.inf)]))


def _assign_numbers(values: Floats, edges: Floats) -> Codes:
    return np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values))


def _name_ranges(edges: Floats) -> list[str]:
    """Return the bins' names; an edge right below the next one stands for the values less than that next one."""
    if not len(edges):
        return ["any number"]
    under = np.append(np.nextafter(edges[:-1], np.inf) == edges[1:], False)
    names = [f"{'below' if under[0] else 'up to'} {edges[0]:.3g}"]
    for at in range(1, len(edges)):
        low, high = f"{edges[at - 1]:.3g}", f"{edges[at]:.3g}"
        names.append(high if under[at - 1] else f"{low} to {high}")
    return [*names, f"above {edges[-1]:.3g}"]


def _assign_values(side: pd.Series, known: list[str]) -> Codes:
    """Return the codes of the known values; the next code is for any other value, the last for a missing one."""
    codes = pd.Index(known, dtype=object).get_indexer(side.astype(object).astype(str))
    codes[codes < 0] = len(known)
    codes[side.isna().to_numpy()] = len(known) + 1
    return codes


def _join_small(counts: Counts, names: list[str]) -> tuple[Codes, list[str]]:
    """Join bins that hold too few rows: return the final bin of each bin, and the labels; `counts` is (2, bins)."""
    rows = counts.sum(axis=1)
    smaller = rows.min()
    # Both samples count together: one alone would favour the bins that chance has filled.
    expected = counts.sum(axis=0) / rows.sum() * smaller
    stands = (expected >= _FEW) & (np.array(names) != _UNSEEN)
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

"""Find the columns that grow with an account's age: a cohort that grows older moves them, and nothing is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from features.catalog import Catalog
from serving.gate.binning import is_numeric

AGE = "tenure_days"
# Rank correlation with age from which a column is taken to grow with it.
CLEAR = 0.3
# Training rows that are enough to measure it.
_ROWS = 5_000


def find_growing_columns(rows: pd.DataFrame, columns: Iterable[str], catalog: Catalog) -> tuple[str, ...]:
    """Return the columns that look at all of an account's past and rise with its age in training.

    They can't be compared with accounts of the same age, since training has none as old as the oldest of today. So
    they are left out, and the scores, which depend on them, are compared.

    Args:
        rows: Of training, with the column `tenure_days`; without it no column is known to grow.
        columns: Those that the model reads.
        catalog: Says which look at all of the past: those without a window.
    """
    if AGE not in rows or not len(rows):
        return ()
    some = rows.iloc[np.linspace(0, len(rows) - 1, min(len(rows), _ROWS)).astype(int)]
    return tuple(_list_growing(some, columns, catalog))


def _list_growing(rows: pd.DataFrame, columns: Iterable[str], catalog: Catalog) -> Iterator[str]:
    age = rows[AGE].rank()
    for name in columns:
        feature = catalog.features.get(name)
        if feature is None or feature.window is not None or name not in rows or not is_numeric(rows[name]):
            continue
        values = rows[name].astype("float64")
        if values.min() < values.max() and abs(values.rank().corr(age)) >= CLEAR:
            yield name

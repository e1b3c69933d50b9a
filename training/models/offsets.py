"""Offsets: log-odds that both parts of a model start from, so that neither has to learn them.

The base rate of a cutoff is no account's doing; and what a term's end means is known before anything is learned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from scipy.special import logit

TERM_COLUMNS = ("days_to_renewal", "term_days")
_LENGTHS = np.array([45.0, 120.0, 200.0])  # days: terms of a month, a quarter, half a year, more
_MOST_ENDS = 4
_PRIOR_ROWS = 20.0


def find_columns(features: Sequence[str], names: tuple[str, ...]) -> tuple[int, ...] | None:
    """Return where a matrix's columns have these names; None if it lacks one."""
    return tuple(features.index(name) for name in names) if set(names) <= set(features) else None


def compute_cutoff_offsets(labels: np.ndarray, cutoffs: np.ndarray) -> np.ndarray:
    """Return the log-odds of the base rate of each row's cutoff, (n,); one row of each class is added to each.

    Args:
        labels: (n,) of 0 and 1; or how much each positive counts.
        cutoffs: (n,) of any ordered type.
    """
    codes = np.unique(cutoffs, return_inverse=True)[1]
    rows = np.bincount(codes)
    return np.asarray(logit((np.minimum(np.bincount(codes, labels), rows) + 1) / (rows + 2))[codes])


@dataclass(frozen=True)
class TermCells:
    """Log-odds by the length of the term and the number of its ends inside the horizon.

    Args:
        renewal: The matrix's column with the days to renewal.
        length: That with the days of the term.
        days: From `as_of` to the horizon's end.
        offsets: 4 lengths x 5 numbers of ends (0 to 4 or more), against the base rate.
    """

    renewal: int
    length: int
    days: int
    offsets: tuple[tuple[float, ...], ...]

    def log_odds(self, matrix: np.ndarray) -> np.ndarray:
        """Return the (n,) offsets of a matrix's rows; 0 ends where no term is in force."""
        lengths, ends = _find_cells(matrix[:, self.renewal], matrix[:, self.length], self.days)
        return self._array[lengths, ends]

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Read cells from their numbers as JSON holds them."""
        return cls(**{**fields, "offsets": tuple(tuple(row) for row in fields["offsets"])})

    @cached_property
    def _array(self) -> np.ndarray:
        return np.array(self.offsets)


def fit_term_cells(matrix: np.ndarray, labels: np.ndarray, *, renewal: int, length: int, days: int) -> TermCells:
    """Fit the cells: the share of positives in each, with the base rate of 20 rows added.

    Args:
        matrix: (n, 2): days to renewal, days of the term.
        labels: (n,) of 0 and 1, both there.
        renewal: The column of the whole matrix with the days to renewal.
        length: That with the days of the term.
        days: From `as_of` to the horizon's end.
    """
    cells = _find_cells(matrix[:, 0], matrix[:, 1], days)
    shape, base = (len(_LENGTHS) + 1, _MOST_ENDS + 1), labels.mean()
    positives, rows = np.zeros(shape), np.zeros(shape)
    np.add.at(positives, cells, labels)
    np.add.at(rows, cells, 1.0)
    offsets = logit((positives + _PRIOR_ROWS * base + 0.05) / (rows + _PRIOR_ROWS + 0.1)) - logit(base)
    return TermCells(renewal, length, days, tuple(tuple(row) for row in offsets.tolist()))


def _find_cells(renewal: np.ndarray, length: np.ndarray, days: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the class of length and the number of ends inside the horizon, both (n,)."""
    # fmax passes over null; a few plain steps, since one row is scored in some hundredths of a millisecond.
    further = np.floor(np.maximum(days - 1 - renewal, 0.0) / np.fmax(length, 1.0))
    ends = np.where(renewal < days, np.minimum(1 + further, _MOST_ENDS), 0.0)
    return _LENGTHS.searchsorted(np.fmax(length, 0.0), side="right"), ends.astype(int)

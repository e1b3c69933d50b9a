"""Divides the test into segments: each cutoff, and each value of the attributes that have few."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.evaluation import bootstrap
from training.evaluation.metrics import RankedScores

FEWEST_ROWS = 10  # rows of either class: below it an AUC says nothing
_MOST_VALUES = 12
_KEYS = ("account_id", "as_of")


@dataclass(frozen=True)
class SegmentFigures:
    """Figures on one segment of the test rows.

    Args:
        by: What divides them: an attribute of the account, or as_of.
        value: Theirs.
        rows: Their number.
        positives: Those that came true.
        score: Mean score, to hold against the share of positives.
        auc: None where either class has fewer than ten rows.
        auc_low: Lower end of its 95 % interval, on the same draws as all else.
        auc_high: Upper end.
    """

    by: str
    value: str
    rows: int
    positives: int
    score: float
    auc: float | None
    auc_low: float | None
    auc_high: float | None

    @property
    def base_rate(self) -> float:
        """Return the share of positives."""
        return self.positives / self.rows

    def as_dict(self) -> dict[str, object]:
        """Return the JSON fields."""
        return {**vars(self), "base_rate": self.base_rate}


def iterate_segments(about: pd.DataFrame | None) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield (attribute, value, row indices) of each cutoff and of each attribute with 2 to 12 values.

    An attribute is a text column, or `tier`; rows without a value belong to none.
    """
    if about is None:
        return
    for column in about:
        if column == "as_of":
            yield from _iterate_values(about[column], lambda value: f"{value:%Y-%m-%d}")
        elif _is_dividing(about[column]) and 2 <= about[column].nunique() <= _MOST_VALUES:
            yield from _iterate_values(about[column], str)


def _is_dividing(column: pd.Series) -> bool:
    return column.name == "tier" or (column.name not in _KEYS and not pd.api.types.is_numeric_dtype(column))


def _iterate_values(column: pd.Series, name: Callable[[object], str]) -> Iterator[tuple[str, str, np.ndarray]]:
    codes, values = pd.factorize(column, sort=True)
    for code, value in enumerate(values):
        yield str(column.name), name(value), np.flatnonzero(codes == code)


def average_aucs(aucs: np.ndarray, rows: Sequence[int]) -> np.ndarray:
    """Return the mean AUC within segments, weighted by their rows; NaN where no segment has one.

    Args:
        aucs: (..., segments), NaN where a segment has none.
        rows: (segments,) their numbers of rows.
    """
    is_known = ~np.isnan(aucs)
    weights = np.where(is_known, np.asarray(rows, dtype="float64"), 0.0)
    with np.errstate(invalid="ignore"):
        return np.asarray((np.where(is_known, aucs, 0.0) * weights).sum(axis=-1) / weights.sum(axis=-1))


class SegmentRows:
    """One segment of the test rows, with an AUC of its own on each draw.

    Args:
        by: What divides the test.
        value: Of that attribute.
        indices: Of its rows in the test.
        labels: (n,) of the whole test.
        scores: (n,) likewise.
    """

    def __init__(self, by: str, value: str, indices: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> None:
        self._by, self._value, self._places = by, value, indices
        self._labels, self._scores = labels[indices], scores[indices]
        positives = int(self._labels.sum())
        is_enough = min(positives, len(indices) - positives) >= FEWEST_ROWS
        self._ranking = RankedScores(self._labels, self._scores) if is_enough else None

    def compute_auc(self, weights: np.ndarray) -> float:
        """Return the AUC on a draw of the whole test; NaN if either class has too few rows."""
        return self._ranking.compute_auc(weights[self._places]) if self._ranking else float("nan")

    def summarise(self, drawn: np.ndarray) -> SegmentFigures:
        """Return the figures, with the interval of the draws' AUCs."""
        low, high = bootstrap.compute_interval(drawn)
        aucs = (self._ranking.compute_auc(), low, high) if self._ranking else (None, None, None)
        rows, positives, score = len(self._places), int(self._labels.sum()), float(self._scores.mean())
        return SegmentFigures(self._by, self._value, rows, positives, score, *aucs)

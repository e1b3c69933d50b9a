"""Computes the figures of scores: how well they rank, what they would catch and earn, how true they are."""

from __future__ import annotations

import numpy as np

from features.core.auc import auc_of_counts
from features.settings.stakes import Stakes
from training.evaluation import calibration_error
from training.evaluation.profit import compute_maximum_profit

SHARES = (5, 10, 20)  # % of the rows, highest score first
FIGURES = (
    "auc",
    "ap",
    "brier",
    "brier_skill",
    "ece",
    *(f"lift_{s}" for s in SHARES),
    *(f"capture_{s}" for s in SHARES),
    "value_captured_10",
    "profit",
    "profit_share",
)


class RankedScores:
    """Rows sorted once by their score, for figures under any row weights; rows of one score are a tie.

    Args:
        labels: (n,) of 0 and 1, both there.
        scores: (n,); probabilities, for `figures`.
        values: (n,) what each row is worth, in money; NaN and negative values count as 0.
        stakes: Of the campaign whose profit is computed; by default those of the measure as published.
    """

    def __init__(
        self,
        labels: np.ndarray,
        scores: np.ndarray,
        *,
        values: np.ndarray | None = None,
        stakes: Stakes | None = None,
    ) -> None:
        self._order = np.argsort(-scores, kind="stable")
        self._labels, self._stakes = labels[self._order], stakes or Stakes()
        ranked = scores[self._order]
        self._ties = np.flatnonzero(np.concatenate([[True], np.diff(ranked) != 0]))
        self._errors = (ranked - self._labels) ** 2
        self._bins = calibration_error.make_bins(labels, scores)
        worth = None if values is None else np.nan_to_num(values, nan=0.0).clip(0.0)[self._order] * self._labels
        self._worth = worth if worth is not None and worth.any() else None

    def compute_auc(self, weights: np.ndarray | None = None) -> float:
        """Return the area under the ROC curve; NaN if a class has no weight."""
        return auc_of_counts(*self._counts(self._weights(weights)))

    def compute_ap(self, weights: np.ndarray | None = None) -> float:
        """Return the average precision; NaN without positives."""
        return _compute_average_precision(*self._counts(self._weights(weights)))

    def compute_figures(self, weights: np.ndarray | None = None) -> list[float]:
        """Return the figures named in FIGURES, in that order; NaN where one has no meaning.

        Args:
            weights: (n,) of the rows as given, such as how often a draw holds each; default 1 for all.
        """
        weight = self._weights(weights)
        good, rows = self._counts(weight)
        base = good.sum() / rows.sum()
        brier = float(weight @ self._errors / rows.sum())
        captured = _compute_capture(good, rows)
        profit = compute_maximum_profit(good[::-1], rows[::-1], self._stakes)
        return [
            auc_of_counts(good, rows),
            _compute_average_precision(good, rows),
            brier,
            1 - brier / (base * (1 - base)),
            self._bins.compute_error(weights),
            *(c / (s / 100) for s, c in zip(SHARES, captured, strict=True)),
            *captured,
            self._value_captured(weight, rows),
            profit.profit,
            profit.share,
        ]

    def _weights(self, weights: np.ndarray | None) -> np.ndarray:
        return np.ones(len(self._order)) if weights is None else weights[self._order]

    def _counts(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the positives and the rows at each score, the highest first."""
        return self._by_score(weight * self._labels), self._by_score(weight)

    def _by_score(self, amounts: np.ndarray) -> np.ndarray:
        return amounts if len(self._ties) == len(amounts) else np.add.reduceat(amounts, self._ties)

    def _value_captured(self, weight: np.ndarray, rows: np.ndarray) -> float:
        if self._worth is None:
            return float("nan")
        return _compute_capture(self._by_score(weight * self._worth), rows)[SHARES.index(10)]


def _compute_average_precision(good: np.ndarray, rows: np.ndarray) -> float:
    has_rows = rows > 0
    precision = np.cumsum(good[has_rows]) / np.cumsum(rows[has_rows])
    return float(good[has_rows] @ precision / good.sum()) if good.sum() else float("nan")


def _compute_capture(amounts: np.ndarray, rows: np.ndarray) -> list[float]:
    """Return the share of an amount among the highest 5, 10 and 20 % of the rows; of a tie, its part."""
    reached, caught = (np.concatenate([[0.0], np.cumsum(x)]) for x in (rows, amounts))
    if not caught[-1]:
        return [float("nan")] * len(SHARES)
    return [float(np.interp(s / 100 * reached[-1], reached, caught) / caught[-1]) for s in SHARES]

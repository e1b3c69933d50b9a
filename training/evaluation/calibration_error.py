"""Measures calibration: bins of scores, the expected calibration error, and its noise."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.special import ndtri

_BINS = 10
_DRAWS = 1000
_CHUNK = 100
_FEWEST_ROWS = 100  # of a group, below which its share of positives says nothing
_Z = float(ndtri(0.975))


@dataclass(frozen=True)
class CalibrationBins:
    """Ten bins of equal size, from low to high scores.

    Args:
        order: (n,) indices of the rows, by score.
        edges: Where the bins begin and end in `order`.
        scores: (n,) in that order.
        labels: (n,) likewise.
    """

    order: np.ndarray
    edges: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def compute_error(self, weights: np.ndarray | None = None) -> float:
        """Return the expected calibration error: mean distance of score and share over the bins, by their rows.

        Args:
            weights: (n,) of the rows as given; default 1 for all.
        """
        weight = np.ones(len(self.order)) if weights is None else weights[self.order]
        return float(np.abs(self._sums(weight * (self.scores - self.labels))).sum() / weight.sum())

    def estimate_noise(self, accounts: np.ndarray, *, seed: int) -> float:
        """Return the error that a perfectly calibrated model of these scores exceeds in one sample of twenty.

        Labels are not drawn anew from the scores: an account's rows overlap in time, and would seem independent.
        Each account's residuals keep their size and turn their sign together, at random. That has their mean of
        zero under perfect calibration, and their covariance within the account.
        Source: the wild cluster bootstrap under the null, Cameron, Gelbach and Miller, "Bootstrap-based
        improvements for inference with clustered errors", Review of Economics and Statistics 90 (2008).

        Args:
            accounts: (n,) account ids, of the rows as given.
            seed: Of the signs.
        """
        codes, names = pd.factorize(accounts[self.order])
        residuals = self.labels - self.scores
        parts = [
            np.bincount(codes[low:high], residuals[low:high], minlength=len(names))
            for low, high in pairwise([*self.edges, len(self.order)])
        ]
        sums, generator = np.array(parts), np.random.default_rng(seed)
        errors = [
            np.abs(sums @ generator.choice([-1.0, 1.0], (len(names), _CHUNK))).sum(axis=0)
            for _ in range(_DRAWS // _CHUNK)
        ]
        return float(np.quantile(np.concatenate(errors), 0.95) / len(self.order))

    def _sums(self, amounts: np.ndarray) -> np.ndarray:
        return np.add.reduceat(amounts, self.edges)


def make_bins(labels: np.ndarray, scores: np.ndarray) -> CalibrationBins:
    """Divide rows by their score; as many bins as rows where there are fewer than ten."""
    order = np.argsort(scores, kind="stable")
    sizes = [len(b) for b in np.array_split(order, min(_BINS, len(order)))]
    return CalibrationBins(
        order, np.concatenate([[0], np.cumsum(sizes[:-1])]).astype(int), scores[order], labels[order]
    )


def compute_reliability(labels: np.ndarray, scores: np.ndarray, accounts: np.ndarray) -> pd.DataFrame:
    """Return ten bins of equal size: rows, mean score, share of positives, ends of its 95 % interval."""
    ranked = make_bins(labels, scores)
    rows = []
    for row_indices in np.split(ranked.order, ranked.edges[1:]):
        figures = compute_share_interval(labels[row_indices], accounts[row_indices])
        rows.append((len(row_indices), float(scores[row_indices].mean()), *figures))
    return pd.DataFrame(rows, columns=["rows", "score", "share", "low", "high"])


def compute_level_error(
    test: pd.DataFrame,
    by: list[str],
) -> float | None:
    """Return the mean distance of mean score and share of positives over groups of 100 rows or more; None without any.

    Args:
        test: `score`, `label` and the columns `by`, such as `as_of` alone (by month), or `as_of` and `tier`.
        by: What to group by.
    """
    if not {*by} <= {*test}:
        return None
    parts = test.groupby(by)[["score", "label"]].agg(["mean", "size"])
    parts = parts[parts["score", "size"] >= _FEWEST_ROWS]
    return float((parts["score", "mean"] - parts["label", "mean"]).abs().mean()) if len(parts) else None


def compute_share_interval(labels: np.ndarray, accounts: np.ndarray) -> tuple[float, float, float]:
    """Return the share of positives and the ends of its 95 % interval, an account's rows taken together.

    The interval is Wilson's, on as many independent rows as those of the accounts are worth.
    Source: Korn and Graubard, "Confidence intervals for proportions with small expected number of positive
    counts estimated from survey data", Survey Methodology 24 (1998).

    Args:
        labels: (n,) of 0 and 1, n > 0.
        accounts: (n,) account ids.
    """
    share = float(labels.mean())
    return share, *compute_wilson_interval(share, _effective_rows(labels - share, accounts))


def _effective_rows(residuals: np.ndarray, accounts: np.ndarray) -> float:
    """Return the number of independent rows that give the share this variance; without variance, that of accounts."""
    codes, names = pd.factorize(accounts)
    clustered = float((np.bincount(codes, residuals) ** 2).sum())
    rows = len(residuals)
    return rows * min(1.0, float((residuals**2).sum()) / clustered) if clustered else float(len(names))


def compute_wilson_interval(share: float, rows: float) -> tuple[float, float]:
    """Return the ends of Wilson's 95 % interval of a share."""
    middle = share + _Z**2 / (2 * rows)
    half = _Z * np.sqrt(share * (1 - share) / rows + _Z**2 / (4 * rows**2))
    return float(max(0.0, (middle - half) / (1 + _Z**2 / rows))), float(min(1.0, (middle + half) / (1 + _Z**2 / rows)))

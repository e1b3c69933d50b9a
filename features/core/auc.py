"""The area under the ROC curve (AUC) and ranks, stated once for all folders.

Source: A. P. Bradley, "The use of the area under the ROC curve in the evaluation of machine learning algorithms",
Pattern Recognition 30(7), 1997. The area is the Mann-Whitney statistic over the number of pairs.
"""

from __future__ import annotations

import math

import numpy as np


def auc(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None, *, undefined: float = math.nan
) -> float:
    """Return the share of pairs of a positive and a negative that the scores order rightly; a tie counts half.

    Args:
        labels: (n,) of 0 and 1.
        scores: (n,); may be infinite, but not NaN.
        weights: (n,) of the rows, 0 or more; by default 1 each.
        undefined: The answer where a class has no weight.

    Returns:
        From 0 to 1.

    >>> auc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.4, 0.8]))
    0.875
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]])) if len(ranked) else order
    rows = np.ones(len(order)) if weights is None else weights[order]
    positives = rows * labels[order]
    if len(starts) < len(order):
        positives, rows = np.add.reduceat(positives, starts), np.add.reduceat(rows, starts)
    return auc_of_counts(positives, rows, undefined=undefined)


def auc_of_counts(positives: np.ndarray, rows: np.ndarray, *, undefined: float = math.nan) -> float:
    """Return the AUC from the weights at each distinct score, the highest first.

    Args:
        positives: (k,) weight of the positives at each score.
        rows: (k,) weight of all rows at each score.
        undefined: The answer where a class has no weight.
    """
    negatives = rows - positives
    pairs = positives.sum() * negatives.sum()
    if not pairs:
        return undefined
    # A positive beats the negatives below it, and half of those that tie with it.
    return float(positives @ (negatives.sum() - np.cumsum(negatives) + negatives / 2) / pairs)


def rank(values: np.ndarray) -> np.ndarray:
    """Return the place of each value in ascending order, from 1; equal values share the mean of their places.

    Args:
        values: (n,) without NaN.

    Returns:
        (n,) float64.

    >>> rank(np.array([0.2, 0.5, 0.1, 0.5])).tolist()
    [2.0, 3.5, 1.0, 3.5]
    """
    _, group, rows = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(rows)
    return (last - (rows - 1) / 2)[group]

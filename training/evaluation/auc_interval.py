"""Computes the AUC with its interval in closed form, for rows of which several may belong to one account."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy.special import ndtri

from features.core.auc import rank

_Z = float(ndtri(0.975))


def compute_auc_interval(labels: np.ndarray, scores: np.ndarray, accounts: np.ndarray) -> tuple[float, float, float]:
    """Return the AUC and the ends of its 95 % interval, an account's rows taken together.

    Each row's placement is the share of the other class that it is ordered rightly against. The variance is that of
    the sums, by account, of how far placements lie from the AUC. The interval is computed on the log-odds of the AUC,
    so that it stays between 0 and 1.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988); by clusters, Obuchowski, "Nonparametric analysis
    of clustered ROC curve data", Biometrics 53 (1997).

    Args:
        labels: (n,) of 0 and 1, both there.
        scores: (n,), no NaN.
        accounts: (n,) account ids.

    Examples:
        >>> compute_auc_interval(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.4, 0.8]), np.arange(4))[0]
        0.875
    """
    is_positive = labels == 1
    positives, negatives = int(is_positive.sum()), int((~is_positive).sum())
    ranks, placements = rank(scores), np.empty(len(scores))
    placements[is_positive] = (ranks[is_positive] - rank(scores[is_positive])) / negatives
    placements[~is_positive] = 1 - (ranks[~is_positive] - rank(scores[~is_positive])) / positives
    area = float(placements[is_positive].mean())
    codes, names = pd.factorize(accounts)
    parts = np.bincount(codes, (placements - area) / np.where(is_positive, positives, negatives))
    if area in {0.0, 1.0} or len(names) < 2:
        return area, area, area
    deviation = math.sqrt(len(names) / (len(names) - 1) * float(parts @ parts))
    middle, half = math.log(area / (1 - area)), _Z * deviation / (area * (1 - area))
    low, high = (1 / (1 + math.exp(-end)) for end in (middle - half, middle + half))
    return area, low, high

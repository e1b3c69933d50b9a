"""Compare counts with what was expected of them, drawn towards the mean of all as far as chance may explain them.

The count of each group is Poisson with the mean `rate * expected`; the rates of all groups are Gamma with the mean 1,
whose spread is learned from the groups themselves (empirical Bayes). How well few groups tell that spread is part of
the interval: it is averaged over all spreads, each weighted by how well it explains the counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, gdtr

from training.decisions.value import Floats

LEVEL = 0.95
# Standard deviations that the rates of groups may have, each as likely as the other before the counts are seen.
_SPREADS = np.linspace(0.02, 1.5, 60)
_HALVINGS = 50


@dataclass(frozen=True)
class ShrunkRatio:
    """What was observed against what was expected, shrunken.

    Args:
        ratio: Mean of the posterior; 1 is as all groups together.
        low: Lower end of the interval that holds it with 95 %.
        high: Its upper end.
    """

    ratio: float
    low: float
    high: float


def shrink_ratios(observed: Sequence[float], expected: Sequence[float]) -> list[ShrunkRatio]:
    """Shrink the ratios of observed to expected counts towards 1.

    A count of accounts varies less than a Poisson count of the same mean, so the intervals are rather too wide.

    Args:
        observed: (n,) counts, 0 or more.
        expected: (n,) of the same groups, above 0, in total as many as observed.

    Returns:
        One for each group.

    Source:
        Clayton and Kaldor, Empirical Bayes estimates of age-standardized relative risks, Biometrics 43 (1987); Gelman,
        Prior distributions for variance parameters, Bayesian Analysis 1 (2006), for the flat prior of the spread.

    Example:
        >>> one, other, few = shrink_ratios([60, 20, 1], [40.0, 40.0, 1.0])
        >>> one.ratio > 1.1 and other.ratio < 0.9 and few.low < 1 < few.high
        True
    """
    counts, means = np.asarray(observed, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if not len(counts):
        return []
    a = (_SPREADS**-2)[:, None]
    fit = gammaln(counts + a) - gammaln(a) + a * np.log(a / (a + means)) + counts * np.log(means / (a + means))
    likelihood = fit.sum(axis=1)
    weights = np.exp(likelihood - likelihood.max())
    weights /= weights.sum()
    shape, rate = a + counts, a + means
    ratio = weights @ (shape / rate)
    low, high = (_find_quantile(q, weights, shape, rate) for q in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return [ShrunkRatio(*map(float, row)) for row in zip(ratio, low, high, strict=True)]


def _find_quantile(share: float, weights: Floats, shape: Floats, rate: Floats) -> Floats:
    """Find a quantile of mixtures of Gammas, (n,), by halving.

    Args:
        share: Of the quantile.
        weights: (k,) of the parts.
        shape: (k, n) of each part.
        rate: (k, n) of each part.
    """
    low, high = np.zeros(shape.shape[1]), np.full(shape.shape[1], 100.0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_below = weights @ gdtr(rate, shape, middle) < share
        low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
    return (low + high) / 2

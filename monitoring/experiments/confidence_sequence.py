"""Bound a mean at every look: an asymptotic confidence sequence, which may be read as often as anybody likes.

An interval that holds at one look, read monthly for two years, excludes the truth at some look far more often than it
says. A confidence sequence covers it at all looks together.

Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Time-uniform central limit theory and asymptotic confidence
sequences, Annals of Statistics 52 (2024), theorem 2.2 and appendix B.2 (the choice of rho).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# Observations at which a sequence is tightest, and before which it says nothing: it holds for large samples.
TIGHTEST, FIRST = 200, 40


@dataclass(frozen=True)
class ConfidenceSequence:
    """Intervals of a running mean, all of which cover it together with the confidence asked for.

    Args:
        mean: (n,) after each observation.
        low: (n,) lower ends; -inf before the first look that says something.
        high: (n,) upper ends.
    """

    mean: Floats
    low: Floats
    high: Floats


def bound_mean(
    values: Floats, *, alpha: float = 0.05, tightest: int = TIGHTEST, first: int = FIRST
) -> ConfidenceSequence:
    """Bound the mean of a growing sample.

    Args:
        values: (n,) independent observations in the order in which they came.
        alpha: 1 - confidence.
        tightest: The number of observations at which the sequence shall be tightest.
        first: So many observations are needed before it says anything: it holds for large samples.
    """
    n = np.arange(1, len(values) + 1, dtype=np.float64)
    mean = np.cumsum(values) / n
    # The variance about the running mean; the first observation says nothing of it.
    variance = np.maximum(np.cumsum(values**2) / n - mean**2, 0.0) * n / np.maximum(n - 1, 1)
    width = compute_width(n, variance, alpha=alpha, tightest=tightest)
    width[(n < first) | (variance <= 0)] = np.inf
    return ConfidenceSequence(mean, mean - width, mean + width)


def compute_width(n: Floats, variance: Floats, *, alpha: float = 0.05, tightest: int = TIGHTEST) -> Floats:
    """Compute half the width of the interval after n observations.

    Args:
        n: (k,) numbers of observations.
        variance: (k,) of an observation.
        alpha: 1 - confidence.
        tightest: As in `bound_mean`.
    """
    scaled = n * compute_rho(alpha, tightest) ** 2 + 1
    return np.sqrt(variance * 2 * scaled / (n * (scaled - 1)) * np.log(np.sqrt(scaled) / alpha))


def compute_rho(alpha: float, tightest: int) -> float:
    """Return the parameter of the sequence that makes it tightest at a number of observations."""
    return math.sqrt((-2 * math.log(alpha) + math.log(-2 * math.log(alpha)) + 1) / tightest)

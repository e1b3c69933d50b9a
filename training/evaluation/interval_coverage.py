"""Measures the intervals of scores: how many groups of like accounts have a share of positives that they allow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from features.core.timestamps import DAY, to_micros_column
from training.models.horizon_model import HorizonModel
from training.models.score_interval import COVERED, group_alike

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(31)


@dataclass(frozen=True)
class IntervalCoverage:
    """How often intervals hold what came.

    Args:
        groups: Of accounts of like score at one cutoff of the test, tenths or fewer.
        covered: Share of the groups whose share of positives the interval allows; meant is 0.9.
        width: Mean distance of the ends of a score's interval, as a probability.
    """

    groups: int
    covered: float
    width: float

    def describe(self) -> str:
        """Describe it in a sentence."""
        return (
            f"In {self.covered:.0%} of {self.groups} groups of like accounts the share of positives was one that the "
            f"scores' {COVERED:.0%} intervals allow; an interval is {100 * self.width:.1f} points wide."
        )


def measure_coverage(model: HorizonModel, test: pd.DataFrame) -> IntervalCoverage | None:
    """Measure how often the intervals of a horizon's scores cover the shares of groups of like accounts.

    A group is a tenth of the scores of one cutoff (fewer groups where one would have less than 30 rows). Its interval
    is that of its mean score. A group of n accounts scatters about its own chance, so a share is allowed where the
    number of positives lies in the middle 90 % of what the interval's spread and n draws give; a number on the border
    counts in part, so that the mean is 90 % where the spread is true, however small the group.

    Args:
        model: That gave the scores.
        test: Rows that it did not learn from: `as_of`, `label` (0 or 1) and its `score`.

    Returns:
        None by a model of an older version, which knows no intervals.
    """
    if model.spread is None:
        return None
    days, scores, labels = (
        to_micros_column(test["as_of"]).to_numpy() / DAY,
        test["score"].to_numpy(),
        test["label"].to_numpy(),
    )
    covered = []
    for day in np.unique(days):
        at = np.flatnonzero(days == day)
        for group in group_alike(scores[at]):
            mean = float(scores[at][group].mean())
            deviation = float(model.estimate_deviations(np.array([mean]), np.array([day]))[0])
            covered.append(_cover(int(labels[at][group].sum()), len(group), mean, deviation))
    low, high = model.find_ends(scores, days)
    return IntervalCoverage(len(covered), float(np.mean(covered)), float((high - low).mean()))


def _cover(positives: int, rows: int, mean: float, deviation: float) -> float:
    """Return which part of a number of positives lies in the middle 90 % of those that are likely, 0 to 1."""
    from scipy.stats import binom  # slow to import, and no part of serving

    chances = expit(logit(np.clip(mean, 1e-6, 1 - 1e-6)) + deviation * _NODES)
    below, upto = (
        float(_WEIGHTS @ binom.cdf(count, rows, chances) / _WEIGHTS.sum()) for count in (positives - 1, positives)
    )
    tail = (1 - COVERED) / 2
    inside = min(upto, 1 - tail) - max(below, tail)
    if upto - below <= 0:
        return 0.0
    return min(1.0, max(0.0, inside) / (upto - below))

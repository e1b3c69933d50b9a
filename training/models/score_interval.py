"""The interval of a score: between which ends the share of positives lies among accounts that are scored alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from training.models.base_rates import BaseRates
from training.models.calibration import Fold, find_intercept

COVERED = 0.9  # of groups of like accounts, by their intervals
_Z = 1.6448536269514722  # half of the rest lies beyond so many standard deviations, on either side
_TENTHS = 10
_FEWEST_ROWS = 30  # of a group
_FEWEST_GROUPS = 5
_LIKELY = (1e-6, 1 - 1e-6)


@dataclass(frozen=True)
class ScoreSpread:
    """How far the log-odds of groups of like accounts lie from those that their scores say; standard deviations.

    Args:
        level: Of all accounts at one cutoff together, where the base rate was foretold.
        unsure: The same where nothing foretells it: how the base rates of cutoffs differ.
        group: Of accounts of like score at one cutoff, beside its level.
        slope: Of the calibrator's slope, as a share of it: the farther a score from `centre`, the less sure.
        centre: The mean calibrated log-odds of the accounts to be scored, without the intercept.
    """

    level: float
    unsure: float
    group: float
    slope: float
    centre: float

    def estimate_deviation(self, log_odds: np.ndarray, *, is_unsure: np.ndarray | bool) -> np.ndarray:
        """Return the standard deviation of the log-odds, (n,).

        Args:
            log_odds: (n,) calibrated, without the intercept.
            is_unsure: Whether the level of their time is foretold by nothing.
        """
        level = np.where(is_unsure, self.unsure, self.level)
        return np.sqrt(level**2 + self.group**2 + (self.slope * (log_odds - self.centre)) ** 2)


def find_ends(scores: np.ndarray, deviations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the 90 % intervals of probabilities, (n,) each, with the score between them.

    Args:
        scores: (n,) calibrated probabilities.
        deviations: (n,) standard deviations of their log-odds.
    """
    middle, reach = compute_log_odds(scores), _Z * deviations
    return np.minimum(expit(middle - reach), scores), np.maximum(expit(middle + reach), scores)


def compute_log_odds(scores: np.ndarray) -> np.ndarray:
    """Return the log-odds of probabilities, finite even at 0 and 1, in the same shape."""
    return logit(np.clip(scores, *_LIKELY))


def fit_spread(folds: Sequence[Fold], linear_weight: float, slope: float, rates: BaseRates | None) -> ScoreSpread:
    """Fit the spread on rows later than those that the models of the folds learned from; its centre is left at 0.

    Args:
        folds: At least one.
        linear_weight: Of the blend.
        slope: Of the calibrator.
        rates: The base rates of the cutoffs learned from; None for rows without times.
    """
    residuals, variances, information = [], [], 0.0
    for fold in folds:
        log_odds = slope * fold.blend(linear_weight)
        for group in np.unique(fold.groups):
            at = np.flatnonzero(fold.groups == group)
            rate = float(fold.labels[at].mean())
            if not 0 < rate < 1:
                continue
            raised = log_odds[at] + find_intercept(log_odds[at], rate)
            chances = expit(raised)
            weights = chances * (1 - chances)
            middle = float(weights @ raised / weights.sum())
            information += float(weights @ (raised - middle) ** 2)
            groups = group_alike(chances)
            # Beside the cutoff's own intercept, whose part is in the spread of levels.
            share = 1 - 1 / len(groups)
            for row_indices in groups if len(groups) > 1 else ():
                weight = float(weights[row_indices].sum())
                missed = float((fold.labels[at][row_indices] - chances[row_indices]).sum())
                residuals.append(missed / weight)
                variances.append(share / weight)
    level, unsure = _estimate_levels(rates) if rates else (0.0, 0.0)
    return ScoreSpread(
        level=level,
        unsure=max(level, unsure),
        group=estimate_excess(np.array(residuals), np.array(variances)),
        slope=float(min(1.0, 1 / np.sqrt(information))) if information else 1.0,
        centre=0.0,
    )


def group_alike(scores: np.ndarray) -> list[np.ndarray]:
    """Return the indices of groups of like scores: tenths, or fewer where a group would have less than 30 rows."""
    count = int(np.clip(len(scores) // _FEWEST_ROWS, 1, _TENTHS))
    return np.array_split(np.argsort(scores, kind="stable"), count)


def estimate_excess(residuals: np.ndarray, variances: np.ndarray) -> float:
    """Return the standard deviation of residuals beyond their own sampling; 0 where that explains them.

    Source: Paule and Mandel, "Consensus values and weighting factors", Journal of Research of the National Bureau of
    Standards 87 (1982); residuals have the mean 0 here, so none is estimated.

    Args:
        residuals: (k,).
        variances: (k,) of each by sampling alone.
    """
    if len(residuals) < _FEWEST_GROUPS:
        return 0.0

    def surplus(between: float) -> float:
        return float((residuals**2 / (variances + between)).sum()) - len(residuals)

    if surplus(0.0) <= 0:
        return 0.0
    from scipy.optimize import brentq  # slow to import, and no part of serving

    return float(np.sqrt(brentq(surplus, 0.0, float((residuals**2).sum()) + 1.0)))


def _estimate_levels(rates: BaseRates) -> tuple[float, float]:
    """Return how far foretold base rates lay from those that came, and how far those of cutoffs lie apart."""
    errors, variances = rates.judge(rates.choose_rule() if rates.is_moving else None)
    unsure = estimate_excess(rates.log_odds - rates.spread.mean, rates.variances)
    foretold = estimate_excess(errors, variances) if len(errors) >= _FEWEST_GROUPS else unsure
    # However well the past was foretold, the level is learned from a sample.
    return max(foretold, float(np.sqrt(rates.latest_variance))), unsure

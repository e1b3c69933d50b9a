"""Calibrates a model: turns its log-odds into probabilities that come true as often as they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

_DRAWN = 0.005  # to a half, against the mean log-loss of a row


@dataclass(frozen=True)
class Calibrator:
    """Platt scaling: p = 1 / (1 + exp(-(slope * log-odds + intercept))).

    Two numbers, so nothing to overfit and nothing to pickle; `slope` stays positive, so ranks are kept.
    Source: Platt, "Probabilistic outputs for support vector machines", 1999, without its label smoothing.
    """

    slope: float
    intercept: float

    def __call__(self, log_odds: np.ndarray) -> np.ndarray:
        """Return the probabilities of log-odds, in the same shape."""
        return expit(self.slope * log_odds + self.intercept)


def fit_calibrator(log_odds: np.ndarray, labels: np.ndarray) -> Calibrator:
    """Fit the calibrator by maximum likelihood on rows later than those the model learned from.

    Args:
        log_odds: (n,) raw model output.
        labels: (n,) of 0 and 1, both there.
    """

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        z = np.exp(parameters[0]) * log_odds + parameters[1]
        residual = expit(z) - labels
        value = np.mean(np.logaddexp(0, z) - labels * z)
        return float(value), np.array([np.mean(residual * (z - parameters[1])), np.mean(residual)])

    from scipy.optimize import minimize  # slow to import, and no part of serving

    best = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(-2.0, 2.0), (-10.0, 10.0)])
    return Calibrator(float(np.exp(best.x[0])), float(best.x[1]))


@dataclass(frozen=True)
class Fold:
    """Rows later than those that two models learned from.

    Args:
        trees: (n,) log-odds by one model.
        linear: (n,) those by the other.
        labels: (n,) of 0 and 1, both there.
        groups: (n,) what may move the mean of the labels, such as the cutoff.
    """

    trees: np.ndarray
    linear: np.ndarray
    labels: np.ndarray
    groups: np.ndarray

    def blend(self, linear_weight: float) -> np.ndarray:
        """Return the (n,) log-odds of both."""
        return (1.0 - linear_weight) * self.trees + linear_weight * self.linear


def choose_linear_weight(folds: Sequence[Fold]) -> float:
    """Choose the weight of the second of two models in their blended log-odds, in tenths; the first has the rest.

    Of greatest likelihood once calibrated, but drawn to a half: a later period is one witness, and two models
    that err apart are the safer wager.

    Args:
        folds: At least one; all count the same.
    """

    def loss(weight: float) -> float:
        likelihoods = [compute_likelihood(fold.blend(weight), fold.labels) for fold in folds]
        return float(_DRAWN * (weight - 0.5) ** 2 - np.mean(likelihoods))

    return min((tenths / 10 for tenths in range(11)), key=loss)


def compute_likelihood(log_odds: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean log-likelihood of a row, once calibrated on these rows; arguments as of `fit_calibrator`."""
    probability = fit_calibrator(log_odds, labels)(log_odds).clip(1e-15, 1 - 1e-15)
    return float(np.mean(np.log(np.where(labels == 1, probability, 1 - probability))))


def fit_slope(log_odds: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> float:
    """Fit the slope of a calibrator by maximum likelihood, with an intercept of its own for each group.

    So how far apart the scores of one cutoff are is not mistaken for how far apart the cutoffs are.

    Args:
        log_odds: (n,) raw model output on rows later than those it learned from.
        labels: (n,) of 0 and 1, both there.
        groups: (n,) such as cutoffs.
    """
    codes = np.unique(groups, return_inverse=True)[1]
    count = int(codes.max()) + 1

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scaled = np.exp(parameters[0]) * log_odds
        z = scaled + parameters[1:][codes]
        residual = (expit(z) - labels) / len(labels)
        value = np.mean(np.logaddexp(0, z) - labels * z)
        return float(value), np.concatenate([[residual @ scaled], np.bincount(codes, residual, minlength=count)])

    from scipy.optimize import minimize  # as above

    bounds = [(-2.0, 2.0), *[(-10.0, 10.0)] * count]
    return float(np.exp(minimize(loss, np.zeros(count + 1), jac=True, method="L-BFGS-B", bounds=bounds).x[0]))


def recentre(calibrator: Calibrator, log_odds: np.ndarray, rate: float) -> Calibrator:
    """Return a calibrator with the same slope, and the intercept at which the mean probability is `rate`.

    For a model that has since learned from the calibration's rows too: it knows their base rate, and an
    intercept that corrected for it would correct twice. 0 < rate < 1.
    """
    return Calibrator(calibrator.slope, find_intercept(calibrator.slope * log_odds, rate))


def find_intercept(log_odds: np.ndarray, rate: float) -> float:
    """Return what is to be added to log-odds, (n,), so that the mean probability is `rate`; 0 < rate < 1."""
    from scipy.optimize import brentq  # as above

    return float(brentq(lambda b: float(expit(log_odds + b).mean()) - rate, -50.0, 50.0))

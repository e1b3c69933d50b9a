"""Calibrates a model: turns its log-odds into probabilities that come true as often as they say."""

from __future__ import annotations

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


def choose_linear_weight(trees: np.ndarray, linear: np.ndarray, labels: np.ndarray) -> float:
    """Choose the weight of the second of two models in their blended log-odds, in tenths; the first has the rest.

    Of greatest likelihood once calibrated, but drawn to a half: one later period is one witness, and two models
    that err apart are the safer wager.

    Args:
        trees: (n,) raw output of one model on rows later than those it learned from.
        linear: (n,) that of the other.
        labels: (n,) of 0 and 1, both there.
    """

    def loss(part: float) -> float:
        blended = (1 - part) * trees + part * linear
        probability = fit_calibrator(blended, labels)(blended).clip(1e-15, 1 - 1e-15)
        likelihood = np.mean(np.log(np.where(labels == 1, probability, 1 - probability)))
        return float(_DRAWN * (part - 0.5) ** 2 - likelihood)

    return min((tenths / 10 for tenths in range(11)), key=loss)


def recentre(calibrator: Calibrator, log_odds: np.ndarray, rate: float) -> Calibrator:
    """Return a calibrator with the same slope, and the intercept at which the mean probability is `rate`.

    For a model that has since learned from the calibration's rows too: it knows their base rate, and an
    intercept that corrected for it would correct twice. 0 < rate < 1.
    """
    scaled = calibrator.slope * log_odds
    from scipy.optimize import brentq  # as above

    intercept = brentq(lambda b: float(expit(scaled + b).mean()) - rate, -50.0, 50.0)
    return Calibrator(calibrator.slope, float(intercept))

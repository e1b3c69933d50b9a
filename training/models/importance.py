"""Computes how much each feature weighs in a model: drift of a column that no score depends on does no harm."""

from __future__ import annotations

import numpy as np

from training.models.horizon_model import HorizonModel
from training.models.model import Model


def compute_feature_weights(model: Model) -> dict[str, float]:
    """Return each feature's share of the model's weight, 0 to 1; together they make 1, or 0 without a single split.

    In the trees a feature weighs as much as its splits gained in training. In the additive part it weighs as much as
    one standard deviation of it moves the log-odds. Both are blended as the model blends them, and averaged over the
    horizons.
    """
    by_horizon = [_weigh(horizon_model) for horizon_model in model.horizon_models]
    weights = np.mean(by_horizon, axis=0) if by_horizon else np.zeros(len(model.features))
    return dict(zip(model.features, weights.tolist(), strict=True))


def _weigh(model: HorizonModel) -> np.ndarray:
    """Return the (features,) weights in the model of one horizon."""
    trees = _normalise(model.booster.feature_importance("gain"))
    if model.linear is None:
        return trees
    return (1.0 - model.linear_weight) * trees + model.linear_weight * _normalise(np.abs(model.linear.weights))


def _normalise(weights: np.ndarray) -> np.ndarray:
    return weights / (weights.sum() or 1.0)

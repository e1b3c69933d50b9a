"""Defines the hyperparameters of boosters: one set for all data, and what a tuner may look at to choose others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from features.catalog import Catalog
from features.settings import Churn, Settings, Upsell
from training.models.matrix import Matrix
from training.models.model import Model
from training.targets import time_splits

# One set for all data: small, strongly regularised trees, slowly learned. Rows of one account follow each other
# month by month, so there is less in the data than their number says.
PARAMETERS = {
    "objective": "binary",
    "learning_rate": 0.03,
    "num_leaves": 7,
    "min_data_in_leaf": 50,
    "feature_fraction": 1.0,  # less where there are many, see `plain`
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 10.0,
    "cat_smooth": 20.0,
    "max_bin": 127,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
# That each tree may look at: few enough that trees differ, enough that causes which act together meet.
_FEATURES_A_TREE = 32
# A fixed number: stopping by a later period's loss mistakes a season's base rate for overfitting.
TREES = 150
# Where they are worth it, see `enrich_hyperparameters`.
_RICH_TREES, _RICH_LEAVES = 300, 15
_LEAST_GAIN = 0.005  # share of the gain of all


@dataclass(frozen=True)
class Hyperparameters:
    """Hyperparameters of the boosters of one target.

    Args:
        parameters: LightGBM's.
        trees: Their number.
        tuned: A sentence on how they were chosen; empty for the defaults.
    """

    parameters: Mapping[str, Any] = field(default_factory=lambda: dict(PARAMETERS))
    trees: int = TREES
    tuned: str = ""

    def constrained(self, features: tuple[str, ...]) -> tuple[str, ...]:
        """Return the model's features with which the score never falls."""
        directions = self.parameters.get("monotone_constraints", ())
        return tuple(f for f, direction in zip(features, directions, strict=False) if direction)


@dataclass(frozen=True)
class TuningTask:
    """The data a tuner may look at: one target's rows at cutoffs of the training, and no others.

    Args:
        name: Of the target.
        model: Its columns; without horizons yet.
        matrix: Of the n rows, or an array (n, features).
        as_ofs: (n,) their cutoffs.
        horizons: By horizon, the plan and the (n,) labels.
    """

    name: str
    model: Model
    matrix: Matrix | np.ndarray
    as_ofs: pd.Series
    horizons: Mapping[int, tuple[time_splits.TimePlan, np.ndarray]]


HyperparameterChooser = Callable[[TuningTask, Hyperparameters], Hyperparameters]


def build_hyperparameters(features: int, *, seed: int) -> Hyperparameters:
    """Return the default hyperparameters for a matrix of so many columns."""
    fraction = min(1.0, max(0.1, _FEATURES_A_TREE / max(features, 1)))
    return Hyperparameters(PARAMETERS | {"feature_fraction": fraction, "seed": seed})


def enrich_hyperparameters(plain: Hyperparameters, gains: np.ndarray) -> Hyperparameters:
    """Return hyperparameters for data with more in them: larger and more trees, of the features that matter alone.

    Args:
        plain: Of a booster trained already.
        gains: (features,) what each gained in it.
    """
    matters = gains >= _LEAST_GAIN * gains.sum()
    richer = {
        "num_leaves": _RICH_LEAVES,
        "feature_fraction": min(1.0, _FEATURES_A_TREE / max(1, int(matters.sum()))),
        # A feature whose gain counts nothing is never split by.
        "feature_contri": matters.astype(float).tolist(),
    }
    return replace(plain, parameters={**plain.parameters, **richer}, trees=_RICH_TREES)


def build_target_hyperparameters(settings: Settings, target: Churn | Upsell, model: Model) -> Hyperparameters:
    """Return the hyperparameters for a target without tuning, its constraints among the parameters.

    Where the catalog says that more of a feature can only raise the risk of leaving, the score never falls with it.
    That holds for leaving only: accounts about to leave do not downgrade first, and of upsell the catalog says
    nothing. Text columns have no direction.
    """
    hyperparameters = build_hyperparameters(len(model.features), seed=settings.training.seed)
    leaving = isinstance(target, Churn) and target.label.kind != "downgrade"
    catalog = Catalog.for_company(settings)
    directions = [0 if f in model.categories else catalog.find_feature(f).direction for f in model.features]
    if not (settings.training.monotone and leaving and any(directions)):
        return hyperparameters
    # The looser methods gain nothing here (AUC 0.844 by each on the sample, as without constraints), and with a
    # feature_fraction below 1 they have been seen to let a score fall: LightGBM #5358, #6155.
    constraints = {"monotone_constraints": directions, "monotone_constraints_method": "basic"}
    return replace(hyperparameters, parameters={**hyperparameters.parameters, **constraints})

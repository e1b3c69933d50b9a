"""A small gradient-boosted model for the probes: quick, deterministic, evaluated on accounts that it has not seen."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import lightgbm as lgb
import numpy as np
import pandas as pd

from features.core.auc import auc

_FOLDS = 3
_TREES = 100
_PARAMETERS = {
    "objective": "binary",
    "learning_rate": 0.1,
    "num_leaves": 7,
    "min_data_in_leaf": 20,
    "lambda_l2": 10.0,
    "feature_fraction": 0.5,
    "max_bin": 63,
    "deterministic": True,
    "force_col_wise": True,
    "num_threads": 1,
    "seed": 7,
    "verbosity": -1,
}


def cross_validate(matrix: np.ndarray, labels: np.ndarray, accounts: pd.Series) -> float:
    """Return the AUC of a small model on rows of accounts that it has not learned from, in three folds."""
    everything = np.ones(len(labels), dtype=bool)
    return cross_validate_parts(matrix, labels, accounts, learned=everything, tested=everything)


def cross_validate_parts(
    matrix: np.ndarray, labels: np.ndarray, accounts: pd.Series, *, learned: np.ndarray, tested: np.ndarray
) -> float:
    """Return the AUC on the `tested` rows of a model of `learned` rows of other accounts, in three folds.

    Args:
        matrix: (n, columns).
        labels: (n,) of 0 and 1.
        accounts: (n,) ids.
        learned: (n,) flags of the rows to learn from.
        tested: (n,) flags of the rows to evaluate on.
    """
    folds = pd.factorize(accounts, sort=True)[0] % _FOLDS
    scores = np.empty(len(labels))

    def predict(fold: int) -> None:
        is_held_out, rest = tested & (folds == fold), learned & (folds != fold)
        if is_held_out.any() and rest.any():
            booster = fit_booster(matrix[rest], labels[rest])
            scores[is_held_out] = booster.predict(matrix[is_held_out], num_threads=1)

    # Each learns on one thread: few rows are learned faster so, and folds side by side.
    with ThreadPoolExecutor(_FOLDS) as folds_at_once:
        list(folds_at_once.map(predict, range(_FOLDS)))
    return auc(labels[tested], scores[tested], undefined=0.5)


def fit_booster(matrix: np.ndarray, labels: np.ndarray) -> lgb.Booster:
    """Train a small booster."""
    return lgb.train(_PARAMETERS, lgb.Dataset(matrix, labels, params={"verbosity": -1}), num_boost_round=_TREES)

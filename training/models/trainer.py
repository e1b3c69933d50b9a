"""Trains the calibrated model of one horizon from a matrix and hyperparameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import lightgbm as lgb
import numpy as np
from sklearn.model_selection import train_test_split

from training.models import calibration, linear
from training.models.hyperparameters import Hyperparameters, build_hyperparameters
from training.models.linear import LinearModel
from training.models.matrix import Callbacks, Matrix
from training.models.model import HorizonModel, blend, compute_quantiles

_FEW_ROWS = 100_000
_CALIBRATION_SHARE = 0.25


class Trainer:
    """Fits the models of one target on one matrix.

    Args:
        matrix: Of all rows; or they as a whole, (n, features).
        labels: (n,) of 1, 0 and NaN.
        categorical: Columns that are codes of text.
        hyperparameters: Of the boosters.
    """

    def __init__(
        self,
        matrix: Matrix | np.ndarray,
        labels: np.ndarray,
        *,
        categorical: Sequence[int],
        hyperparameters: Hyperparameters,
    ) -> None:
        self.matrix = Matrix.from_array(matrix) if isinstance(matrix, np.ndarray) else matrix
        self._answers, self._coded = labels, list(categorical)
        # Few rows are learned faster by one thread than by several that wait for each other at every leaf.
        self._parameters = {**hyperparameters.parameters, "num_threads": 1 if len(matrix) < _FEW_ROWS else 0}
        self._trees = hyperparameters.trees

    def train_horizon(self, horizon: int, *, early: np.ndarray, late: np.ndarray, train: np.ndarray) -> HorizonModel:
        """Train the deployed model of one horizon on all of `train`, calibrated on later rows than `early`.

        Args:
            horizon: Days.
            early: Indices of rows with a label; both classes, as in the others.
            late: Indices of rows on which a model of `early` alone is calibrated.
            train: Indices of all rows to learn from, those of both.
        """
        # Judged on later months than it learned from: how far which part's log-odds can be believed.
        parts = self._predict_parts(early, late)
        linear_weight = calibration.choose_linear_weight(*parts, self._answers[late])
        log_odds = blend(*parts, linear_weight)
        calibrator_of_early = calibration.fit_calibrator(log_odds, self._answers[late])
        # What is deployed has learned from those months too.
        model = HorizonModel(
            horizon=horizon,
            text=self.train_booster(train).model_to_string(),
            calibrator=calibrator_of_early,
            base_rate=float(self._answers[train].mean()),
            quantiles=(),
            linear=self._fit_linear(train) if linear_weight else None,
            linear_weight=linear_weight,
        )
        calibrator = calibration.recentre(
            calibrator_of_early, self.matrix.apply(model.log_odds, train), model.base_rate
        )
        return replace(model, calibrator=calibrator, quantiles=compute_quantiles(calibrator(log_odds)))

    def train_booster(self, row_indices: np.ndarray, callbacks: Callbacks = None) -> lgb.Booster:
        """Train a booster on the rows at these indices."""
        return self.matrix.train_booster(
            self._answers,
            row_indices,
            categorical=self._coded,
            parameters=self._parameters,
            trees=self._trees,
            callbacks=callbacks,
        )

    def predict_raw(self, booster: lgb.Booster, row_indices: np.ndarray) -> np.ndarray:
        """Return a booster's log-odds of the rows at these indices, (k,)."""
        return self.matrix.apply(partial(booster.predict, raw_score=True), row_indices)

    def _predict_parts(self, early: np.ndarray, late: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return log-odds of the late rows by trees and by the additive part, both trained on the early ones."""
        trees = self.predict_raw(self.train_booster(early), late)
        return trees, self.matrix.apply(self._fit_linear(early).log_odds, late)

    def _fit_linear(self, row_indices: np.ndarray) -> LinearModel:
        directions = self._parameters.get("monotone_constraints", ())
        some = linear.thin_rows(row_indices)
        return linear.fit_linear(self.matrix[some], self._answers[some], left_out=self._coded, directions=directions)


def fit_undated(
    matrix: np.ndarray,
    labels: np.ndarray,
    *,
    categorical: Sequence[int] = (),
    hyperparameters: Hyperparameters | None = None,
    seed: int = 7,
) -> HorizonModel:
    """Fit a model to rows without times, calibrated on a quarter of them drawn at random.

    Args:
        matrix: (n, features).
        labels: (n,) of 0 and 1, some of both.
        categorical: Columns that are codes of text.
        hyperparameters: By default those for any data.
        seed: Of the draw, and of the default hyperparameters.
    """
    row_indices = np.arange(len(labels))
    early, late = train_test_split(row_indices, test_size=_CALIBRATION_SHARE, stratify=labels, random_state=seed)
    trainer = Trainer(
        matrix,
        labels,
        categorical=categorical,
        hyperparameters=hyperparameters or build_hyperparameters(matrix.shape[1], seed=seed),
    )
    return trainer.train_horizon(0, early=early, late=late, train=row_indices)

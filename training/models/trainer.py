"""The trainer: from a matrix and a recipe to the calibrated model of one horizon."""

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
        answers: (n,) labels of 1, 0 and NaN.
        coded: Columns that are codes of text.
        recipe: How.
    """

    def __init__(
        self, matrix: Matrix | np.ndarray, answers: np.ndarray, *, coded: Sequence[int], recipe: Hyperparameters
    ) -> None:
        self.matrix = Matrix.of(matrix) if isinstance(matrix, np.ndarray) else matrix
        self._answers, self._coded = answers, list(coded)
        # Few rows are learned faster by one thread than by several that wait for each other at every leaf.
        self._parameters = {**recipe.parameters, "num_threads": 1 if len(matrix) < _FEW_ROWS else 0}
        self._trees = recipe.trees

    def head(self, horizon: int, *, early: np.ndarray, late: np.ndarray, train: np.ndarray) -> HorizonModel:
        """The deployed model of one horizon, learned from all of `train` and calibrated on later rows than `early`.

        Args:
            horizon: Days.
            early: Places of rows with a label, of both classes, as of the others too.
            late: Places of rows that a model of `early` alone is held against.
            train: Places of all rows to learn from, those of both.
        """
        # Judged on later months than it learned from: how far which part's log-odds can be believed.
        parts = self._parts(early, late)
        share = calibration.choose_linear_weight(*parts, self._answers[late])
        log_odds = blend(*parts, share)
        believed = calibration.fit_calibrator(log_odds, self._answers[late])
        # What is deployed has learned from those months too.
        head = HorizonModel(
            horizon=horizon,
            text=self.booster(train).model_to_string(),
            calibrator=believed,
            base_rate=float(self._answers[train].mean()),
            quantiles=(),
            linear=self._linear(train) if share else None,
            share=share,
        )
        calibrator = calibration.recentre(believed, self.matrix.applied(head.log_odds, train), head.base_rate)
        return replace(head, calibrator=calibrator, quantiles=compute_quantiles(calibrator(log_odds)))

    def booster(self, rows: np.ndarray, callbacks: Callbacks = None) -> lgb.Booster:
        """Trained on the rows at these places."""
        return self.matrix.booster(
            self._answers,
            rows,
            coded=self._coded,
            parameters=self._parameters,
            trees=self._trees,
            callbacks=callbacks,
        )

    def raw(self, booster: lgb.Booster, rows: np.ndarray) -> np.ndarray:
        """A booster's log-odds of the rows at these places, (k,)."""
        return self.matrix.applied(partial(booster.predict, raw_score=True), rows)

    def _parts(self, early: np.ndarray, late: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log-odds of the late rows by trees and by the additive part that learned from the early ones."""
        trees = self.raw(self.booster(early), late)
        return trees, self.matrix.applied(self._linear(early).log_odds, late)

    def _linear(self, rows: np.ndarray) -> LinearModel:
        directions = self._parameters.get("monotone_constraints", ())
        some = linear.thin_rows(rows)
        return linear.fit_linear(self.matrix[some], self._answers[some], left_out=self._coded, directions=directions)


def fit_undated(
    matrix: np.ndarray,
    answers: np.ndarray,
    *,
    coded: Sequence[int] = (),
    recipe: Hyperparameters | None = None,
    seed: int = 7,
) -> HorizonModel:
    """The model of rows without times, calibrated on a quarter of them drawn at random.

    Args:
        matrix: (n, features).
        answers: (n,) of 0 and 1, some of both.
        coded: Columns that are codes of text.
        recipe: How; by default as any other data.
        seed: Of the draw, and of that recipe.
    """
    rows = np.arange(len(answers))
    early, late = train_test_split(rows, test_size=_CALIBRATION_SHARE, stratify=answers, random_state=seed)
    trainer = Trainer(matrix, answers, coded=coded, recipe=recipe or build_hyperparameters(matrix.shape[1], seed=seed))
    return trainer.head(0, early=early, late=late, train=rows)

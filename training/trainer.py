"""The trainer: from a matrix and a recipe to the calibrated model of one horizon."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import lightgbm as lgb
import numpy as np
from sklearn.model_selection import train_test_split

from training import calibrate, linear
from training.bundle import Head, blended, quantiles
from training.linear import Linear
from training.recipe import Recipe, plain

_FEW_ROWS = 100_000
_CALIBRATION_SHARE = 0.25


class Trainer:
    """Fits the models of one target on one matrix.

    Args:
        matrix: (n, features) of all rows.
        answers: (n,) labels of 1, 0 and NaN.
        coded: Columns that are codes of text.
        recipe: How.
    """

    def __init__(self, matrix: np.ndarray, answers: np.ndarray, *, coded: Sequence[int], recipe: Recipe) -> None:
        self._matrix, self._answers, self._coded = matrix, answers, list(coded)
        # Few rows are learned faster by one thread than by several that wait for each other at every leaf.
        self._parameters = {**recipe.parameters, "num_threads": 1 if len(matrix) < _FEW_ROWS else 0}
        self._trees = recipe.trees

    def head(self, horizon: int, *, early: np.ndarray, late: np.ndarray, train: np.ndarray) -> Head:
        """The deployed model of one horizon, learned from all of `train` and calibrated on later rows than `early`.

        Args:
            horizon: Days.
            early: Places of rows with a label, of both classes, as of the others too.
            late: Places of rows that a model of `early` alone is held against.
            train: Places of all rows to learn from, those of both.
        """
        # Judged on later months than it learned from: how far which part's log-odds can be believed.
        trees, additive = self.booster(early), self._linear(early)
        parts = trees.predict(self._matrix[late], raw_score=True), additive.log_odds(self._matrix[late])
        share = calibrate.share(*parts, self._answers[late])
        log_odds = blended(*parts, share)
        believed = calibrate.fit(log_odds, self._answers[late])
        # What is deployed has learned from those months too.
        head = Head(
            horizon=horizon,
            text=self.booster(train).model_to_string(),
            calibrator=believed,
            base_rate=float(self._answers[train].mean()),
            quantiles=(),
            linear=self._linear(train) if share else None,
            share=share,
        )
        calibrator = calibrate.centred(believed, head.log_odds(self._matrix[train]), head.base_rate)
        return replace(head, calibrator=calibrator, quantiles=quantiles(calibrator(log_odds)))

    def booster(self, rows: np.ndarray, callbacks: list[Callable[..., Any]] | None = None) -> lgb.Booster:
        """Trained on the rows at these places."""
        data = lgb.Dataset(
            self._matrix[rows], self._answers[rows], categorical_feature=self._coded, params={"verbosity": -1}
        )
        return lgb.train(self._parameters, data, num_boost_round=self._trees, callbacks=callbacks)

    def _linear(self, rows: np.ndarray) -> Linear:
        directions = self._parameters.get("monotone_constraints", ())
        return linear.fit(self._matrix[rows], self._answers[rows], left_out=self._coded, directions=directions)


def learned(
    matrix: np.ndarray, answers: np.ndarray, *, coded: Sequence[int] = (), recipe: Recipe | None = None, seed: int = 7
) -> Head:
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
    trainer = Trainer(matrix, answers, coded=coded, recipe=recipe or plain(matrix.shape[1], seed=seed))
    return trainer.head(0, early=early, late=late, train=rows)

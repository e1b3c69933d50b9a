"""The trainer: from a matrix and a recipe to the calibrated model of one horizon."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd

from features.errors import LabelError
from training import calibrate, splits
from training.bundle import Bundle, Head, quantiles
from training.recipe import Recipe

_FEW_ROWS = 100_000


class Trainer:
    """Fits the heads of one target on one matrix.

    Args:
        bundle: Its columns.
        matrix: (n, features) of all rows.
        answers: (n,) labels of 1, 0 and NaN.
        as_ofs: (n,) the rows' cutoffs.
        recipe: How.
    """

    def __init__(
        self, bundle: Bundle, matrix: np.ndarray, answers: np.ndarray, as_ofs: pd.Series, *, recipe: Recipe
    ) -> None:
        self._matrix, self._answers, self._as_ofs = matrix, answers, as_ofs
        self._categorical = [i for i, f in enumerate(bundle.features) if f in bundle.categories]
        # Few rows are learned faster by one thread than by several that wait for each other at every leaf.
        self._parameters = {**recipe.parameters, "num_threads": 1 if len(matrix) < _FEW_ROWS else 0}
        self._trees = recipe.trees

    def head(self, what: str, horizon: int, plan: splits.Plan) -> Head:
        """The deployed model of one horizon, learned from all of `train` and calibrated on later rows than `early`.

        Raises:
            LabelError: The labels of a part are of one class only; `what` names them.
        """
        early, late, train = (self._rows(cutoffs, what) for cutoffs in (plan.early, plan.late, plan.train))
        # Judged on later months than it learned from: how far its log-odds can be believed.
        first = self.booster(early)
        log_odds = first.predict(self._matrix[late], raw_score=True)
        believed = calibrate.fit(log_odds, self._answers[late])
        # What is deployed has learned from those months too.
        booster = self.booster(train)
        rate = float(self._answers[train].mean())
        calibrator = calibrate.centred(believed, booster.predict(self._matrix[train], raw_score=True), rate)
        return Head(
            horizon=horizon,
            text=booster.model_to_string(),
            calibrator=calibrator,
            base_rate=rate,
            quantiles=quantiles(calibrator(log_odds)),
        )

    def booster(self, rows: np.ndarray, callbacks: list[Callable[..., Any]] | None = None) -> lgb.Booster:
        """Trained on the rows at these places."""
        return lgb.train(self._parameters, self._data(rows), num_boost_round=self._trees, callbacks=callbacks)

    def _rows(self, cutoffs: tuple[datetime, ...], what: str) -> np.ndarray:
        """Places of the rows with a label at these cutoffs; both classes must be there."""
        rows = np.flatnonzero(self._as_ofs.isin(cutoffs).to_numpy() & ~np.isnan(self._answers))
        positives = int(self._answers[rows].sum())
        if positives in {0, len(rows)}:
            raise LabelError(
                f"the labels of {what} are of one class only between {cutoffs[0]:%Y-%m-%d} and {cutoffs[-1]:%Y-%m-%d}",
                there=f"{positives} positives among {len(rows)} rows",
                do="Look at its label and cohort in the TOML, or give more history",
            )
        return rows

    def _data(self, rows: np.ndarray) -> lgb.Dataset:
        return lgb.Dataset(
            self._matrix[rows], self._answers[rows], categorical_feature=self._categorical, params={"verbosity": -1}
        )

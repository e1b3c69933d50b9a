"""Learns what owners' acts did to accounts, so that a model says what becomes of those that nobody acts on.

Who was treated is a column of training alone. Both parts of a model start from its mean effect, an offset that no score
has; trees learn besides for whom it differs, and the column is cut out of them. So a score is the risk if nobody acts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import lightgbm as lgb
import numpy as np
from scipy.special import expit, logit

from training.models.calibration import find_intercept
from training.models.column_cut import cut_last_column
from training.models.linear import fit_linear
from training.models.matrix import Matrix

_FEWEST = 10  # treated rows of either class; of fewer nothing is learned
_MOST = 5.0  # positives that one counts for, had nobody acted
_BY_COLUMN = {"monotone_constraints": 0, "feature_contri": 1.0}  # what these say of a column that is free


@dataclass(frozen=True)
class TreatmentEffect:
    """Mean effect on rows whose owners were told to act on them.

    Args:
        treated: (n,) of all rows of a matrix.
        log_odds: That it adds to a treated row's.
        untreated_ratio: So many positives would have come of the treated rows for each that came.
    """

    treated: np.ndarray
    log_odds: float
    untreated_ratio: float

    def find_offsets(self, row_indices: np.ndarray) -> np.ndarray:
        """Return the (k,) log-odds that the rows at these indices have for being treated."""
        return self.treated[row_indices] * self.log_odds

    def count_untreated(self, labels: np.ndarray, row_indices: np.ndarray) -> np.ndarray:
        """Return the (k,) positives at these indices as if nobody had acted: those of treated rows count by the ratio.

        Args:
            labels: (n,) of all rows.
            row_indices: (k,), whose labels are 0 or 1.
        """
        return labels[row_indices] * np.where(self.treated[row_indices], self.untreated_ratio, 1.0)

    def measure_acting(self, matrix: Matrix, booster: lgb.Booster, linear_weight: float) -> np.ndarray:
        """Return what acting added to a model's log-odds of all rows, (n,); 0 where they were not treated.

        Args:
            matrix: Of all rows.
            booster: With the column.
            linear_weight: Of the additive part, which has the mean effect alone.
        """
        acting, rows = np.zeros(len(self.treated)), np.flatnonzero(self.treated)
        came, untreated = predict_trees(matrix, booster, rows, self)
        acting[rows] = self.log_odds + (1.0 - linear_weight) * (came - untreated)
        return acting


def fit_treatment_effect(  # noqa: PLR0913  # all but the first three named
    matrix: np.ndarray,
    row_indices: np.ndarray,
    treated: np.ndarray,
    *,
    labels: np.ndarray,
    categorical: Sequence[int],
    offsets: np.ndarray | None,
) -> TreatmentEffect | None:
    """Fit the mean effect beside all features, by the additive part's regression; None where few rows are treated.

    Args:
        matrix: (k, features) of the rows at these indices.
        row_indices: (k,).
        treated: (n,) of all rows.
        labels: (n,) of all rows; of these 0 or 1.
        categorical: Columns that are codes of text.
        offsets: (k,) log-odds to start from.
    """
    known, column = labels[row_indices], treated[row_indices]
    positives = known[column].sum()
    if min(positives, column.sum() - positives) < _FEWEST:
        return None
    whole = np.column_stack([matrix, column.astype(float)])
    fitted = fit_linear(whole, known, categorical=categorical, offsets=offsets)
    cases = np.zeros((2, whole.shape[1]))
    cases[1, -1] = 1.0
    terms = fitted.terms(cases)[:, -1]
    log_odds, rate = float(terms[1] - terms[0]), float(known[column].mean())
    return TreatmentEffect(treated, log_odds, float(expit(logit(rate) - log_odds) / rate))


def add_column(parameters: Mapping[str, Any], effect: TreatmentEffect | None) -> Mapping[str, Any]:
    """Return LightGBM's parameters for a matrix with the column behind its features, where there is an effect."""
    if effect is None:
        return parameters
    return {
        **parameters,
        **{name: [*parameters[name], free] for name, free in _BY_COLUMN.items() if name in parameters},
    }


def cut_column(booster: lgb.Booster, effect: TreatmentEffect | None) -> lgb.Booster:
    """Return the booster of rows that nobody acts on, without the column; the same where there is no effect."""
    return booster if effect is None else cut_last_column(booster)


def predict_trees(
    matrix: Matrix, booster: lgb.Booster, row_indices: np.ndarray, effect: TreatmentEffect | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return a booster's log-odds of what came, and as if nobody had acted, (k,) each.

    Args:
        matrix: Of all rows.
        booster: With the column where there is an effect.
        row_indices: (k,).
        effect: Of being treated.
    """
    untreated = matrix.apply(partial(cut_column(booster, effect).predict, raw_score=True), row_indices)
    treated = np.flatnonzero(effect.treated[row_indices]) if effect else np.empty(0, dtype=int)
    if not len(treated):
        return untreated, untreated
    came = untreated.copy()
    came[treated] = matrix.apply(partial(_predict_treated, booster), row_indices[treated])
    return came, untreated


def count_untreated(
    labels: np.ndarray, row_indices: np.ndarray, log_odds: np.ndarray, acting: np.ndarray
) -> np.ndarray:
    """Return how many positives each label counts for, had nobody acted: by the ratio of both probabilities.

    Args:
        labels: (n,).
        row_indices: (k,) the rows learned from.
        log_odds: (k,) of these, as if nobody had acted.
        acting: (n,) what acting added.
    """
    came = log_odds + acting[row_indices]
    intercept = find_intercept(came, float(labels[row_indices].mean()))
    positives = labels.astype(float)
    positives[row_indices] *= np.minimum(_MOST, expit(log_odds + intercept) / expit(came + intercept))
    return positives


def _predict_treated(booster: lgb.Booster, matrix: np.ndarray) -> np.ndarray:
    return np.asarray(booster.predict(np.column_stack([matrix, np.ones(len(matrix))]), raw_score=True))

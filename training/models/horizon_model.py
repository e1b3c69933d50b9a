"""The model of one horizon: a booster as text, all else as plain numbers."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from training.decisions.value import Uplift
from training.models import score_interval
from training.models.calibration import Calibrator
from training.models.level import Level
from training.models.linear import LinearModel
from training.models.offsets import TermCells
from training.models.score_interval import ScoreSpread
from training.models.single_row import SingleRow
from training.models.tree_shap import TreeExplainer

if TYPE_CHECKING:
    import lightgbm as lgb

_log = logging.getLogger(__name__)
_QUANTILES = 1001


@dataclass(frozen=True)
class HorizonModel:
    """Model of one horizon.

    Args:
        horizon: Days.
        text: LightGBM's own text of the booster.
        calibrator: Log-odds to probability.
        base_rate: Share of positives in training.
        quantiles: Scores of the calibration period at 1,001 even shares, ascending.
        linear: The additive part; None in a model of an older version.
        linear_weight: How much of the log-odds is the additive part's, 0 to 1; the rest is the booster's.
        uplift: What an upsell brought in training; None for churn, and where there was none.
        term_cells: The log-odds that both parts start from; None without terms, and in a model of an older version.
        level: The intercept by `as_of`; None where the base rate does not move, and in a model of an older version.
        spread: How far the shares of like accounts lie from their scores; None in a model of an older version.
    """

    horizon: int
    text: str
    calibrator: Calibrator
    base_rate: float
    quantiles: tuple[float, ...]
    linear: LinearModel | None = None
    linear_weight: float = 0.0
    uplift: Uplift | None = None
    term_cells: TermCells | None = None
    level: Level | None = None
    spread: ScoreSpread | None = None

    @cached_property
    def booster(self) -> lgb.Booster:
        """Return the booster, read from its text, so that a model just trained and one loaded give the same scores."""
        import lightgbm as lgb  # seconds to import, and most commands read models without scoring by them

        return lgb.Booster(model_str=self.text)

    def probabilities(self, matrix: np.ndarray, days: np.ndarray | None = None) -> np.ndarray:
        """Return the (n,) calibrated probabilities.

        Args:
            matrix: (n, features).
            days: (n,) `as_of` in days since 1970, NaN where unknown; None: all unknown.
        """
        if self.level is None or days is None:
            return self.calibrator(self.log_odds(matrix))
        return expit(self.calibrator.slope * self.log_odds(matrix) + self.level.find_intercepts(days))

    def find_ends(self, scores: np.ndarray, days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the scores' 90 % intervals, (n,) each; NaN by a model of an older version.

        Args:
            scores: (n,) this horizon's probabilities.
            days: (n,) `as_of` in days since 1970.
        """
        return score_interval.find_ends(scores, self.estimate_deviations(scores, days))

    def estimate_deviations(self, scores: np.ndarray, days: np.ndarray) -> np.ndarray:
        """Return how far the log-odds of groups of like accounts lie from their scores', (n,); as `find_ends`."""
        if self.spread is None:
            return np.full(len(scores), np.nan)
        log_odds = score_interval.compute_log_odds(scores)
        if self.level is None:
            return self.spread.estimate_deviation(log_odds - self.calibrator.intercept, is_unsure=False)
        intercepts = self.level.find_intercepts(days)
        return self.spread.estimate_deviation(log_odds - intercepts, is_unsure=self.level.find_unsure(days))

    def log_odds(self, matrix: np.ndarray) -> np.ndarray:
        """Return the (n,) log-odds before calibration."""
        trees = self._predict_trees(matrix)
        log_odds = blend(trees, self.linear.log_odds(matrix), self.linear_weight) if self.linear else trees
        return log_odds + self.term_cells.log_odds(matrix) if self.term_cells else log_odds

    def _predict_trees(self, matrix: np.ndarray) -> np.ndarray:
        if len(matrix) == 1 and self._single_row is not None:
            return np.array([self._single_row.predict(matrix)])
        return self.booster.predict(matrix, raw_score=True, num_threads=_count_threads(matrix))

    @cached_property
    def _single_row(self) -> SingleRow | None:
        return SingleRow.prepare(self.booster)

    @cached_property
    def _explainer(self) -> TreeExplainer | None:
        try:
            return TreeExplainer(self.text)
        except ValueError as error:
            _log.info("LightGBM explains the scores, which takes longer: %s", error)
            return None

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        """Return each feature's part of the log-odds, (n, features).

        Source: TreeSHAP, Lundberg et al., "Consistent individualized feature attribution for tree ensembles"; the
        additive part's terms are its own, and what a term's end means belongs to the days to renewal.
        """
        if self._explainer is not None:
            trees = self._explainer.explain(matrix)
        else:
            trees = self.booster.predict(matrix, pred_contrib=True, num_threads=_count_threads(matrix))[:, :-1]
        parts = blend(trees, self.linear.terms(matrix), self.linear_weight) if self.linear else trees
        if self.term_cells:
            parts[:, self.term_cells.renewal] += self.term_cells.log_odds(matrix)
        return parts


def describe_horizon_model(model: HorizonModel) -> dict[str, Any]:
    """Return the JSON fields of a horizon's model; stored models call its `linear_weight` `share`."""
    fields = {"share" if name == "linear_weight" else name: value for name, value in asdict(model).items()}
    del fields["text"]
    return fields | {"digest": _compute_digest(model.text)}


def load_horizon_model(folder: Path, fields: dict[str, Any]) -> HorizonModel:
    """Load a horizon's model from its folder and JSON fields.

    Raises:
        ValueError: The booster's text is not the one that was saved.
    """
    file = folder / f"booster_{fields['horizon']}d.txt"
    text = file.read_text(encoding="utf-8")
    # LightGBM ends the process, with no error to catch, on a text that was cut short.
    if _compute_digest(text) != fields.pop("digest"):
        message = f"{file.name} is not the text that was saved"
        raise ValueError(message)
    linear, uplift, cells, level, spread = (
        fields.get(name) for name in ("linear", "uplift", "term_cells", "level", "spread")
    )
    # A model of an older version has none of these five.
    fields |= {
        "calibrator": Calibrator(**fields["calibrator"]),
        "quantiles": tuple(fields["quantiles"]),
        "linear": LinearModel.from_json(linear) if linear else None,
        "linear_weight": fields.pop("share", 0.0),
        "uplift": Uplift(**uplift) if uplift else None,
        "term_cells": TermCells.from_json(cells) if cells else None,
        "level": Level.from_json(level) if level else None,
        "spread": ScoreSpread(**spread) if spread else None,
    }
    return HorizonModel(text=text, **fields)


def blend(trees: np.ndarray, linear: np.ndarray, linear_weight: float) -> np.ndarray:
    """Blend the log-odds of two models, or their parts; `linear_weight` is the weight of the second."""
    return (1.0 - linear_weight) * trees + linear_weight * linear


def compute_quantiles(scores: np.ndarray) -> tuple[float, ...]:
    """Return the scores at 1,001 even shares, for `Model.threshold`."""
    return tuple(np.quantile(scores, np.linspace(0, 1, _QUANTILES)).tolist())


def _count_threads(matrix: np.ndarray) -> int:
    """Return 1 for a few rows, which take less time than waking other threads; 0, all cores, for many."""
    return 1 if len(matrix) < 20_000 else 0


def _compute_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

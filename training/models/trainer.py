"""Trains the calibrated model of one horizon from a matrix and hyperparameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import lightgbm as lgb
import numpy as np
from sklearn.model_selection import train_test_split

from training.models import calibration, linear
from training.models.base_rates import BaseRates
from training.models.calibration import Calibrator, Fold
from training.models.horizon_model import HorizonModel, compute_quantiles
from training.models.hyperparameters import Hyperparameters, enrich_hyperparameters
from training.models.level import fit_level
from training.models.linear import LinearModel
from training.models.matrix import Callbacks, Matrix
from training.models.offsets import TermCells, compute_cutoff_offsets, fit_term_cells
from training.models.score_interval import fit_spread
from training.models.treatment_effect import (
    TreatmentEffect,
    add_column,
    count_untreated,
    cut_column,
    fit_treatment_effect,
    predict_trees,
)

_FEW_ROWS = 100_000
_PACE_OF_FEW = {"num_threads": 1, "force_row_wise": False, "force_col_wise": True}
_CALIBRATION_SHARE = 0.25
_CLEARLY = 0.02  # of the log-loss, by which richer hyperparameters must be better


@dataclass(frozen=True)
class Cutoffs:
    """When the rows of a matrix look from.

    Args:
        days: (n,) in days since 1970.
        since: The first from which base rates are believed: before it the company's data had just begun.
        span: Days from a cutoff until its labels are mature.
    """

    days: np.ndarray
    since: float
    span: float


@dataclass(frozen=True)
class HorizonRows:
    """Indices of the rows that one horizon is learned from.

    Args:
        folds: (learned from, evaluated on), all with a label and both classes, the latest first; at least one.
        train: All rows with a label, those of the folds among them.
        recent: The latest cohort before the test, with or without labels.
    """

    folds: tuple[tuple[np.ndarray, np.ndarray], ...]
    train: np.ndarray
    recent: np.ndarray


class Trainer:
    """Fits the models of one target on one matrix.

    Args:
        matrix: Of all rows; or they as a whole, (n, features).
        labels: (n,) of 1, 0 and NaN.
        categorical: Columns that are codes of text.
        hyperparameters: Of the boosters.
        cutoffs: Of the rows; None for rows without times.
        terms: The columns `offsets.TERM_COLUMNS`; None where nothing is sold by terms.
        treated: (n,) whether owners were told to act; None where that is no column. No score has it: scores are of
            accounts that nobody acts on. Such rows need times.
    """

    def __init__(  # noqa: PLR0913  # all but the first two named
        self,
        matrix: Matrix | np.ndarray,
        labels: np.ndarray,
        *,
        categorical: Sequence[int],
        hyperparameters: Hyperparameters,
        cutoffs: Cutoffs | None = None,
        terms: tuple[int, ...] | None = None,
        treated: np.ndarray | None = None,
    ) -> None:
        self.matrix = Matrix.from_array(matrix) if isinstance(matrix, np.ndarray) else matrix
        self._answers, self._coded = labels, list(categorical)
        self._cutoffs, self._terms, self._treated = cutoffs, terms, treated
        # Few rows are learned faster by one thread than by several that wait for each other at every leaf.
        # So are columns one by one: a tree looks at a few of them, and by rows all are read. Both give the same trees.
        self._pace = _PACE_OF_FEW if len(matrix) < _FEW_ROWS else {"num_threads": 0}
        self._hyperparameters = hyperparameters

    def train_horizon(self, horizon: int, rows: HorizonRows, *, reach: int) -> HorizonModel:
        """Train the deployed model of one horizon on all of `rows.train`, calibrated on later rows than others.

        Args:
            horizon: Days.
            rows: To learn from.
            reach: Days from `as_of` to the horizon's end.
        """
        # Judged on later months than it learned from: how far which part's log-odds can be believed.
        hyperparameters, folds, untreated = self._predict_folds(rows, reach)
        weight = calibration.choose_linear_weight(folds)
        log_odds, labels, groups = (
            np.concatenate(parts) for parts in zip(*((f.blend(weight), f.labels, f.groups) for f in folds), strict=True)
        )
        late = rows.folds[0][1]
        calibrator = Calibrator(calibration.fit_slope(log_odds, labels, groups), 0.0)
        calibrator_of_early = calibration.recentre(calibrator, log_odds[: len(late)], float(self._answers[late].mean()))
        # What is deployed has learned from those months too.
        cells, effect = self._fit_cells(rows.train, reach), self._fit_effect(rows.train)
        booster = self.train_booster(rows.train, cells=cells, effect=effect, hyperparameters=hyperparameters)
        model = HorizonModel(
            horizon=horizon,
            text=cut_column(booster, effect).model_to_string(),
            calibrator=calibrator,
            base_rate=float(self._answers[rows.train].mean()),
            quantiles=compute_quantiles(calibrator_of_early(untreated.blend(weight))),
            linear=self._fit_linear(rows.train, cells, effect) if weight else None,
            linear_weight=weight,
            term_cells=cells,
        )
        acting = effect.measure_acting(self.matrix, booster, weight) if effect else None
        positives = self._answers
        if acting is not None:
            log_odds = calibrator.slope * self.matrix.apply(model.log_odds, rows.train)
            positives = count_untreated(self._answers, rows.train, log_odds, calibrator.slope * acting)
            model = replace(model, base_rate=float(positives[rows.train].mean()))
        rates = self._count_base_rates(rows.train, positives)
        model = replace(model, spread=fit_spread(folds, weight, calibrator.slope, rates))
        return self._set_level(model, rows, rates, acting)

    def train_booster(
        self,
        row_indices: np.ndarray,
        callbacks: Callbacks = None,
        *,
        cells: TermCells | None = None,
        effect: TreatmentEffect | None = None,
        hyperparameters: Hyperparameters | None = None,
    ) -> lgb.Booster:
        """Train a booster on the rows at these indices, from the offsets of their cutoffs, terms and treatment on.

        Args:
            row_indices: (k,).
            callbacks: Called after each tree.
            cells: Of the terms.
            effect: Of being treated; it makes who was treated the last feature of the booster.
            hyperparameters: By default the trainer's.
        """
        chosen = hyperparameters or self._hyperparameters
        return self.matrix.train_booster(
            self._answers,
            row_indices,
            categorical=self._coded,
            parameters={**add_column(chosen.parameters, effect), **self._pace},
            trees=chosen.trees,
            offsets=self._compute_offsets(row_indices, cells, effect),
            column=effect.treated[row_indices].astype(float) if effect else None,
            callbacks=callbacks,
        )

    def predict_raw(self, booster: lgb.Booster, row_indices: np.ndarray) -> np.ndarray:
        """Return a booster's log-odds of the rows at these indices, (k,)."""
        return self.matrix.apply(partial(booster.predict, raw_score=True), row_indices)

    def _predict_folds(self, rows: HorizonRows, reach: int) -> tuple[Hyperparameters, list[Fold], Fold]:
        """Return the richer hyperparameters if they are clearly better on the latest fold; and all folds with them.

        The log-odds of the folds are of what came. The last is the latest fold as if nobody had acted.
        """
        early, late = rows.folds[0]
        cells, effect = self._fit_cells(early, reach), self._fit_effect(early)
        booster = self.train_booster(early, cells=cells, effect=effect)
        chosen, (latest, untreated) = self._hyperparameters, self._predict_fold(booster, early, late, cells, effect)
        # Whoever tunes has looked at larger boosters already.
        if len(early) < _FEW_ROWS and not chosen.tuned:
            richer = enrich_hyperparameters(chosen, cut_column(booster, effect).feature_importance("gain"))
            trees = self.train_booster(early, cells=cells, effect=effect, hyperparameters=richer)
            plain_trees, rich_trees = (predict_trees(self.matrix, b, late, effect) for b in (booster, trees))
            rich = replace(latest, trees=latest.trees + rich_trees[0] - plain_trees[0])
            if _compute_loss(rich) <= (1 - _CLEARLY) * _compute_loss(latest):
                chosen, latest = richer, rich
                untreated = replace(untreated, trees=untreated.trees + rich_trees[1] - plain_trees[1])
        folds = [latest]
        for earlier, later in rows.folds[1:]:
            cells, effect = self._fit_cells(earlier, reach), self._fit_effect(earlier)
            booster = self.train_booster(earlier, cells=cells, effect=effect, hyperparameters=chosen)
            folds.append(self._predict_fold(booster, earlier, later, cells, effect)[0])
        return chosen, folds, untreated

    def _predict_fold(
        self,
        booster: lgb.Booster,
        early: np.ndarray,
        late: np.ndarray,
        cells: TermCells | None,
        effect: TreatmentEffect | None,
    ) -> tuple[Fold, Fold]:
        """Return log-odds of the late rows by trees and by the additive part, both trained on the early ones.

        Twice: of what came, and as if nobody had acted.
        """
        came, untreated = predict_trees(self.matrix, booster, late, effect)
        additive = self.matrix.apply(self._fit_linear(early, cells, effect).log_odds, late)
        start = self.matrix.apply(cells.log_odds, late) if cells else 0.0
        groups = np.full(len(late), late[0]) if self._cutoffs is None else self._cutoffs.days[late]
        alone = Fold(untreated + start, additive + start, self._answers[late], groups)
        if effect is None:
            return alone, alone
        start = start + effect.find_offsets(late)
        return Fold(came + start, additive + start, self._answers[late], groups), alone

    def _fit_linear(
        self, row_indices: np.ndarray, cells: TermCells | None, effect: TreatmentEffect | None
    ) -> LinearModel:
        some = linear.thin_rows(row_indices)
        return linear.fit_linear(
            self.matrix[some],
            self._answers[some],
            categorical=self._coded,
            directions=self._hyperparameters.parameters.get("monotone_constraints", ()),
            offsets=self._compute_offsets(some, cells, effect),
        )

    def _fit_effect(self, row_indices: np.ndarray) -> TreatmentEffect | None:
        if self._treated is None:
            return None
        some = linear.thin_rows(row_indices)
        return fit_treatment_effect(
            self.matrix[some],
            some,
            self._treated,
            labels=self._answers,
            categorical=self._coded,
            offsets=self._compute_offsets(some, None, None),
        )

    def _fit_cells(self, row_indices: np.ndarray, reach: int) -> TermCells | None:
        if self._terms is None:
            return None
        renewal, length = self._terms
        known = self.matrix.apply(lambda rows: rows[:, [renewal, length]], row_indices)
        return fit_term_cells(known, self._answers[row_indices], renewal=renewal, length=length, days=reach)

    def _compute_offsets(
        self, row_indices: np.ndarray, cells: TermCells | None, effect: TreatmentEffect | None
    ) -> np.ndarray | None:
        """Return the (k,) log-odds to start from; None where that is the base rate of all."""
        if self._cutoffs is None:
            return None
        positives = effect.count_untreated(self._answers, row_indices) if effect else self._answers[row_indices]
        offsets = compute_cutoff_offsets(positives, self._cutoffs.days[row_indices])
        offsets = offsets + effect.find_offsets(row_indices) if effect else offsets
        return offsets + self.matrix.apply(cells.log_odds, row_indices) if cells else offsets

    def _set_level(
        self, model: HorizonModel, rows: HorizonRows, rates: BaseRates | None, acting: np.ndarray | None
    ) -> HorizonModel:
        """Return the model with the intercepts at which its mean probabilities are the base rates to come.

        Args:
            model: Without them.
            rows: To learn from.
            rates: Of the cutoffs from which they are believed.
            acting: (n,) what acting added to the log-odds of all rows.
        """
        slope = model.calibrator.slope
        if self._cutoffs is None:
            log_odds = self.matrix.apply(model.log_odds, rows.train)
            calibrator = calibration.recentre(model.calibrator, log_odds, model.base_rate)
            return _centre(replace(model, calibrator=calibrator), log_odds)
        if rates and rates.is_moving:
            log_odds = self.matrix.apply(model.log_odds, rows.recent)
            level = fit_level(rates, slope * log_odds)
            return _centre(replace(model, calibrator=Calibrator(slope, level.otherwise), level=level), log_odds)
        late = rows.folds[0][1]
        log_odds = self.matrix.apply(model.log_odds, late)
        came = log_odds if acting is None else log_odds + acting[late]
        calibrator = calibration.recentre(model.calibrator, came, float(self._answers[late].mean()))
        return _centre(replace(model, calibrator=calibrator), log_odds)

    def _count_base_rates(self, row_indices: np.ndarray, positives: np.ndarray) -> BaseRates | None:
        """Return the base rates of the cutoffs from which they are believed; None where there is no such cutoff."""
        if self._cutoffs is None:
            return None
        believed = row_indices[self._cutoffs.days[row_indices] >= self._cutoffs.since]
        if not len(believed):
            return None
        return BaseRates.from_labels(positives[believed], self._cutoffs.days[believed], span=self._cutoffs.span)


def _centre(model: HorizonModel, log_odds: np.ndarray) -> HorizonModel:
    """Return the model with the centre of its intervals at the log-odds, (n,), of accounts like those to be scored."""
    if model.spread is None:
        return model
    return replace(model, spread=replace(model.spread, centre=float(model.calibrator.slope * log_odds.mean())))


def _compute_loss(fold: Fold) -> float:
    """Return the log-loss of a fold's blended log-odds, calibrated on itself."""
    return -calibration.compute_likelihood(fold.blend(calibration.choose_linear_weight([fold])), fold.labels)


def fit_undated(
    matrix: Matrix | np.ndarray,
    labels: np.ndarray,
    *,
    hyperparameters: Hyperparameters,
    categorical: Sequence[int] = (),
    seed: int = 7,
) -> HorizonModel:
    """Fit a model to rows without times, calibrated on a quarter of them drawn at random.

    Args:
        matrix: (n, features).
        labels: (n,) of 0 and 1, some of both.
        hyperparameters: Of the boosters.
        categorical: Columns that are codes of text.
        seed: Of the draw.
    """
    row_indices = np.arange(len(labels))
    early, late = train_test_split(row_indices, test_size=_CALIBRATION_SHARE, stratify=labels, random_state=seed)
    trainer = Trainer(matrix, labels, categorical=categorical, hyperparameters=hyperparameters)
    return trainer.train_horizon(0, HorizonRows(((early, late),), row_indices, row_indices), reach=0)

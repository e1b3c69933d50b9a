"""Compares an estimator of one's own with our model: same cohort, days, figures and baselines, paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from features.core.errors import FrameError
from features.core.progress import Progress, ignore
from features.settings import Settings
from features.sources.history import History
from training.estimators.labelled_rows import LabelledRows, load_labelled_rows
from training.evaluation.compare import ModelComparison, compare_scores
from training.evaluation.holdout import HoldoutResult, evaluate_scores
from training.fitting.fit import FittedTarget, fit_target
from training.models.model import Model

_FIGURES = {
    "auc": "AUC",
    "auc_within": "AUC within a day",
    "ap": "average precision",
    "brier": "Brier score (less is better)",
    "profit": "expected profit, per account",
}


@dataclass(frozen=True)
class EstimatorComparison:
    """An estimator of one's own beside our model.

    Args:
        target: churn or upsell.
        horizon: In days.
        own: The estimator's result on the test, beside the baselines.
        ours: Our model's on the same rows.
        differences: Of each figure, ours as `a` and the estimator as `b`, with intervals on the same draws of accounts.
        estimator: As it was fitted on the training rows.
    """

    target: str
    horizon: int
    own: HoldoutResult
    ours: HoldoutResult
    differences: ModelComparison
    estimator: Any

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each figure: ours, own, difference, low and high end of its 95 % interval, who is better."""
        better = {"a": "ours", "b": "own", "": "neither"}
        rows = {
            _FIGURES[d.figure]: (d.a, d.b, d.difference, d.low, d.high, better[d.better])
            for d in self.differences.differences
        }
        columns = ["ours", "own", "difference", "low", "high", "better"]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns)

    def __repr__(self) -> str:
        auc = self.differences.differences[0]
        return (
            f"EstimatorComparison({self.target}, {self.horizon} days, {self.differences.rows:,} test rows: "
            f"AUC {auc.b:.3f}, ours {auc.a:.3f}, difference {auc.difference:+.3f} ({auc.low:+.3f} to {auc.high:+.3f}); "
            f"verdict {self.own.evaluation.verdict}, ours {self.ours.evaluation.verdict})"
        )

    def _repr_html_(self) -> str:
        rivals = ", ".join(f"{name} {b.auc:.3f}" for name, b in self.own.evaluation.baselines.items())
        table = self.to_frame().round(4).to_html(border=0)
        heading = f"{self.target}, {self.horizon} days, {self.differences.rows:,} test rows"
        return f"<p><b>{heading}</b>. AUC of the baselines: {rivals}.</p>{table}"


def compare_estimator(  # noqa: PLR0913  # all but the first three named
    estimator: Any,
    history: History,
    settings: Settings,
    *,
    target: str = "churn",
    horizon: int | None = None,
    as_of: datetime | date | str | None = None,
    fitted: FittedTarget | None = None,
    columns: Sequence[str] | None = None,
    progress: Progress = ignore,
) -> EstimatorComparison:
    """Fit a clone of an estimator on the rows that our model learns from, and evaluate both on the same test.

    Args:
        estimator: With scikit-learn's `fit` and `predict_proba`, such as a pipeline. It gets a frame: numbers with
            holes, and text columns as text.
        history: Of the company.
        settings: Of the company.
        target: churn or upsell.
        horizon: In days; by default the longest.
        as_of: As if it were then. Default: all the data.
        fitted: Our model of the target, as `fit` gave it for the same data; by default it is trained here.
        columns: That the estimator gets, such as features of the catalog, `account_id` and `as_of`. By default the
            features that our model reads.
        progress: Called as each step begins.

    Raises:
        FrameError: The estimator has no `predict_proba`, its scores are no numbers, or `fitted` is of other data.
        LabelError: Too short a history, or labels of one class only.
    """
    rows = load_labelled_rows(history, settings, target=target, horizon=horizon, as_of=as_of)
    model, ours = _find_ours(history, settings, rows, fitted, progress)
    progress("fitting the estimator of your own")
    trained, scores = _score_estimator(estimator, rows, list(columns or model.features))
    seed = settings.training.seed
    rivals = ours.baselines.drop(columns="champion", errors="ignore")
    test = ours.test.assign(score=scores)
    own = evaluate_scores(target, rows.plan, test, rivals, ours.attributes, seed=seed, stakes=settings.stakes)
    differences = compare_scores(
        target,
        test,
        ours.test["score"].to_numpy(),
        scores,
        attributes=ours.attributes,
        seed=seed,
        stakes=settings.stakes,
    )
    return EstimatorComparison(target, rows.horizon, own, ours, differences, trained)


def _find_ours(
    history: History, settings: Settings, rows: LabelledRows, fitted: FittedTarget | None, progress: Progress
) -> tuple[Model, HoldoutResult]:
    """Return our model and its result on the test; it is trained where none is given."""
    if fitted is None:
        trained = fit_target(history, settings, rows.target, rows.data, {rows.horizon: rows.plan}, progress=progress)
        return trained.model, trained.results[rows.horizon]
    ours = fitted.results.get(rows.horizon)
    keys = ["account_id", "as_of"]
    is_same = ours is not None and ours.plan == rows.plan and len(ours.test) == len(rows.test)
    if ours is None or not is_same or not (ours.test[keys].to_numpy() == rows.test[keys].to_numpy()).all():
        raise FrameError(
            f"the given model was not tested on the same rows of {rows.target}, {rows.horizon} days",
            hint="Fit it with the same history, settings and as_of, or leave `fitted` out",
        )
    return fitted.model, ours


def _score_estimator(estimator: Any, rows: LabelledRows, columns: list[str]) -> tuple[Any, np.ndarray]:
    """Return a fitted clone, and its (n,) chances of the test rows."""
    unknown = [c for c in columns if c not in rows.train]
    if unknown:
        raise FrameError(f"the snapshots have no column {', '.join(unknown)}", hint="See rows.train.columns")
    trained = clone(estimator).fit(rows.train[columns], rows.train["label"].astype(int))
    if not hasattr(trained, "predict_proba"):
        raise FrameError(
            f"{type(estimator).__name__} has no predict_proba",
            hint="Wrap it, such as in sklearn.calibration.CalibratedClassifierCV",
        )
    chances = np.asarray(trained.predict_proba(rows.test[columns]), dtype="float64")
    if chances.shape != (len(rows.test), 2) or not np.isfinite(chances).all():
        raise FrameError(
            f"predict_proba of {type(estimator).__name__} gave no chances",
            found=f"shape {chances.shape}, {int((~np.isfinite(chances)).sum())} not finite",
            hint="It must give (rows, 2) numbers from 0 to 1",
        )
    return trained, chances[:, 1]

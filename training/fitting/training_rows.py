"""Finds the rows that one horizon is learned from: those with labels in each part of the plan; the latest cohort."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from features.core.errors import LabelError
from features.core.timestamps import DAY, to_micros
from features.settings import Churn, Settings, Upsell
from features.sources.history import History
from training.fitting.treatment import Treatments, repeat_rows, to_span
from training.models.dataset import Dataset
from training.models.trainer import HorizonRows
from training.targets.labels import compute_labels, find_order
from training.targets.time_splits import TimePlan

_FEWEST = 30  # rows of either class, of a second fold
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class TrainingLabels:
    """The labels that one horizon is learned from and tested on.

    Args:
        known: (n,) of 1, 0 and NaN; NaN too where a treated row is left out, see `treatment`.
        weights: (n,) of the rows that are left; None where all count the same, and none is left out.
        treated: Number of treated rows with a label.
        column: (n,) whether a row is treated, where the model learns from that; None where it does not.
    """

    known: np.ndarray
    weights: np.ndarray | None = None
    treated: int = 0
    column: np.ndarray | None = None

    def find_test_labels(self, is_test: np.ndarray) -> np.ndarray:
        """Return the labels, (n,), NaN for treated rows of the test if enough rows of either class are left there.

        Scores are of accounts that nobody acts on, so what came of a treated account says little about its score.

        Args:
            is_test: (n,) whether a row is of the test.
        """
        if self.column is None:
            return self.known
        left = np.where(self.column & is_test, np.nan, self.known)
        tested = left[is_test]
        enough = min((tested == 1).sum(), (tested == 0).sum()) >= _FEWEST
        return left if enough else self.known

    def weigh(self, rows: HorizonRows, *, seed: int) -> HorizonRows:
        """Return the rows to learn from, each as often as its weight says."""
        if self.weights is None:
            return rows
        folds = tuple(
            (repeat_rows(early, self.weights, seed=seed), repeat_rows(late, self.weights, seed=seed))
            for early, late in rows.folds
        )
        return HorizonRows(folds, repeat_rows(rows.train, self.weights, seed=seed), rows.recent)

    def describe(self) -> str:
        """Say in a sentence how many rows were treated, and what became of them."""
        told = "alerts told owners to act before the label was known"
        if self.column is not None:
            return (
                f"{self.treated:,} rows are treated: {told}; that is a column of the training alone, so scores say "
                f"what comes if nobody acts, and the test leaves these rows out if enough others are there"
            )
        if self.weights is None:
            return f"{self.treated:,} rows are treated: {told}; they are learned from as they came out"
        return (
            f"{self.treated:,} rows are left out: {told}, so what the account would have done by itself nobody knows; "
            f"rows like them that nobody was told of count for them"
        )


def compute_training_labels(  # noqa: PLR0913  # all but the first three named
    history: History,
    settings: Settings,
    name: str,
    *,
    horizon: int,
    data: Dataset,
    plan: TimePlan,
    treatments: Treatments | None,
) -> TrainingLabels:
    """Return the labels of one horizon and which rows were treated; these left out or marked as the settings say.

    Args:
        history: Of the company.
        settings: Of the company.
        name: Of the target.
        horizon: In days.
        data: Of the target.
        plan: Of the horizon: weights know no more than what was known at the end of its training.
        treatments: What owners were told; None where nothing was.
    """
    target, frame = settings.targets[name], data.frame
    labels = compute_labels(history, target, horizon, frame, data_until=data.data_until).to_numpy()
    if treatments is None:
        return TrainingLabels(labels)
    starts, ends = to_span(frame["as_of"], target.lead_days, horizon)
    is_treated = treatments.find_treated(frame["account_id"], starts, ends) & ~np.isnan(labels)
    number, choice = int(is_treated.sum()), settings.training.treated
    if not number or choice != "leave_out":
        return TrainingLabels(labels, treated=number, column=is_treated if number and choice == "column" else None)
    if find_order(target) > 0:
        # Who left early could not be told of later: the third of the horizon in which it came true ends its time.
        for days in (2 * horizon // 3, horizon // 3):
            earlier = compute_labels(history, target, days, frame, data_until=data.data_until).to_numpy()
            ends = np.where(earlier == 1, starts + (target.lead_days + days) * DAY, ends)
    known_by = to_micros(plan.train[-1] + timedelta(days=plan.days))
    weights = treatments.compute_weights(frame["account_id"], starts, ends, known_by=known_by)
    return TrainingLabels(np.where(is_treated, np.nan, labels), weights, number)


def find_training_rows(  # noqa: PLR0913, PLR0917  # a horizon, and all that its rows follow from
    history: History, target: Churn | Upsell, horizon: int, frame: pd.DataFrame, labels: np.ndarray, plan: TimePlan
) -> HorizonRows:
    """Return the indices of the rows of each part of the training.

    Args:
        history: Of the company.
        target: Of the labels.
        horizon: In days.
        frame: account_id, as_of of n rows.
        labels: (n,) of 1, 0 and NaN.
        plan: Of the horizon.

    Raises:
        LabelError: A part has labels of one class only.
    """
    key = f"{type(target).__name__.lower()}_{horizon}d"
    folds, train = divide_rows(key, frame["as_of"], labels, plan)
    return HorizonRows(folds=folds, train=train, recent=_find_latest_cohort(history, target, horizon, frame, plan))


def divide_rows(
    key: str, as_ofs: pd.Series, labels: np.ndarray, plan: TimePlan
) -> tuple[tuple[tuple[np.ndarray, np.ndarray], ...], np.ndarray]:
    """Return the folds (learned from, evaluated on) of a plan's training, and all rows of it, as indices.

    Args:
        key: What is trained, for errors.
        as_ofs: (n,) of the rows.
        labels: (n,) of 1, 0 and NaN.
        plan: Of the horizon.

    Raises:
        LabelError: A part has labels of one class only.
    """
    (early, late), earlier = plan.folds
    folds = [(_find_labelled_rows(key, as_ofs, labels, early), _find_labelled_rows(key, as_ofs, labels, late))]
    learned, later = (np.flatnonzero(as_ofs.isin(cutoffs) & ~np.isnan(labels)) for cutoffs in earlier)
    if all(min(labels[rows].sum(), len(rows) - labels[rows].sum()) >= _FEWEST for rows in (learned, later)):
        folds.append((learned, later))
    return tuple(folds), _find_labelled_rows(key, as_ofs, labels, plan.train)


def _find_latest_cohort(
    history: History, target: Churn | Upsell, horizon: int, frame: pd.DataFrame, plan: TimePlan
) -> np.ndarray:
    """Return the rows at the cutoffs since the last learned from, up to the first of the test, that are asked.

    No label of theirs is looked at, only whether there is one.
    """
    as_ofs = frame["as_of"]
    since = ((as_ofs > plan.train[-1]) & (as_ofs <= plan.test[0])).to_numpy()
    rows = np.flatnonzero(since if since.any() else as_ofs == plan.train[-1])
    keys = frame.iloc[rows][["account_id", "as_of"]]
    is_asked = compute_labels(history, target, horizon, keys, data_until=_NEVER).notna().to_numpy()
    return rows[is_asked] if is_asked.any() else rows


def _find_labelled_rows(key: str, as_ofs: pd.Series, labels: np.ndarray, cutoffs: tuple[datetime, ...]) -> np.ndarray:
    """Return the indices of the rows with a label at these cutoffs; both classes must be there."""
    rows = np.flatnonzero(as_ofs.isin(cutoffs).to_numpy() & ~np.isnan(labels))
    positives = int(labels[rows].sum())
    if positives in {0, len(rows)}:
        raise LabelError(
            f"the labels of {key} are of one class only between {cutoffs[0]:%Y-%m-%d} and {cutoffs[-1]:%Y-%m-%d}",
            found=f"{positives} positives among {len(rows)} rows",
            hint="Look at its label and cohort in the TOML, or give more history",
        )
    return rows

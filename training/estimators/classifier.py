"""A classifier with scikit-learn's conventions, on the trainer that `python -m training fit` uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from features.core.errors import FrameError
from features.core.progress import Progress, ignore
from features.core.timestamps import DAY, to_micros_column
from training.fitting.training_rows import divide_rows
from training.models.dataset import select_features
from training.models.horizon_model import HorizonModel
from training.models.hyperparameters import Hyperparameters, build_hyperparameters
from training.models.matrix import Matrix
from training.models.model import Model
from training.models.trainer import Cutoffs, HorizonRows, Trainer, fit_undated
from training.targets.time_splits import TimePlan, divide_training

_FOREVER = float("-inf")


class GarrisonClassifier(ClassifierMixin, BaseEstimator):
    """Calibrated classifier of rows of one's own: small boosted trees and an additive part, blended.

    Columns of numbers may have holes; columns of text are categories, of which those of fewer than 30 accounts are
    pooled. With a column `as_of` it learns as `training fit` does: each day starts from its own base rate, and the
    later days calibrate what the earlier ones taught, with `horizon` days between them. Without one it calibrates on
    a quarter of the rows drawn at random.

    Args:
        horizon: Days that the label looks ahead of `as_of`; no label learned from reaches into the days that calibrate.
        as_of: Name of the column with the day that a row looks from: dates, or ISO texts. It is no feature.
        account: Name of the column with the account's id. It is no feature.
        trees: Their number; by default 150, or 300 larger ones where these are clearly better on later rows.
        parameters: LightGBM's parameters that differ from ours.
        random_state: Of trees and draws.
        verbose: Whether to print each step.

    Attributes:
        classes_: The two labels, ascending; `predict_proba` gives the chance of each.
        feature_names_in_: The columns of the frame that it was fitted on.
        n_features_in_: Their number.
        model_: The model; `model_.features` are the columns that it reads.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> use = generator.normal(size=400)
        >>> frame = pd.DataFrame({"use": use, "plan": np.where(use > 1, "pro", "basic")})
        >>> left = use + generator.normal(size=400) < -1
        >>> model = GarrisonClassifier().fit(frame, left)
        >>> model.predict_proba(pd.DataFrame({"use": [-2.0, 2.0], "plan": "basic"}))[:, 1].round(1).tolist()
        [0.8, 0.0]
    """

    def __init__(  # noqa: PLR0913  # scikit-learn keeps every parameter in the constructor
        self,
        *,
        horizon: int = 90,
        as_of: str = "as_of",
        account: str = "account_id",
        trees: int | None = None,
        parameters: Mapping[str, Any] | None = None,
        random_state: Any = 7,
        verbose: bool = False,
    ) -> None:
        self.horizon = horizon
        self.as_of = as_of
        self.account = account
        self.trees = trees
        self.parameters = parameters
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803  # scikit-learn's name
        """Fit to rows and their labels.

        Args:
            X: (n, columns) frame, or an array of numbers.
            y: (n,) labels of two kinds, such as True and False; rows whose label is not known yet are left out before.

        Raises:
            FrameError: The days are too close together for the horizon, or no column can be learned from.
            ValueError: Other shapes or values, as scikit-learn's estimators refuse them.
        """
        frame, labels = self._read_training(X, y)
        progress: Progress = print if self.verbose else ignore
        accounts = self._read_accounts(frame)
        columns = _read_features(frame.drop(columns=[self.as_of, self.account], errors="ignore"))
        features, categories = select_features([("account_id", accounts), *columns.items()])
        if not features:
            raise FrameError(
                "no column can be learned from",
                found=f"every one of {len(columns.columns)} has one value throughout",
                hint="Give columns that differ between rows",
            )
        days = self._read_days(frame)
        self.model_ = Model(
            target="own",
            features=features,
            categories=categories,
            sources=(),
            catalog="",
            trained_at=datetime.now(UTC).replace(microsecond=0),
            horizon_models=(),
            order=0,
            reference=columns,
        )
        matrix = Matrix(self.model_.build_columns(columns))
        seed = self._draw_seed()
        hyperparameters = self._build_hyperparameters(len(features), seed)
        categorical = self.model_.categorical
        if days is None or (days == days.iloc[0]).all():
            progress(f"{len(labels):,} rows, a quarter of them to calibrate on")
            model = fit_undated(matrix, labels, categorical=categorical, hyperparameters=hyperparameters, seed=seed)
        else:
            progress(f"{len(labels):,} rows of {days.nunique()} days, the last quarter of them to calibrate on")
            model = self._fit_dated(matrix, labels, days, categorical, hyperparameters)
        self.model_ = replace(self.model_, horizon_models=(model,))
        progress(f"{len(features)} columns learned from; {self.classes_[1]!r} on average {labels.mean():.1%}")
        return self

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803  # scikit-learn's name
        """Return the calibrated chance of each class, (n, 2), in the order of `classes_`."""
        matrix = self._build_matrix(X)
        chances = self.model_.probabilities(matrix)[:, 0]
        return np.column_stack([1 - chances, chances])

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803  # scikit-learn's name
        """Return the likelier class of each row, (n,)."""
        check_is_fitted(self)
        return self.classes_[(self.predict_proba(X)[:, 1] > 0.5).astype(int)]

    def explain(self, X: Any) -> pd.DataFrame:  # noqa: N803  # scikit-learn's name
        """Return each column's part of each row's log-odds, (n, columns learned from)."""
        matrix = self._build_matrix(X)
        parts = self.model_.contributions(matrix, self.model_.horizons[0])
        return pd.DataFrame(parts, columns=list(self.model_.features), index=getattr(X, "index", None))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.classifier_tags.multi_class = False
        return tags

    def _read_training(self, X: Any, y: Any) -> tuple[pd.DataFrame, np.ndarray]:  # noqa: N803  # as above
        """Check rows and labels, and return them as a frame and (n,) 1 and 0."""
        if isinstance(X, pd.DataFrame):
            _, y = validate_data(self, X, y, skip_check_array=True), column_or_1d(y, warn=True)
            if len(X) != len(y):
                message = f"Found input variables with inconsistent numbers of samples: {[len(X), len(y)]}"
                raise ValueError(message)
        else:
            X, y = validate_data(self, X, y, dtype="float64", ensure_all_finite="allow-nan", ensure_min_samples=2)  # noqa: N806
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) > 2:
            message = f"Only binary classification is supported. The type of the target is {type_of_target(y)}."
            raise ValueError(message)
        if len(self.classes_) < 2:
            message = f"There must be two classes to tell apart; the labels have one class, {self.classes_[0]!r}."
            raise ValueError(message)
        return _to_frame(X), (np.asarray(y) == self.classes_[1]).astype("float64")

    def _build_matrix(self, X: Any) -> np.ndarray:  # noqa: N803  # as above
        check_is_fitted(self)
        if isinstance(X, pd.DataFrame):
            validate_data(self, X, reset=False, skip_check_array=True)
        else:
            X = validate_data(self, X, reset=False, dtype="float64", ensure_all_finite="allow-nan")  # noqa: N806
        frame = _to_frame(X)
        columns = _read_features(frame[list(self.model_.features)])
        days = self._read_days(frame)
        # Its mean follows the days that it has learned from.
        return self.model_.matrix(columns if days is None else columns.assign(as_of=days))

    def _read_accounts(self, frame: pd.DataFrame) -> pd.Series:
        """Return the rows' accounts; without any, each row is one."""
        return frame[self.account].astype(str) if self.account in frame else pd.Series(frame.index, frame.index)

    def _read_days(self, frame: pd.DataFrame) -> pd.Series | None:
        """Return the days that the rows look from; None where the frame has none."""
        if self.as_of not in frame:
            return None
        days = pd.to_datetime(frame[self.as_of], utc=True, errors="coerce", format="ISO8601")
        if days.isna().any():
            raise FrameError(
                f"the column {self.as_of} has what is no date",
                found=repr(frame.loc[days.isna(), self.as_of].iloc[0]),
                hint="Give dates or ISO texts such as 2026-01-01",
            )
        return days.astype("datetime64[us, UTC]")

    def _fit_dated(
        self,
        matrix: Matrix,
        labels: np.ndarray,
        days: pd.Series,
        categorical: tuple[int, ...],
        hyperparameters: Hyperparameters,
    ) -> HorizonModel:
        cutoffs = tuple(pd.DatetimeIndex(days.unique()).sort_values().to_pydatetime())
        early, late = divide_training(cutoffs, days=self.horizon)
        if not early:
            raise FrameError(
                f"the days in {self.as_of} are too close together for labels that look {self.horizon} days ahead",
                found=f"{len(cutoffs)} days from {cutoffs[0]:%Y-%m-%d} to {cutoffs[-1]:%Y-%m-%d}",
                hint="Give earlier rows, set the true horizon, or leave the column out",
            )
        folds, train = divide_rows("the frame", days, labels, TimePlan(self.horizon, cutoffs, early, late, ()))
        trainer = Trainer(
            matrix,
            labels,
            categorical=categorical,
            hyperparameters=hyperparameters,
            cutoffs=Cutoffs(to_micros_column(days).to_numpy() / DAY, since=_FOREVER, span=self.horizon),
        )
        latest = np.flatnonzero((days == days.max()).to_numpy())
        return trainer.train_horizon(self.horizon, HorizonRows(folds, train, latest), reach=self.horizon)

    def _draw_seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _build_hyperparameters(self, features: int, seed: int) -> Hyperparameters:
        """Return ours, with what the caller chose; then no others are tried."""
        ours = build_hyperparameters(features, seed=seed)
        chosen = {"trees": self.trees, **(self.parameters or {})}
        named = ", ".join(f"{name} {value}" for name, value in chosen.items() if value is not None)
        return replace(
            ours,
            parameters={**ours.parameters, **(self.parameters or {})},
            trees=ours.trees if self.trees is None else self.trees,
            tuned=f"chosen by the caller: {named}" if named else "",
        )


def _to_frame(X: Any) -> pd.DataFrame:  # noqa: N803  # scikit-learn's name
    """Return rows as a frame with an index of its own."""
    if isinstance(X, pd.DataFrame):
        return X.set_axis(X.columns.map(str), axis=1).reset_index(drop=True)
    return pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])], copy=False)


def _read_features(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns as float64, or as objects of text where they are no numbers.

    Raises:
        FrameError: A column has dates, whose meaning nobody could guess.
        ValueError: A number is infinite.
    """
    columns = {}
    for name, values in frame.items():
        if pd.api.types.is_datetime64_any_dtype(values):
            raise FrameError(f"the column {name} has dates", hint="Turn them into days before as_of, or leave them out")
        if pd.api.types.is_numeric_dtype(values):
            numbers = values.astype("float64")
            if np.isinf(numbers).any():
                message = f"Input X contains infinity: the column {name}"
                raise ValueError(message)
            columns[str(name)] = numbers
        else:
            columns[str(name)] = values.astype("object").map(str, na_action="ignore").astype("object")
    return pd.DataFrame(columns, index=frame.index, copy=False)

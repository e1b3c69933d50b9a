"""The deployable model of one target: boosters as text, all else as plain numbers in JSON. No pickle, no MLflow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
import pandas as pd

from features.core.errors import RegistryError
from features.core.timestamps import DAY, to_micros_column
from training.decisions.timing import PurchaseRhythm
from training.models.horizon_model import HorizonModel, describe_horizon_model, load_horizon_model

ColumnValues: TypeAlias = "pd.Series[Any] | np.ndarray"


@dataclass(frozen=True, kw_only=True)
class Model:
    """Everything needed to score one target.

    Args:
        target: churn or upsell.
        features: The model's columns, in its order.
        categories: For each text column, its values in training; a value's place is its code.
        sources: The event tables it was trained with.
        catalog: Version of the feature catalog.
        trained_at: When it was trained.
        rhythm: How the accounts buy, to predict the next sale; None for churn, and if none bought twice.
        learned_until: The end of the last label it learned from; None in a model of an older version.
        horizon_models: One for each horizon, ascending.
        order: How the chance moves with a longer horizon, see `labels.find_order`.
        reference: A sample of the training snapshots, to measure drift against, each with its `as_of`; models
            registered earlier lack that column.
        run_id: The MLflow run that made it.
        version: Such as churn-3; empty before it is registered.
    """

    target: str
    features: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    sources: tuple[str, ...]
    catalog: str
    trained_at: datetime
    horizon_models: tuple[HorizonModel, ...]
    order: int
    reference: pd.DataFrame = field(repr=False)
    rhythm: PurchaseRhythm | None = None
    learned_until: datetime | None = None
    run_id: str = ""
    version: str = ""

    def __repr__(self) -> str:
        days = " and ".join(map(str, self.horizons)) or "no"
        until = f", learned until {self.learned_until:%Y-%m-%d}" if self.learned_until else ""
        return f"Model({self.version or self.target}: {days} days, {len(self.features)} features{until})"

    @property
    def horizons(self) -> tuple[int, ...]:
        """Return the horizons in days, ascending."""
        return tuple(h.horizon for h in self.horizon_models)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the columns of its matrix: the features, and `as_of` where its level moves."""
        moves = any(h.level for h in self.horizon_models)
        return (*self.features, "as_of") if moves else self.features

    @property
    def categorical(self) -> tuple[int, ...]:
        """Return the indices of the text columns, which the matrix holds as codes."""
        return tuple(i for i, f in enumerate(self.features) if f in self.categories)

    @cached_property
    def typical(self) -> Mapping[str, float]:
        """Return the median of each column of numbers among the training snapshots; columns without any are absent."""
        medians = self.reference.median(numeric_only=True).dropna()
        return {str(name): float(value) for name, value in medians.items()}

    @property
    def base_rates(self) -> dict[int, float]:
        """Return the share of positives in training, by horizon."""
        return {h.horizon: h.base_rate for h in self.horizon_models}

    def matrix(self, frame: pd.DataFrame | Mapping[str, ColumnValues]) -> np.ndarray:
        """Return the model's columns of snapshots, a frame or its columns, text as codes.

        Returns:
            (n, inputs) float64 in C order; a value of a text column that training never saw is NaN, as is an `as_of`
            that is not there.

        Raises:
            RegistryError: The snapshots lack a column that the model needs.
        """
        columns = self.build_columns(frame)
        if columns:
            return np.ascontiguousarray(np.column_stack(columns))
        return np.empty((len(frame if isinstance(frame, pd.DataFrame) else frame["account_id"]), 0))

    def build_columns(self, frame: pd.DataFrame | Mapping[str, ColumnValues]) -> list[np.ndarray]:
        """Return the matrix column by column: (n,) float64 each; numbers are not copied from the frame."""
        missing = [c for c in self.features if c not in frame]
        if missing:
            raise RegistryError(
                f"the model {self.version or self.target} needs features that the snapshots lack: {', '.join(missing)}",
                hint="Restore the source that gave them, or train again",
            )
        columns = [
            _encode(frame[c], self.categories[c]) if c in self.categories else _read_floats(frame[c])
            for c in self.features
        ]
        if self.inputs != self.features:
            columns.append(_read_days(frame))
        return columns

    def probabilities(self, matrix: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, (n, horizons); where the label orders the horizons, so are they."""
        features, days = matrix, None
        if matrix.shape[1] > len(self.features):
            features, days = matrix[:, :-1], matrix[:, -1]
        scores = np.column_stack([h.probabilities(features, days) for h in self.horizon_models])
        if not self.order:
            return scores
        return (np.maximum if self.order > 0 else np.minimum).accumulate(scores, axis=1)

    def find_ends(self, scores: np.ndarray, as_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the 90 % intervals of its probabilities, (n, horizons) each; NaN by an older model.

        Of groups of like accounts nine in ten have a share of positives between them. They follow from the score and
        its time alone, so whatever holds a score of this model can have its interval.

        Args:
            scores: (n, horizons), as `probabilities` returns them.
            as_of: (n,) µs.
        """
        days = np.asarray(as_of, dtype="int64") / DAY
        ends = [h.find_ends(scores[:, i], days) for i, h in enumerate(self.horizon_models)]
        lows, highs = (np.column_stack(side) for side in zip(*ends, strict=True))
        return lows, highs

    def contributions(self, matrix: np.ndarray, horizon: int) -> np.ndarray:
        """Return each feature's part of a horizon's log-odds, (n, features)."""
        return self.horizon_model(horizon).contributions(matrix[:, : len(self.features)])

    def is_level_unsure(self, as_of: int, horizon: int) -> bool:
        """Return whether a horizon's base rate moves, and `as_of` (µs) is in a season that training has not seen."""
        level = self.horizon_model(horizon).level
        return level is not None and level.is_unsure(as_of / DAY)

    def horizon_model(self, horizon: int) -> HorizonModel:
        """Return the model of one horizon.

        Raises:
            RegistryError: There is none of so many days.
        """
        for horizon_model in self.horizon_models:
            if horizon_model.horizon == horizon:
                return horizon_model
        horizons = ", ".join(map(str, self.horizons))
        raise RegistryError(f"the model {self.version} has no horizon of {horizon} days", found=horizons)

    def save(self, folder: Path) -> None:
        """Write bundle.json, a text file for each booster and reference.parquet into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        fields = {k: v for k, v in vars(self).items() if k not in {"horizon_models", "reference", "version", "typical"}}
        manifest = {
            **fields,
            "rhythm": asdict(self.rhythm) if self.rhythm else None,
            "trained_at": self.trained_at.isoformat(),
            "learned_until": self.learned_until.isoformat() if self.learned_until else None,
            "heads": [describe_horizon_model(m) for m in self.horizon_models],
        }
        for horizon_model in self.horizon_models:
            (folder / f"booster_{horizon_model.horizon}d.txt").write_text(horizon_model.text, encoding="utf-8")
        self.reference.to_parquet(folder / "reference.parquet", index=False)
        (folder / "bundle.json").write_text(json.dumps(manifest, indent=1, allow_nan=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, *, version: str = "") -> Self:
        """Load a saved model.

        Raises:
            RegistryError: A file of the folder is missing or damaged.
        """
        try:
            manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
            horizon_models = tuple(load_horizon_model(folder, fields) for fields in manifest.pop("heads"))
            rhythm, until = manifest.pop("rhythm", None), manifest.pop("learned_until", None)
            manifest |= {
                "features": tuple(manifest["features"]),
                "sources": tuple(manifest["sources"]),
                "categories": {c: tuple(v) for c, v in manifest["categories"].items()},
                "trained_at": datetime.fromisoformat(manifest["trained_at"]),
                "rhythm": PurchaseRhythm(**rhythm) if rhythm else None,
                "learned_until": datetime.fromisoformat(until) if until else None,
            }
            reference = pd.read_parquet(folder / "reference.parquet")
            return cls(**manifest, horizon_models=horizon_models, reference=reference, version=version)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RegistryError(f"{folder} is not a whole model", found=str(error), hint="Promote another") from error


def _read_floats(column: ColumnValues) -> np.ndarray:
    return column if isinstance(column, np.ndarray) else column.to_numpy(dtype="float64")


def _read_days(frame: pd.DataFrame | Mapping[str, ColumnValues]) -> np.ndarray:
    """Return `as_of` in days since 1970, (n,); NaN where the frame has none."""
    if "as_of" not in frame:
        return np.full(len(frame if isinstance(frame, pd.DataFrame) else frame["account_id"]), np.nan)
    as_of = frame["as_of"]
    micros = as_of if isinstance(as_of, np.ndarray) else to_micros_column(as_of)
    return np.asarray(micros, dtype="int64") / DAY


def _encode(column: ColumnValues, values: tuple[str, ...]) -> np.ndarray:
    codes = {value: float(code) for code, value in enumerate(values)}
    if isinstance(column, np.ndarray):
        return np.array([codes.get(value, np.nan) for value in column])
    return column.map(codes).to_numpy(dtype="float64")


def _load_pyfunc(path: str) -> _Scorer:
    """Load the model as MLflow's Python function; MLflow calls this."""
    return _Scorer(Model.load(Path(path)))


class _Scorer:
    """Model that MLflow calls as a Python function."""

    def __init__(self, model: Model) -> None:
        self._bundle = model

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return probabilities by horizon of rows whose text columns are codes already."""
        model = self._bundle
        matrix = np.ascontiguousarray(frame[list(model.features)].to_numpy(dtype="float64"))
        return pd.DataFrame(model.probabilities(matrix), columns=[f"{model.target}_{h}d" for h in model.horizons])

"""The deployable model of one target: boosters as text, all else as plain numbers in JSON. No pickle, no MLflow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeAlias

import lightgbm as lgb
import numpy as np
import pandas as pd

from features.core.errors import RegistryError
from training.decisions.timing import PurchaseRhythm
from training.decisions.value import Uplift
from training.models.calibration import Calibrator
from training.models.linear import LinearModel

ColumnValues: TypeAlias = "pd.Series[Any] | np.ndarray"
_QUANTILES = 1001


@dataclass(frozen=True)
class HorizonModel:
    """One horizon's model.

    Args:
        horizon: Days.
        text: LightGBM's own text of the booster.
        calibrator: Log-odds to probability.
        base_rate: Share of positives in training.
        quantiles: Scores of the calibration period at 1,001 even shares, ascending.
        linear: The additive part; None in a model of an older version.
        share: How much of the log-odds is the additive part's, 0 to 1; the rest is the booster's.
        uplift: What an upsell brought in training; None for churn, and where there was none.
    """

    horizon: int
    text: str
    calibrator: Calibrator
    base_rate: float
    quantiles: tuple[float, ...]
    linear: LinearModel | None = None
    share: float = 0.0
    uplift: Uplift | None = None

    @cached_property
    def booster(self) -> lgb.Booster:
        """Read from its text, so that a model just trained and one loaded answer alike."""
        return lgb.Booster(model_str=self.text)

    def probabilities(self, matrix: np.ndarray) -> np.ndarray:
        """Calibrated, (n,)."""
        return self.calibrator(self.log_odds(matrix))

    def log_odds(self, matrix: np.ndarray) -> np.ndarray:
        """Before calibration, (n,)."""
        trees = self.booster.predict(matrix, raw_score=True, num_threads=_count_threads(matrix))
        return blend(trees, self.linear.log_odds(matrix), self.share) if self.linear else trees

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        """Each feature's share of the log-odds, (n, features).

        Source: TreeSHAP, Lundberg et al., "Consistent individualized feature attribution for tree ensembles"; the
        additive part's terms are its own.
        """
        trees = self.booster.predict(matrix, pred_contrib=True, num_threads=_count_threads(matrix))[:, :-1]
        return blend(trees, self.linear.terms(matrix), self.share) if self.linear else trees


@dataclass(frozen=True, kw_only=True)
class Model:
    """All that is needed to score one target.

    Args:
        target: churn or upsell.
        features: The model's columns, in its order.
        categories: For each text column, its values in training; a value's place is its code.
        sources: The event tables it was trained with.
        catalog: Version of the feature catalog.
        trained_at: When it was trained.
        rhythm: How the accounts buy, to tell the next sale by; None for churn, and where none bought twice.
        learned_until: Where the last label that it learned from ended; None in a model of an older version.
        heads: One for each horizon, ascending.
        order: How the chance moves with a longer horizon, as `labels.order` says.
        reference: A sample of the training snapshots, to tell drift by.
        run_id: The MLflow run that made it.
        version: Such as churn-3; empty before it is registered.
    """

    target: str
    features: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    sources: tuple[str, ...]
    catalog: str
    trained_at: datetime
    heads: tuple[HorizonModel, ...]
    order: int
    reference: pd.DataFrame = field(repr=False)
    rhythm: PurchaseRhythm | None = None
    learned_until: datetime | None = None
    run_id: str = ""
    version: str = ""

    @property
    def horizons(self) -> tuple[int, ...]:
        """Days, ascending."""
        return tuple(h.horizon for h in self.heads)

    @property
    def coded(self) -> tuple[int, ...]:
        """Places of the text columns, which the matrix holds as codes."""
        return tuple(i for i, f in enumerate(self.features) if f in self.categories)

    @property
    def base_rates(self) -> dict[int, float]:
        """Share of positives in training, by horizon."""
        return {h.horizon: h.base_rate for h in self.heads}

    def matrix(self, frame: pd.DataFrame | Mapping[str, ColumnValues]) -> np.ndarray:
        """The model's columns of snapshots, a frame or its columns, text as codes.

        Returns:
            (n, features) float64 in C order; a value of a text column that training never saw is NaN.

        Raises:
            RegistryError: The snapshots lack a column that the model needs.
        """
        columns = self.columns(frame)
        if columns:
            return np.ascontiguousarray(np.column_stack(columns))
        return np.empty((len(frame if isinstance(frame, pd.DataFrame) else frame["account_id"]), 0))

    def columns(self, frame: pd.DataFrame | Mapping[str, ColumnValues]) -> list[np.ndarray]:
        """The same, column by column: (n,) float64 each, numbers as they lie in the frame."""
        missing = [c for c in self.features if c not in frame]
        if missing:
            raise RegistryError(
                f"the model {self.version or self.target} needs features that the snapshots lack: {', '.join(missing)}",
                hint="Restore the source that gave them, or train again",
            )
        return [
            _encode(frame[c], self.categories[c]) if c in self.categories else _read_floats(frame[c])
            for c in self.features
        ]

    def probabilities(self, matrix: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, (n, horizons), in keeping with each other where the label orders them."""
        scores = np.column_stack([h.probabilities(matrix) for h in self.heads])
        if not self.order:
            return scores
        return (np.maximum if self.order > 0 else np.minimum).accumulate(scores, axis=1)

    def contributions(self, matrix: np.ndarray, horizon: int) -> np.ndarray:
        """Each feature's share of a horizon's log-odds, (n, features)."""
        return self.head(horizon).contributions(matrix)

    def threshold(self, horizon: int, share: float) -> float:
        """The score that the riskiest `share` of the calibration period reached."""
        quantiles = self.head(horizon).quantiles
        return float(np.interp(1 - share, np.linspace(0, 1, len(quantiles)), quantiles))

    def head(self, horizon: int) -> HorizonModel:
        """One horizon's model.

        Raises:
            RegistryError: There is none of so many days.
        """
        for head in self.heads:
            if head.horizon == horizon:
                return head
        there = ", ".join(map(str, self.horizons))
        raise RegistryError(f"the model {self.version} has no horizon of {horizon} days", found=there)

    def save(self, folder: Path) -> None:
        """Write bundle.json, a text file for each booster and reference.parquet into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        plain = {k: v for k, v in vars(self).items() if k not in {"heads", "reference", "version"}}
        heads = [
            {k: v for k, v in asdict(h).items() if k != "text"} | {"digest": _compute_digest(h.text)}
            for h in self.heads
        ]
        until = self.learned_until.isoformat() if self.learned_until else None
        rhythm = asdict(self.rhythm) if self.rhythm else None
        manifest = {
            **plain,
            "rhythm": rhythm,
            "trained_at": self.trained_at.isoformat(),
            "learned_until": until,
            "heads": heads,
        }
        for head in self.heads:
            (folder / f"booster_{head.horizon}d.txt").write_text(head.text, encoding="utf-8")
        self.reference.to_parquet(folder / "reference.parquet", index=False)
        (folder / "bundle.json").write_text(json.dumps(manifest, indent=1, allow_nan=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, *, version: str = "") -> Self:
        """Read a saved bundle.

        Raises:
            RegistryError: The folder is not a whole bundle.
        """
        try:
            manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
            heads = tuple(_load_horizon_model(folder, h) for h in manifest.pop("heads"))
            manifest |= {
                "features": tuple(manifest["features"]),
                "sources": tuple(manifest["sources"]),
                "categories": {c: tuple(v) for c, v in manifest["categories"].items()},
                "trained_at": datetime.fromisoformat(manifest["trained_at"]),
            }
            rhythm = manifest.pop("rhythm", None)
            manifest["rhythm"] = PurchaseRhythm(**rhythm) if rhythm else None
            until = manifest.pop("learned_until", None)
            manifest["learned_until"] = datetime.fromisoformat(until) if until else None
            reference = pd.read_parquet(folder / "reference.parquet")
            return cls(**manifest, heads=heads, reference=reference, version=version)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RegistryError(f"{folder} is not a whole model", found=str(error), hint="Promote another") from error


def _load_horizon_model(folder: Path, manifest: dict[str, Any]) -> HorizonModel:
    file = folder / f"booster_{manifest['horizon']}d.txt"
    text = file.read_text(encoding="utf-8")
    # LightGBM ends the process, with no error to catch, on a text that was cut short.
    if _compute_digest(text) != manifest["digest"]:
        message = f"{file.name} is not the text that was saved"
        raise ValueError(message)
    del manifest["digest"]
    linear, uplift = manifest.get("linear"), manifest.get("uplift")
    manifest |= {
        "calibrator": Calibrator(**manifest["calibrator"]),
        "quantiles": tuple(manifest["quantiles"]),
        "linear": LinearModel.of(linear) if linear else None,
        "uplift": Uplift(**uplift) if uplift else None,
    }
    return HorizonModel(text=text, **manifest)


def _count_threads(matrix: np.ndarray) -> int:
    """One for a few rows, which take less time than waking the others; 0, all cores, for many."""
    return 1 if len(matrix) < 20_000 else 0


def _compute_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def blend(trees: np.ndarray, linear: np.ndarray, share: float) -> np.ndarray:
    """Log-odds of two models, or their parts, as one; `share` is the second's."""
    return (1.0 - share) * trees + share * linear


def compute_quantiles(scores: np.ndarray) -> tuple[float, ...]:
    """Scores at 1,001 even shares, for `Bundle.threshold`."""
    return tuple(np.quantile(scores, np.linspace(0, 1, _QUANTILES)).tolist())


def _read_floats(column: ColumnValues) -> np.ndarray:
    return column if isinstance(column, np.ndarray) else column.to_numpy(dtype="float64")


def _encode(column: ColumnValues, values: tuple[str, ...]) -> np.ndarray:
    places = {value: float(place) for place, value in enumerate(values)}
    if isinstance(column, np.ndarray):
        return np.array([places.get(value, np.nan) for value in column])
    return column.map(places).to_numpy(dtype="float64")


def _load_pyfunc(path: str) -> _Scorer:
    """What MLflow calls to load the model as a Python function."""
    return _Scorer(Model.load(Path(path)))


class _Scorer:
    def __init__(self, bundle: Model) -> None:
        self._bundle = bundle

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Probabilities by horizon of rows whose text columns are codes already."""
        bundle = self._bundle
        matrix = np.ascontiguousarray(frame[list(bundle.features)].to_numpy(dtype="float64"))
        return pd.DataFrame(bundle.probabilities(matrix), columns=[f"{bundle.target}_{h}d" for h in bundle.horizons])

"""Score snapshots with all champions: the path that every score takes.

Batch and HTTP, by id and with a posted history, all go through here, so their scores are equal to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.catalog import Catalog
from features.core.errors import GarrisonError
from features.settings import Settings
from training.decisions import recommendation, timing, value
from training.decisions.value import Floats, SnapshotColumns
from training.models.model import ColumnValues, Model
from training.registry import promotion_log

# Columns of a snapshot that are read besides the models' own.
WANTED = (*value.COLUMNS, *recommendation.COLUMNS, *timing.COLUMNS)


@dataclass(frozen=True)
class PreparedSnapshots:
    """Snapshots as the models read them; row i of every part is the same account at the same `as_of`.

    Args:
        account_ids: Text, shape (n,).
        as_of: Whole µs, shape (n,).
        value: Revenue at stake a year, by `training.decisions.value.compute_yearly_revenue`; NaN where unknown; (n,).
        about: The columns `WANTED`, NaN where their source is missing; each of shape (n,).
        matrices: By target, what its model reads: float64, shape (n, features).
        texts: By column, the text attributes, None where not recorded; shape (n,).
        in_cohort: By target, whether the account was in its cohort; a target is missing where that is unknown.
        sources: Event tables that the snapshots were made from.
        catalog: The definitions of the models' features.
    """

    account_ids: npt.NDArray[np.object_]
    as_of: npt.NDArray[np.int64]
    value: Floats
    about: Mapping[str, Floats]
    matrices: Mapping[str, Floats]
    texts: Mapping[str, npt.NDArray[np.object_]]
    in_cohort: Mapping[str, npt.NDArray[np.bool_]]
    sources: tuple[str, ...]
    catalog: Catalog

    def __len__(self) -> int:
        return len(self.account_ids)

    def take(self, which: Sequence[int] | slice | npt.NDArray[np.intp]) -> PreparedSnapshots:
        """Return these rows alone, in this order."""
        return PreparedSnapshots(
            account_ids=self.account_ids[which],
            as_of=self.as_of[which],
            value=self.value[which],
            about={column: values[which] for column, values in self.about.items()},
            matrices={target: matrix[which] for target, matrix in self.matrices.items()},
            texts={column: texts[which] for column, texts in self.texts.items()},
            in_cohort={target: flags[which] for target, flags in self.in_cohort.items()},
            sources=self.sources,
            catalog=self.catalog,
        )


@dataclass(frozen=True)
class Scorer:
    """Every target's champion.

    Args:
        models: By target; may be empty.
        catalog: The feature definitions.
    """

    models: Mapping[str, Model]
    catalog: Catalog

    def prepare(
        self,
        frame: SnapshotColumns,
        sources: Iterable[str],
        in_cohort: Mapping[str, npt.NDArray[np.bool_]] | None = None,
    ) -> PreparedSnapshots:
        """Prepare snapshots for the models.

        Features of missing sources count as missing values; each score names the sources it has seen.

        Args:
            frame: As `features.engine.snapshots.build` returns it, or `columns`.
            sources: Event tables that it was made from.
            in_cohort: By target, who was in its cohort, where that is known.

        Raises:
            GarrisonError: A model reads a column that the snapshots lack though its sources are not missing.
        """
        available = set(sources)
        wanted = {name for model in self.models.values() for name in model.features}
        account_ids = np.asarray(frame["account_id"], dtype=object)
        missing = sorted(c for c in wanted - set(frame) if set(self.catalog.find_feature(c).sources) - available)
        columns = {c: frame[c] for c in frame} | dict.fromkeys(missing, np.full(len(account_ids), np.nan))
        return PreparedSnapshots(
            account_ids=account_ids,
            as_of=np.asarray(frame["as_of"].astype("int64")),
            value=value.compute_yearly_revenue(frame),
            about={name: value.read_column(frame, name) for name in WANTED},
            matrices={target: model.matrix(columns) for target, model in self.models.items()},
            texts={c: _texts(frame[c]) for c in frame if c != "account_id" and _is_text(frame[c])},
            in_cohort=in_cohort or {},
            sources=tuple(sources),
            catalog=self.catalog,
        )

    def score(self, rows: PreparedSnapshots) -> dict[str, Floats]:
        """Return calibrated probabilities by target, shape (n, horizons), in the order of the model's horizons."""
        return self.probabilities(rows.matrices)

    def probabilities(self, matrices: Mapping[str, Floats]) -> dict[str, Floats]:
        """Return the scores of the matrices alone, by target: shape (n, horizons)."""
        return {t: model.probabilities(matrices[t]) for t, model in self.models.items()}

    def find_missing_sources(self, target: str, sources: Iterable[str]) -> tuple[str, ...]:
        """Return the sources that a target's model was trained on and that are not among these."""
        return tuple(s for s in self.models[target].sources if s not in set(sources))


def _is_text(column: ColumnValues) -> bool:
    if isinstance(column, np.ndarray):
        return column.dtype == object
    return bool(pd.api.types.is_string_dtype(column) or pd.api.types.is_object_dtype(column))


def _texts(column: ColumnValues) -> npt.NDArray[np.object_]:
    texts = np.array(column, dtype=object)
    texts[pd.isna(texts)] = None
    return texts


def load_champions(settings: Settings) -> Scorer:
    """Load the models that are champions now, as one scorer.

    Raises:
        GarrisonError: There is none.
    """
    models = promotion_log.load_champions(settings)
    if not models:
        raise GarrisonError(
            f"no model of {settings.company.name} is champion yet",
            hint="Train one and promote it: python -m training fit, then python -m training promote RUN",
        )
    return Scorer(models, Catalog.for_company(settings))

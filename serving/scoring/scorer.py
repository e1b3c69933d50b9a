"""The hot path: snapshots in, calibrated probabilities of all champions out.

Batch and HTTP, by id and with a posted history, all go through here: so their numbers are the same bits.
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
    """Snapshots made ready for the models; row i of every part is the same account at the same `as_of`.

    Args:
        account_ids: Text, shape (n,).
        as_of: Whole µs, shape (n,).
        value: Revenue at stake a year, by `training.decisions.value.compute_yearly_revenue`; NaN where unknown; (n,).
        about: The columns `WANTED`, NaN where their source isn't there; each of shape (n,).
        matrices: By target, what its model reads: float64, shape (n, features).
        texts: By column, the text attributes, None where not recorded; shape (n,).
        in_cohort: By target, whether the account was eligible; a target is missing where that isn't known.
        sources: Event tables that the snapshots were made from.
        catalog: The features that the models' columns are.
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
        """These rows alone, in this order."""
        return PreparedSnapshots(
            account_ids=self.account_ids[which],
            as_of=self.as_of[which],
            value=self.value[which],
            about={column: values[which] for column, values in self.about.items()},
            matrices={target: matrix[which] for target, matrix in self.matrices.items()},
            texts={column: texts[which] for column, texts in self.texts.items()},
            in_cohort={target: eligible[which] for target, eligible in self.in_cohort.items()},
            sources=self.sources,
            catalog=self.catalog,
        )


@dataclass(frozen=True)
class Scorer:
    """Every target's champion.

    Args:
        bundles: By target; may be empty.
        catalog: The features that there are.
    """

    bundles: Mapping[str, Model]
    catalog: Catalog

    def rows(
        self,
        frame: SnapshotColumns,
        sources: Iterable[str],
        in_cohort: Mapping[str, npt.NDArray[np.bool_]] | None = None,
    ) -> PreparedSnapshots:
        """Make snapshots ready for the models.

        Features of sources that are not there count as missing values: the score says which it has seen.

        Args:
            frame: As `features.engine.snapshots.build` gives it, or `columns`.
            sources: Event tables that it was made from.
            in_cohort: By target, who was eligible, where that is known.

        Raises:
            GarrisonError: A model wants a column that neither the snapshots nor a missing source explains.
        """
        there = set(sources)
        wanted = {name for bundle in self.bundles.values() for name in bundle.features}
        account_ids = np.asarray(frame["account_id"], dtype=object)
        gone = sorted(c for c in wanted - set(frame) if set(self.catalog.find_feature(c).sources) - there)
        whole = {c: frame[c] for c in frame} | dict.fromkeys(gone, np.full(len(account_ids), np.nan))
        return PreparedSnapshots(
            account_ids=account_ids,
            as_of=np.asarray(frame["as_of"].astype("int64")),
            value=value.compute_yearly_revenue(frame),
            about={name: value.read_column(frame, name) for name in WANTED},
            matrices={target: bundle.matrix(whole) for target, bundle in self.bundles.items()},
            texts={c: _texts(frame[c]) for c in frame if c != "account_id" and _is_text(frame[c])},
            in_cohort=in_cohort or {},
            sources=tuple(sources),
            catalog=self.catalog,
        )

    def score(self, rows: PreparedSnapshots) -> dict[str, Floats]:
        """Calibrated probabilities by target, shape (n, horizons), in the order of the bundle's horizons."""
        return self.probabilities(rows.matrices)

    def probabilities(self, matrices: Mapping[str, Floats]) -> dict[str, Floats]:
        """The same of the matrices alone."""
        return {t: bundle.probabilities(matrices[t]) for t, bundle in self.bundles.items()}

    def missing(self, target: str, sources: Iterable[str]) -> tuple[str, ...]:
        """The sources that a target's model was trained on and that are not among these."""
        return tuple(s for s in self.bundles[target].sources if s not in set(sources))


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
    bundles = promotion_log.load_champions(settings)
    if not bundles:
        raise GarrisonError(
            f"no model of {settings.company.name} is champion yet",
            hint="Train one and promote it: python -m training fit, then python -m training promote RUN",
        )
    return Scorer(bundles, Catalog.for_company(settings))

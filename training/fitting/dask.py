"""Training on a Dask cluster, by LightGBM's own distributed learning, for snapshots beyond one machine's memory.

The workers read the snapshots' Parquet files, each its part, and learn together; here only the columns are held that
figures need. All else is `training.fitting.fit`: the same plan, calibration, baselines, verdict and leak probe.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.core.errors import GarrisonError, LabelError
from features.engine import snapshot_cache
from features.settings import Settings
from features.sources.history import History
from training.evaluation.holdout import list_columns
from training.fitting import upsell_statistics
from training.models.dataset import Dataset
from training.models.linear import thin_rows
from training.models.matrix import Callbacks, Matrix, RowIndices, join_snapshots
from training.models.model import Model
from training.targets import cohorts

_READ = 100_000  # rows at once


@dataclass(frozen=True)
class Cluster:
    """Holds snapshots on a cluster: `training.fitting.fit.fit(history, settings, held=Cluster(client))`.

    Its workers need this package, and the company's `var` folder under the same path.

    Args:
        client: A `distributed.Client`.
    """

    client: Any

    def __call__(
        self, history: History, settings: Settings, name: str, cutoffs: tuple[datetime, ...], until: datetime
    ) -> ClusterDataset:
        """One target's cohort's snapshots; those that are not kept yet are built here first.

        Raises:
            LabelError: The cohort is empty at every cutoff.
        """
        members = cohorts.find_eligible(history, settings.targets[name].cohort, cutoffs)
        files = snapshot_cache.kept(settings, history, cutoffs)
        parts = [_find_rows(files[as_of], its["account_id"]) for as_of, its in members.groupby("as_of")]
        if not sum(len(part.rows) for part in parts):
            raise LabelError(f"the cohort of {name} is empty at every cutoff", hint=f"Look at [{name}] cohort")
        whole = pq.read_schema(parts[0].file).empty_table().to_pandas()
        narrow = [c for c in whole if c in {*list_columns(whole), *upsell_statistics.COLUMNS}]
        tables = (table for part in parts for table in _iterate_batches(part.file, narrow))
        return ClusterDataset(join_snapshots(tables, members), cutoffs, until, self.client, tuple(parts), whole)


@contextlib.contextmanager
def connect_cluster(address: str) -> Iterator[Cluster]:
    """The cluster whose scheduler is at an address such as tcp://10.0.0.5:8786.

    Raises:
        GarrisonError: Dask is not installed, or no scheduler answers there.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise GarrisonError("Dask is not installed", hint="Install garrison[dask]") from error
    try:
        client = Client(address, timeout="10s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise GarrisonError(f"no Dask scheduler answers at {address}", found=str(error)) from error
    with client:
        yield Cluster(client)


@dataclass(frozen=True)
class _SnapshotPart:
    """One cutoff's snapshots.

    Args:
        file: Parquet.
        rows: Those of the cohort in the file, ascending.
    """

    file: Path
    rows: np.ndarray


@dataclass(frozen=True)
class ClusterDataset(Dataset):
    """Snapshots that workers read.

    Args:
        client: Of the cluster.
        parts: One after another they have the frame's rows.
        whole: No row with every column.
    """

    client: Any
    parts: tuple[_SnapshotPart, ...]
    whole: pd.DataFrame

    def rows(self, places: RowIndices) -> pd.DataFrame:
        """The rows at these places, with every column, fetched from the workers."""
        order, asked = [], []
        for part, rows, where in self.divided(places):
            asked.append(self.client.submit(_read_rows, part.file, part.rows[rows]))
            order.append(where)
        return pd.concat([self.whole, *self.client.gather(asked)]).iloc[_restore_order(order)].set_axis(places)

    def columns(self, places: RowIndices) -> Iterator[tuple[str, pd.Series]]:
        """Each column's name and values at an even part of these places: what varies, varies there."""
        yield from self.rows(thin_rows(places)).items()

    def matrix(self, bundle: Model) -> Matrix:
        """A model's columns of all rows, which stay on the cluster.

        Raises:
            RegistryError: The snapshots lack a column that the model needs.
        """
        bundle.columns(self.whole)
        # What a matrix is made by, and no more, is sent to the workers.
        return _ClusterMatrix(self, replace(bundle, heads=(), reference=pd.DataFrame()))

    def divided(self, places: RowIndices) -> Iterator[tuple[_SnapshotPart, RowIndices, RowIndices]]:
        """(part, which of its rows, which of the places they are), of the parts that have any of the places."""
        ends = self._ends
        owner = np.searchsorted(ends, places, side="right")
        for number in np.unique(owner):
            where = np.flatnonzero(owner == number)
            part = self.parts[number]
            yield part, places[where] - (ends[number] - len(part.rows)), where

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum([len(part.rows) for part in self.parts])


class _ClusterMatrix(Matrix):
    """A matrix whose rows the workers make, and learn from."""

    def __init__(self, spread: ClusterDataset, bundle: Model, places: RowIndices | None = None) -> None:
        self._spread, self._bundle = spread, bundle
        self._own = np.arange(len(spread.frame)) if places is None else places

    def __len__(self) -> int:
        return len(self._own)

    def __getitem__(self, places: RowIndices) -> np.ndarray:
        return self.applied(_identity, places)

    def only(self, places: RowIndices) -> Matrix:
        return _ClusterMatrix(self._spread, self._bundle, self._own[places])

    def applied(self, function: Callable[[np.ndarray], np.ndarray], places: RowIndices) -> np.ndarray:
        client, order, asked = self._spread.client, [], []
        shared = client.scatter([function], broadcast=True, hash=False)[0]
        for part, rows, where in self._spread.divided(self._own[places]):
            asked.append(client.submit(_apply, shared, part.file, part.rows[rows], self._bundle, pure=False))
            order.append(where)
        return np.concatenate(client.gather(asked))[_restore_order(order)]

    def booster(  # noqa: PLR0913  # as that of a matrix in memory
        self,
        answers: np.ndarray,
        places: RowIndices,
        *,
        coded: Sequence[int],
        parameters: Mapping[str, Any],
        trees: int,
        callbacks: Callbacks = None,
    ) -> lgb.Booster:
        import dask.array as da
        from dask.delayed import delayed

        if callbacks:
            raise GarrisonError(
                "a cluster can't stop in the middle of a model", hint="Tune on one machine, on fewer rows"
            )
        blocks, labels = [], []
        for part, rows, where in self._spread.divided(self._own[places]):
            block = delayed(_build_matrix)(part.file, part.rows[rows], self._bundle)
            blocks.append(da.from_delayed(block, (len(rows), len(self._bundle.features)), dtype="float64"))
            labels.append(da.from_array(answers[places[where]], chunks=-1))
        given = {name: value for name, value in parameters.items() if name != "num_threads"}
        # The classifier would number the classes anew on each worker, and one may have a single class. What is
        # learned follows from the objective in the parameters.
        model = lgb.DaskLGBMRegressor(client=self._spread.client, n_estimators=trees, **given)
        matrix, known = da.concatenate(blocks), da.concatenate(labels)
        with self._spread.client.as_current(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Parameter n_jobs will be ignored")
            return model.fit(matrix, known, categorical_feature=[*coded]).booster_


def _find_rows(file: Path, accounts: pd.Series) -> _SnapshotPart:
    ids = pq.read_table(file, columns=["account_id"], partitioning=None)["account_id"].cast(pa.string())
    return _SnapshotPart(file.absolute(), np.flatnonzero(pc.is_in(ids, value_set=pa.array(accounts, pa.string()))))


def _iterate_batches(file: Path, columns: list[str]) -> Iterator[pa.Table]:
    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(_READ, columns=columns):
            yield pa.Table.from_batches([batch])


def _read_rows(file: Path, rows: np.ndarray, columns: list[str] | None = None) -> pd.DataFrame:
    return pq.read_table(file, columns=columns, partitioning=None).take(rows).to_pandas()


def _build_matrix(file: Path, rows: np.ndarray, bundle: Model) -> np.ndarray:
    return bundle.matrix(_read_rows(file, rows, [*bundle.features]))


def _apply(function: Callable[[np.ndarray], np.ndarray], file: Path, rows: np.ndarray, bundle: Model) -> np.ndarray:
    return function(_build_matrix(file, rows, bundle))


def _identity(matrix: np.ndarray) -> np.ndarray:
    return matrix


def _restore_order(order: list[np.ndarray]) -> np.ndarray:
    """Where each place's row is among those that came part by part."""
    return np.argsort(np.concatenate(order)) if order else np.empty(0, dtype="int64")

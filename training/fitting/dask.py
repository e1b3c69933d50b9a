"""Trains on a Dask cluster, by LightGBM's own distributed learning, for snapshots beyond one machine's memory.

The workers read the snapshots' Parquet files, each its part, and learn together; here only the columns are held that
figures need. All else is `training.fitting.fit`: the same plan, calibration, baselines, verdict and leak probe.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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
    """Loader that leaves snapshots on a cluster: `training.fitting.fit.fit(…, loader=Cluster(client))`.

    Its workers need this package, and the company's `var` folder under the same path.

    Args:
        client: A `distributed.Client`.
    """

    client: Any

    def __call__(
        self, history: History, settings: Settings, name: str, cutoffs: tuple[datetime, ...], until: datetime
    ) -> ClusterDataset:
        """Load one target's cohort's snapshots; those that are not cached yet are built here first.

        Raises:
            LabelError: The cohort is empty at every cutoff.
        """
        members = cohorts.find_eligible(history, settings.targets[name].cohort, cutoffs)
        files = snapshot_cache.build_files(settings, history, cutoffs)
        parts = [_find_rows(files[as_of], its["account_id"]) for as_of, its in members.groupby("as_of")]
        if not sum(len(part.rows) for part in parts):
            raise LabelError(f"the cohort of {name} is empty at every cutoff", hint=f"Look at [{name}] cohort")
        whole = pq.read_schema(parts[0].file).empty_table().to_pandas()
        narrow = [c for c in whole if c in {*list_columns(whole), *upsell_statistics.COLUMNS}]
        tables = (table for part in parts for table in _iterate_batches(part.file, narrow))
        return ClusterDataset(join_snapshots(tables, members), cutoffs, until, self.client, tuple(parts), whole)


@contextlib.contextmanager
def connect_cluster(address: str) -> Iterator[Cluster]:
    """Connect to the cluster whose scheduler is at an address such as tcp://10.0.0.5:8786.

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
    """Snapshots that the workers read.

    Args:
        client: Of the cluster.
        parts: One after another they have the frame's rows.
        whole: No row with every column.
    """

    client: Any
    parts: tuple[_SnapshotPart, ...]
    whole: pd.DataFrame

    def read_rows(self, indices: RowIndices) -> pd.DataFrame:
        """Fetch the rows at these indices, with every column, from the workers."""
        order, futures = [], []
        for part, rows, positions in self.iterate_parts(indices):
            futures.append(self.client.submit(_read_rows, part.file, part.rows[rows]))
            order.append(positions)
        return pd.concat([self.whole, *self.client.gather(futures)]).iloc[_restore_order(order)].set_axis(indices)

    def iterate_columns(self, indices: RowIndices) -> Iterator[tuple[str, pd.Series]]:
        """Yield each column's name and values at an even part of these indices: what varies, varies there."""
        yield from self.read_rows(thin_rows(indices)).items()

    def build_matrix(self, model: Model) -> Matrix:
        """Return a model's columns of all rows, which stay on the cluster.

        Raises:
            RegistryError: The snapshots lack a column that the model needs.
        """
        model.build_columns(self.whole)
        # What a matrix is made by, and no more, is sent to the workers.
        return _ClusterMatrix(self, replace(model, horizon_models=(), reference=pd.DataFrame()))

    def iterate_parts(self, indices: RowIndices) -> Iterator[tuple[_SnapshotPart, RowIndices, RowIndices]]:
        """Yield (part, its rows, positions of these among the indices) of the parts that have any of the indices."""
        ends = self._ends
        part_numbers = np.searchsorted(ends, indices, side="right")
        for number in np.unique(part_numbers):
            positions = np.flatnonzero(part_numbers == number)
            part = self.parts[number]
            yield part, indices[positions] - (ends[number] - len(part.rows)), positions

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum([len(part.rows) for part in self.parts])


class _ClusterMatrix(Matrix):
    """A matrix whose rows the workers build and learn from."""

    def __init__(self, dataset: ClusterDataset, model: Model, indices: RowIndices | None = None) -> None:
        self._spread, self._bundle = dataset, model
        self._own = np.arange(len(dataset.frame)) if indices is None else indices

    def __len__(self) -> int:
        return len(self._own)

    def __getitem__(self, indices: RowIndices) -> np.ndarray:
        return self.apply(_identity, indices)

    def select(self, indices: RowIndices) -> Matrix:
        return _ClusterMatrix(self._spread, self._bundle, self._own[indices])

    def apply(self, function: Callable[[np.ndarray], np.ndarray], indices: RowIndices) -> np.ndarray:
        client, order, futures = self._spread.client, [], []
        shared = client.scatter([function], broadcast=True, hash=False)[0]
        for part, rows, positions in self._spread.iterate_parts(self._own[indices]):
            futures.append(client.submit(_apply, shared, part.file, part.rows[rows], self._bundle, pure=False))
            order.append(positions)
        return np.concatenate(client.gather(futures))[_restore_order(order)]

    def train_booster(  # noqa: PLR0913  # as that of a matrix in memory
        self,
        labels: np.ndarray,
        indices: RowIndices,
        *,
        categorical: Sequence[int],
        parameters: Mapping[str, Any],
        trees: int,
        offsets: np.ndarray | None = None,
        column: np.ndarray | None = None,
        callbacks: Callbacks = None,
    ) -> lgb.Booster:
        if callbacks:
            raise GarrisonError(
                "a cluster can't stop in the middle of a model", hint="Tune on one machine, on fewer rows"
            )
        # A worker bins and bags its own rows, by its place among all. So the same rows must come to the same place each
        # time, or the same data would give other trees: cutoffs go round, to workers in the order of their addresses.
        # LightGBM's own part for Dask leaves both to chance.
        client = self._spread.client
        parts = [*self._spread.iterate_parts(self._own[indices])]
        workers = sorted(client.ncores())[: len(parts)]
        network = {**parameters, **_find_network(client, workers)}
        futures = []
        for place, worker in enumerate(workers):
            share = parts[place :: len(workers)]
            positions = np.concatenate([positions for *_, positions in share])
            files = [(part.file, part.rows[rows]) for part, rows, _ in share]
            extra = (None if values is None else values[positions] for values in (offsets, column))
            answers = labels[indices[positions]], *extra
            [known] = client.scatter([answers], workers=[worker], hash=False)
            task = (network, trees, [*categorical], files, self._bundle, known)
            futures.append(client.submit(_train_share, place, *task, workers=[worker], pure=False))
        return lgb.Booster(model_str=client.gather(futures)[0])


def _find_network(client: Any, workers: list[str]) -> dict[str, Any]:
    """Return LightGBM's parameters for workers that learn together, each through a free port of its own."""
    machines: list[str] = []
    while len({*machines}) < len(workers):  # two on one machine may have found the same
        ports = client.gather([client.submit(_find_free_port, workers=[w], pure=False) for w in workers])
        machines = [f"{urlsplit(worker).hostname}:{port}" for worker, port in zip(workers, ports, strict=True)]
    return {"machines": ",".join(machines), "num_machines": len(machines), "tree_learner": "data"}


def _train_share(  # noqa: PLR0913, PLR0917  # what a worker is sent
    place: int,
    parameters: dict[str, Any],
    trees: int,
    categorical: list[int],
    files: list[tuple[Path, np.ndarray]],
    model: Model,
    answers: tuple[np.ndarray, np.ndarray | None, np.ndarray | None],
) -> str:
    """Learn together with the other workers, on this one: all get the same booster. Returns its text."""
    from distributed import get_worker

    labels, offsets, column = answers
    matrix = np.concatenate([_build_matrix(file, rows, model) for file, rows in files])
    matrix = matrix if column is None else np.column_stack([matrix, column])
    own = {"local_listen_port": int(parameters["machines"].split(",")[place].rpartition(":")[2])}
    own |= {"num_threads": get_worker().state.nthreads}
    data = lgb.Dataset(matrix, labels, init_score=offsets, categorical_feature=categorical)
    booster = lgb.train({**parameters, **own}, data, num_boost_round=trees)
    booster.free_network()
    # Who learned it through which port is no part of it.
    return re.sub(r"^\[(machines|local_listen_port): .*\n", "", booster.model_to_string(), flags=re.MULTILINE)


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def _find_rows(file: Path, accounts: pd.Series) -> _SnapshotPart:
    ids = pq.read_table(file, columns=["account_id"], partitioning=None)["account_id"].cast(pa.string())
    return _SnapshotPart(file.absolute(), np.flatnonzero(pc.is_in(ids, value_set=pa.array(accounts, pa.string()))))


def _iterate_batches(file: Path, columns: list[str]) -> Iterator[pa.Table]:
    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(_READ, columns=columns):
            yield pa.Table.from_batches([batch])


def _read_rows(file: Path, rows: np.ndarray, columns: list[str] | None = None) -> pd.DataFrame:
    return pq.read_table(file, columns=columns, partitioning=None).take(rows).to_pandas()


def _build_matrix(file: Path, rows: np.ndarray, model: Model) -> np.ndarray:
    return model.matrix(_read_rows(file, rows, [*model.inputs]))


def _apply(function: Callable[[np.ndarray], np.ndarray], file: Path, rows: np.ndarray, model: Model) -> np.ndarray:
    return function(_build_matrix(file, rows, model))


def _identity(matrix: np.ndarray) -> np.ndarray:
    return matrix


def _restore_order(order: list[np.ndarray]) -> np.ndarray:
    """Return the order that puts rows which came part by part back in place."""
    return np.argsort(np.concatenate(order)) if order else np.empty(0, dtype="int64")

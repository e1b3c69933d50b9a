"""Holds snapshots in memory once: a frame filled part by part, and the model's matrix of it, built in batches.

Five million rows of 150 features are 5.6 GiB. So no step may hold them twice: LightGBM bins what it is given in
batches, and every model is applied in batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

_AT_ONCE = 25_000  # rows

RowIndices = np.ndarray
Callbacks = list[Callable[..., Any]] | None


class Matrix:
    """Rows of a model's columns, built on demand: float64 in C order.

    Args:
        columns: (n,) float64 each; they stay where they are, in the frame that they are columns of.
        indices: (m,) the matrix's rows among the n; by default all, in their order.
    """

    def __init__(self, columns: Sequence[np.ndarray], indices: RowIndices | None = None) -> None:
        self._columns, self._places = columns, indices

    @classmethod
    def from_array(cls, matrix: np.ndarray) -> Self:
        """Build a matrix from a whole array, (n, features)."""
        return cls(list(matrix.T))

    def __len__(self) -> int:
        if self._places is not None:
            return len(self._places)
        return len(self._columns[0]) if self._columns else 0

    def __getitem__(self, indices: RowIndices) -> np.ndarray:
        """Return the rows at these indices, (k, features)."""
        indices = indices if self._places is None else self._places[indices]
        rows = np.empty((len(indices), len(self._columns)))
        for column, values in enumerate(self._columns):
            rows[:, column] = values[indices]
        return rows

    def select(self, indices: RowIndices) -> Matrix:
        """Return the rows at these indices as a matrix of their own, without copying them."""
        return Matrix(self._columns, indices if self._places is None else self._places[indices])

    def apply(self, function: Callable[[np.ndarray], np.ndarray], indices: RowIndices) -> np.ndarray:
        """Apply a function of rows, each by itself, to those at these indices: it returns one or more numbers a row.

        Args:
            function: Takes (k, features), gives (k,) or (k, m).
            indices: At least one.
        """
        parts = np.array_split(indices, -(-len(indices) // _AT_ONCE))
        return np.concatenate([function(self[part]) for part in parts])

    def train_booster(  # noqa: PLR0913  # all but the first two named
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
        """Train a booster on the rows at these indices, of which LightGBM keeps one byte a value and no more.

        Args:
            labels: (n,) of all rows.
            indices: Of the k rows to learn from.
            categorical: Columns that are codes of text.
            parameters: LightGBM's.
            trees: Their number.
            offsets: (k,) log-odds to start from, which are no part of the booster's own; default the base rate's.
            column: (k,) of one more feature, the last of the booster's.
            callbacks: Called after each tree.
        """
        given = {"init_score": offsets, "categorical_feature": [*categorical], "params": {"verbosity": -1}}
        rows = _Batches(self, indices, column, _find_idle(parameters))
        if len(indices) <= _AT_ONCE:
            data = lgb.Dataset(rows[: len(indices)], labels[indices], **given)
        else:
            data = _Binned(rows, labels[indices], **given)
        return lgb.train({**parameters}, data, num_boost_round=trees, callbacks=callbacks)


class _Batches(lgb.Sequence):
    """Rows of a matrix as LightGBM reads them: the rows of its sample one by one, ascending, then all in batches.

    Args:
        matrix: Of all rows.
        indices: Of the k rows.
        column: (k,) of one more feature, the last.
        idle: The columns that no tree may split by; they hold 0 here.
    """

    batch_size = _AT_ONCE

    def __init__(self, matrix: Matrix, indices: RowIndices, column: np.ndarray | None, idle: np.ndarray) -> None:
        self._matrix, self._places, self._column, self._idle = matrix, indices, column, idle
        self._start, self._batch = -1, np.empty((0, 0))

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, asked: int | slice) -> np.ndarray:
        if isinstance(asked, slice):
            return self._read(asked)
        start = int(asked) - int(asked) % self.batch_size
        if start != self._start:
            self._start, self._batch = start, self._read(slice(start, start + self.batch_size))
        return self._batch[int(asked) - start]

    def _read(self, asked: slice) -> np.ndarray:
        rows = self._matrix[self._places[asked]]
        # Where all its values are equal, no tree wastes time on a column that none may split by.
        rows[:, self._idle] = 0.0
        return rows if self._column is None else np.column_stack([rows, self._column[asked]])


def _find_idle(parameters: Mapping[str, Any]) -> np.ndarray:
    """Return the columns whose gain counts nothing, so that no tree splits by them."""
    return np.flatnonzero(np.asarray(parameters.get("feature_contri", ())) == 0)


class _Binned(lgb.Dataset):
    """A LightGBM dataset that is binned as the same rows given as one matrix."""

    def get_params(self) -> dict[str, Any]:
        # Of rows in batches LightGBM otherwise forgets two: it samples by another seed than `seed`, and leaves
        # columns out by another number than `min_data_in_leaf`.
        return dict(self.params or {})


def sample_rows(indices: RowIndices, number: int, *, seed: int) -> RowIndices:
    """Draw so many of the indices at random: the rows that `DataFrame.sample` draws."""
    return pd.Series(indices).sample(number, random_state=seed).to_numpy()


def join_snapshots(parts: Iterable[pa.Table], members: pd.DataFrame) -> pd.DataFrame:
    """Join the members' snapshots to one frame; no more than one part is in memory beside it.

    Args:
        parts: Snapshots, of one `as_of` each; at least one part.
        members: account_id, as_of of those wanted, none twice.

    Returns:
        The columns of the parts in their order; each lies by itself, so that it can be read without a copy.
    """
    wanted = {as_of: pa.array(ids, pa.string()) for as_of, ids in members.groupby("as_of")["account_id"]}
    number_columns: dict[str, np.ndarray] = {}
    other_columns: dict[str, list[pa.ChunkedArray]] = {}
    names: list[str] = []
    count = 0
    for part in parts:
        if names and part.column_names != names:
            message = f"snapshots differ in their columns: {sorted({*names} ^ {*part.column_names})}"
            raise ValueError(message)
        names, rows = part.column_names, _find_wanted_rows(part, wanted)
        for name, column in zip(names, part.columns, strict=True):
            if pa.types.is_floating(column.type):
                # As long as it may get: what is never written to takes no memory.
                whole = number_columns.setdefault(name, np.empty(len(members)))
                whole[count : count + len(rows)] = column.to_numpy()[rows]
            else:
                other_columns.setdefault(name, []).append(column.take(pa.array(rows)))
        count += len(rows)
    columns = {
        name: number_columns[name][:count] if name in number_columns else _join_chunks(other_columns[name])
        for name in names
    }
    return pd.DataFrame(columns, copy=False)


def _find_wanted_rows(part: pa.Table, wanted: Mapping[Any, pa.Array]) -> np.ndarray:
    """Return the indices of the wanted accounts' rows in a part."""
    if not part.num_rows:
        return np.empty(0, dtype="int64")
    ids = wanted.get(part["as_of"][0].as_py(), pa.array([], pa.string()))
    return np.flatnonzero(pc.is_in(part["account_id"].cast(pa.string()), value_set=ids).to_numpy())


def _join_chunks(columns: list[pa.ChunkedArray]) -> pd.Series:
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], columns[0].type).to_pandas()

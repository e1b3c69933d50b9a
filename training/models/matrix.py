"""Snapshots in memory once: a frame filled part by part, and the model's matrix of it, made some rows at a time.

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
    """Rows of a model's columns: float64 in C order, when they are asked for.

    Args:
        columns: (n,) float64 each; they stay where they are, in the frame that they are columns of.
        places: (m,) the matrix's rows among the n; by default all, in their order.
    """

    def __init__(self, columns: Sequence[np.ndarray], places: RowIndices | None = None) -> None:
        self._columns, self._places = columns, places

    @classmethod
    def of(cls, matrix: np.ndarray) -> Self:
        """One that is there as a whole, (n, features)."""
        return cls(list(matrix.T))

    def __len__(self) -> int:
        if self._places is not None:
            return len(self._places)
        return len(self._columns[0]) if self._columns else 0

    def __getitem__(self, places: RowIndices) -> np.ndarray:
        """(k, features): the rows at these places."""
        places = places if self._places is None else self._places[places]
        rows = np.empty((len(places), len(self._columns)))
        for column, values in enumerate(self._columns):
            rows[:, column] = values[places]
        return rows

    def only(self, places: RowIndices) -> Matrix:
        """The rows at these places as a matrix of their own, without a copy of them."""
        return Matrix(self._columns, places if self._places is None else self._places[places])

    def applied(self, function: Callable[[np.ndarray], np.ndarray], places: RowIndices) -> np.ndarray:
        """What a function of rows, each by itself, makes of those at these places: one or more numbers a row.

        Args:
            function: Takes (k, features), gives (k,) or (k, m).
            places: At least one.
        """
        parts = np.array_split(places, -(-len(places) // _AT_ONCE))
        return np.concatenate([function(self[part]) for part in parts])

    def booster(  # noqa: PLR0913  # all but the first two named
        self,
        answers: np.ndarray,
        places: RowIndices,
        *,
        coded: Sequence[int],
        parameters: Mapping[str, Any],
        trees: int,
        callbacks: Callbacks = None,
    ) -> lgb.Booster:
        """Trained on the rows at these places, of which LightGBM keeps one byte a value and no more.

        Args:
            answers: (n,) labels of all rows.
            places: To learn from.
            coded: Columns that are codes of text.
            parameters: LightGBM's.
            trees: Their number.
            callbacks: Called after each tree.
        """
        data = _Binned(_Batches(self, places), answers[places], categorical_feature=[*coded], params={"verbosity": -1})
        return lgb.train({**parameters}, data, num_boost_round=trees, callbacks=callbacks)


class _Batches(lgb.Sequence):
    """Rows of a matrix as LightGBM reads them: those of its sample one by one, ascending, then all in batches."""

    batch_size = _AT_ONCE

    def __init__(self, matrix: Matrix, places: RowIndices) -> None:
        self._matrix, self._places = matrix, places
        self._start, self._batch = -1, np.empty((0, 0))

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, asked: int | slice) -> np.ndarray:
        if isinstance(asked, slice):
            return self._matrix[self._places[asked]]
        start = int(asked) - int(asked) % self.batch_size
        if start != self._start:
            self._start, self._batch = start, self._matrix[self._places[start : start + self.batch_size]]
        return self._batch[int(asked) - start]


class _Binned(lgb.Dataset):
    """Binned as the same rows given as one matrix are."""

    def get_params(self) -> dict[str, Any]:
        # Of rows in batches LightGBM otherwise forgets two: it samples by another seed than `seed`, and leaves
        # columns out by another number than `min_data_in_leaf`.
        return dict(self.params or {})


def sample_rows(places: RowIndices, number: int, *, seed: int) -> RowIndices:
    """So many of the places at random, those of the rows that `DataFrame.sample` gives."""
    return pd.Series(places).sample(number, random_state=seed).to_numpy()


def join_snapshots(parts: Iterable[pa.Table], members: pd.DataFrame) -> pd.DataFrame:
    """The members' snapshots as one frame; no more than a part is in memory beside it.

    Args:
        parts: Snapshots, of one `as_of` each; at least one part.
        members: account_id, as_of of those wanted, none twice.

    Returns:
        The columns of the parts in their order; each lies by itself, so that it can be read without a copy.
    """
    wanted = {as_of: pa.array(ids, pa.string()) for as_of, ids in members.groupby("as_of")["account_id"]}
    numbers: dict[str, np.ndarray] = {}
    others: dict[str, list[pa.ChunkedArray]] = {}
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
                whole = numbers.setdefault(name, np.empty(len(members)))
                whole[count : count + len(rows)] = column.to_numpy()[rows]
            else:
                others.setdefault(name, []).append(column.take(pa.array(rows)))
        count += len(rows)
    columns = {name: numbers[name][:count] if name in numbers else _join_chunks(others[name]) for name in names}
    return pd.DataFrame(columns, copy=False)


def _find_wanted_rows(part: pa.Table, wanted: Mapping[Any, pa.Array]) -> np.ndarray:
    """The places of the wanted accounts' rows in a part."""
    if not part.num_rows:
        return np.empty(0, dtype="int64")
    ids = wanted.get(part["as_of"][0].as_py(), pa.array([], pa.string()))
    return np.flatnonzero(pc.is_in(part["account_id"].cast(pa.string()), value_set=ids).to_numpy())


def _join_chunks(columns: list[pa.ChunkedArray]) -> pd.Series:
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], columns[0].type).to_pandas()

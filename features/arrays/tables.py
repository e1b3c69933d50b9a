"""Facts of a few accounts worked out on arrays: by the same Ibis expressions that are SQL to a database, without one.

A database takes milliseconds to plan a query, however few its rows. Whatever `features.arrays.kernels` can't tell
exactly as the database does is `Beyond` it, and the database is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ibis.expr.operations as ops
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from features.arrays.formulas import Kernel, Program
from features.arrays.kernels import TEXTS, NotVectorizable, TextCodes, check_exact, find_kernel, find_kind

NUMBERED = "numbered_"  # before the name of a table whose accounts are numbers
_WHERE = "/where"
_THROUGH = (ops.Project, ops.Filter, ops.DropColumns)


class ArrayTables:
    """Canonical tables of a few accounts, each column an array once it is asked for.

    Args:
        tables: By name, with the columns of the contract and `account_no`, the account's number.
    """

    def __init__(self, tables: Mapping[str, pa.Table]) -> None:
        self.tables = tables
        self.texts = TextCodes()
        self._columns: dict[tuple[str, str], np.ndarray] = {}

    def column(self, table: str, name: str) -> np.ndarray:
        """One column, (n,) float64; `account_id` are the accounts' numbers.

        Raises:
            Beyond: float64 does not hold its numbers.
        """
        if (table, name) not in self._columns:
            column = self.tables[table]["account_no" if name == "account_id" else name]
            self._columns[table, name] = self._floats(column.combine_chunks())
        return self._columns[table, name]

    def _floats(self, column: pa.Array) -> np.ndarray:
        if pa.types.is_string(column.type):
            encoded = column.dictionary_encode()
            codes = [self.texts.code(text) for text in encoded.dictionary.to_pylist()] or [0]
            floats = np.array(codes, dtype="float64")[encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)]
        else:
            flags = pa.types.is_boolean(column.type)
            floats = check_exact(to_whole_numbers(column.cast("int8") if flags else column, 0).astype("float64"))
        if column.null_count:
            floats[column.is_null().to_numpy(zero_copy_only=False)] = np.nan
        return floats


class ArrayQuery:
    """A table expression on arrays: one numbered canonical table, filtered, projected, and grouped with sums.

    Args:
        table: Over the unbound table `numbered_…`; its columns are whole numbers, decimals, flags and text.

    Raises:
        Beyond: It does anything else.
    """

    def __init__(self, table: ir.Table) -> None:
        self._stages: list[_Stage] = []
        below, wanted = table.op(), {name: table[name].op() for name in table.columns}
        if {find_kind(node) for node in wanted.values()} - {"whole", "decimal", "flag", "text"}:
            raise NotVectorizable
        while below is not None:
            stage = _Stage(below, wanted)
            self._stages.insert(0, stage)
            below, wanted = stage.below, stage.wanted

    def run(self, tables: ArrayTables) -> dict[str, np.ndarray]:
        """The columns, (n,) float64 each, NaN for null; rows in an order of their own.

        Raises:
            Beyond: The rows hold what arrays can't tell exactly.
        """
        found: dict[str, np.ndarray] = {}
        for stage in self._stages:
            found = stage.run(found, tables)
        return found


class _Stage:
    """What filters and projections make of a table, or of the groups of what is below.

    Attributes:
        below: What the groups are of; None for a table.
        wanted: What they need of it, by name.
    """

    def __init__(self, relation: ops.Node, wanted: Mapping[str, ops.Node]) -> None:
        conditions: list[ops.Node] = []
        while isinstance(relation, _THROUGH):
            conditions += relation.predicates if isinstance(relation, ops.Filter) else ()
            relation = relation.parent
        self.below: ops.Node | None = None
        self.wanted: dict[str, ops.Node] = {}
        self._sums: frozenset[str] = frozenset()
        self._table = str(getattr(relation, "name", ""))
        if isinstance(relation, ops.Aggregate) and relation.groups:
            self.below, self._sums = relation.parent, frozenset(relation.metrics)
            self.wanted = {**relation.groups, **{name: _added_up(node) for name, node in relation.metrics.items()}}
        elif not (isinstance(relation, ops.UnboundTable) and self._table.startswith(NUMBERED)):
            raise NotVectorizable
        self._conditions = {f"{_WHERE}{n}": node for n, node in enumerate(conditions)}
        self._program = _Program({**wanted, **self._conditions}, relation)

    def run(self, below: Mapping[str, np.ndarray], tables: ArrayTables) -> dict[str, np.ndarray]:
        table = self._table.removeprefix(NUMBERED)
        given = _Given(tables, table) if self.below is None else _grouped(below, self._sums)
        number = tables.tables[table].num_rows if self.below is None else len(next(iter(given.values())))
        given[TEXTS] = tables.texts
        found = {name: _of(values, number) for name, values in self._program.run(given).items()}
        if not self._conditions:
            return found
        kept = np.logical_and.reduce([found.pop(name) == 1 for name in self._conditions])
        return {name: values[kept] for name, values in found.items()}


def _of(values: Any, number: int) -> np.ndarray:
    """One for each row, where it is one for all."""
    return values if np.ndim(values) else np.full(number, values)


class _Given(dict[str, Any]):
    """The columns of a table, as a program asks for them."""

    def __init__(self, tables: ArrayTables, table: str) -> None:
        super().__init__()
        self._tables, self._table = tables, table

    def __missing__(self, name: str) -> np.ndarray:
        return self._tables.column(self._table, name)


class _Program(Program):
    """Values and conditions over the columns of a table, or of groups."""

    def __init__(self, nodes: Mapping[str, ops.Node], base: ops.Node) -> None:
        self._base = base
        super().__init__({name: node.to_expr() for name, node in nodes.items()})

    def _place(self, node: ops.Node | str, places: dict[ops.Node | str, int], name: str) -> int:
        while isinstance(node, ops.Field) and isinstance(node.rel, _THROUGH):
            node = node.rel.values[node.name]
        return super()._place(node, places, name)

    def _work(self, node: ops.Node | str, name: str) -> tuple[Kernel | str, Sequence[ops.Node | str]]:
        if isinstance(node, ops.Field) and (node.rel != self._base or find_kind(node) == "other"):
            raise NotVectorizable
        return super()._work(node, name) if isinstance(node, str | ops.Field) else find_kernel(node)


def _added_up(node: ops.Node) -> ops.Node:
    """What a sum is of."""
    if isinstance(node, ops.Sum) and node.where is None and find_kind(node.arg) in {"whole", "decimal"}:
        return node.arg
    raise NotVectorizable


def _grouped(columns: Mapping[str, np.ndarray], sums: frozenset[str]) -> dict[str, Any]:
    """Groups of rows that are alike but in what is added up; null is like null."""
    group: Any = 0
    for name in columns.keys() - sums:
        each, code = np.unique(columns[name], return_inverse=True)
        group = np.unique(group * len(each) + code, return_inverse=True)[1]
    _, first = np.unique(group, return_index=True)
    return {
        name: _sums(values, group, len(first)) if name in sums else values[first] for name, values in columns.items()
    }


def _sums(values: np.ndarray, group: np.ndarray, number: int) -> np.ndarray:
    there = ~np.isnan(values)
    group, values = group[there], values[there]
    check_exact(np.bincount(group, np.abs(values), number))  # then so is every sum on the way
    return np.where(np.bincount(group, minlength=number) > 0, np.bincount(group, values, number), np.nan)


def to_whole_numbers(column: pa.Array, nothing: int) -> np.ndarray:
    """Whole numbers, and decimals as whole ten-thousandths, int64; `nothing` where null."""
    if pa.types.is_decimal128(column.type):
        # The lower of the two words that each is held in: it is one of 18 digits.
        words = np.frombuffer(column.buffers()[1], dtype="int64")[::2]
        numbers = words[column.offset : column.offset + len(column)].copy()
        if column.null_count:
            numbers[column.is_null().to_numpy(zero_copy_only=False)] = nothing
        return numbers
    column = column.fill_null(nothing) if column.null_count else column
    return column.to_numpy(zero_copy_only=False).astype("int64", copy=False)

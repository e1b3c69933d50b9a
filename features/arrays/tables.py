"""Facts of a few accounts computed on arrays: the same Ibis expressions that are SQL for a database, without one.

A database takes milliseconds to plan a query, however few its rows. Where arrays may give another value than the
database, they raise `NotVectorizable`, and the database is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ibis.expr.operations as ops
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from features.arrays.formulas import Kernel, Program
from features.arrays.kernels import TEXTS, find_kernel
from features.arrays.kinds import Kind, NotVectorizable, TextCodes, check_exact, find_kind

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
        """Return one column, (n,) float64; `account_id` are the accounts' numbers.

        Raises:
            NotVectorizable: float64 does not hold its numbers.
        """
        if (table, name) not in self._columns:
            column = self.tables[table]["account_no" if name == "account_id" else name]
            self._columns[table, name] = self._to_floats(column.combine_chunks())
        return self._columns[table, name]

    def _to_floats(self, column: pa.Array) -> np.ndarray:
        if pa.types.is_string(column.type):
            encoded = column.dictionary_encode()
            codes = [self.texts.encode(text) for text in encoded.dictionary.to_pylist()] or [0]
            floats = np.array(codes, dtype="float64")[encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)]
        else:
            column = column.cast("int8") if pa.types.is_boolean(column.type) else column
            floats = check_exact(to_whole_numbers(column, 0).astype("float64"))
        if column.null_count:
            floats[column.is_null().to_numpy(zero_copy_only=False)] = np.nan
        return floats


class ArrayQuery:
    """A table expression compiled for arrays: one numbered canonical table, filtered, projected, grouped with sums.

    Args:
        table: Over the unbound table `numbered_…`; its columns are whole numbers, decimals, flags and text.

    Raises:
        NotVectorizable: The expression does anything else.
    """

    def __init__(self, table: ir.Table) -> None:
        self._stages: list[_Stage] = []
        below, wanted = table.op(), {name: table[name].op() for name in table.columns}
        if {find_kind(node) for node in wanted.values()} - {Kind.WHOLE, Kind.DECIMAL, Kind.FLAG, Kind.TEXT}:
            raise NotVectorizable
        while below is not None:
            stage = _Stage(below, wanted)
            self._stages.insert(0, stage)
            below, wanted = stage.below, stage.wanted

    def run(self, tables: ArrayTables) -> dict[str, np.ndarray]:
        """Return the columns, (n,) float64 each, NaN for null; the rows are in no order.

        Raises:
            NotVectorizable: The rows hold values that arrays can't compute exactly.
        """
        columns: dict[str, np.ndarray] = {}
        for stage in self._stages:
            columns = stage.run(columns, tables)
        return columns


class _Stage:
    """Filters and projections of a table, or of the groups of the stage below.

    Attributes:
        below: The relation that is grouped; None for a canonical table.
        wanted: The columns that the groups need of it, by name.
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
            self.wanted = {**relation.groups, **{name: _get_summed(node) for name, node in relation.metrics.items()}}
        elif not (isinstance(relation, ops.UnboundTable) and self._table.startswith(NUMBERED)):
            raise NotVectorizable
        self._conditions = {f"{_WHERE}{n}": node for n, node in enumerate(conditions)}
        self._program = _Program({**wanted, **self._conditions}, relation)

    def run(self, below: Mapping[str, np.ndarray], tables: ArrayTables) -> dict[str, np.ndarray]:
        """Return the columns of the rows that fulfil all conditions; `below` are those of the stage below."""
        table = self._table.removeprefix(NUMBERED)
        inputs = _LazyColumns(tables, table) if self.below is None else _group(below, self._sums)
        count = tables.tables[table].num_rows if self.below is None else len(next(iter(inputs.values())))
        inputs[TEXTS] = tables.texts
        columns = {name: _fill_rows(values, count) for name, values in self._program.run(inputs).items()}
        if not self._conditions:
            return columns
        matches = np.logical_and.reduce([columns.pop(name) == 1 for name in self._conditions])
        return {name: values[matches] for name, values in columns.items()}


def _fill_rows(values: Any, count: int) -> np.ndarray:
    """Return one value for each row, where there is one for all."""
    return values if np.ndim(values) else np.full(count, values)


class _LazyColumns(dict[str, Any]):
    """The columns of a table, each made when a program asks for it."""

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

    def _find_kernel(self, node: ops.Node | str, name: str) -> tuple[Kernel | str, Sequence[ops.Node | str]]:
        if isinstance(node, ops.Field) and (node.rel != self._base or find_kind(node) == Kind.OTHER):
            raise NotVectorizable
        return super()._find_kernel(node, name) if isinstance(node, str | ops.Field) else find_kernel(node)


def _get_summed(node: ops.Node) -> ops.Node:
    """Return the expression that a sum adds up.

    Raises:
        NotVectorizable: The node is no plain sum of whole numbers or decimals.
    """
    if isinstance(node, ops.Sum) and node.where is None and find_kind(node.arg) in {Kind.WHOLE, Kind.DECIMAL}:
        return node.arg
    raise NotVectorizable


def _group(columns: Mapping[str, np.ndarray], sums: frozenset[str]) -> dict[str, Any]:
    """Return one row for each group of rows that differ in nothing but what is added up; null equals null."""
    group: Any = 0
    for name in columns.keys() - sums:
        different, code = np.unique(columns[name], return_inverse=True)
        group = np.unique(group * len(different) + code, return_inverse=True)[1]
    _, first = np.unique(group, return_index=True)
    return {
        name: _sum_groups(values, group, len(first)) if name in sums else values[first]
        for name, values in columns.items()
    }


def _sum_groups(values: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    is_present = ~np.isnan(values)
    group, values = group[is_present], values[is_present]
    check_exact(np.bincount(group, np.abs(values), count))  # then every partial sum is exact too
    return np.where(np.bincount(group, minlength=count) > 0, np.bincount(group, values, count), np.nan)


def to_whole_numbers(column: pa.Array, nothing: int) -> np.ndarray:
    """Return whole numbers, and decimals as whole ten-thousandths, int64; `nothing` where null."""
    if pa.types.is_decimal128(column.type):
        # A decimal of 18 digits fits the lower of its two 64-bit words.
        words = np.frombuffer(column.buffers()[1], dtype="int64")[::2]
        numbers = words[column.offset : column.offset + len(column)].copy()
        if column.null_count:
            numbers[column.is_null().to_numpy(zero_copy_only=False)] = nothing
        return numbers
    column = column.fill_null(nothing) if column.null_count else column
    return column.to_numpy(zero_copy_only=False).astype("int64", copy=False)

"""Rows of one account selected and projected in plain Python, by the Ibis expressions that are SQL for a database.

A database takes milliseconds to plan a query, however few its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import ibis.expr.operations as ops
import ibis.expr.types as ir

from features.rows.expressions import FUNCTIONS, Statements
from features.rows.kinds import Kind, NotComputable, find_kind
from features.rows.values import EXACT

NUMBERED = "numbered_"  # before the name of a table whose accounts are numbers
_THROUGH = (ops.Project, ops.Filter, ops.DropColumns)

Row = Mapping[str, Any]
Columns = dict[str, list[Any]]


class RowQuery:
    """A table expression compiled to Python: one numbered canonical table, filtered, projected, grouped with sums.

    Args:
        table: Over the unbound table `numbered_…`; its columns are whole numbers, decimals, flags and text.

    Raises:
        NotComputable: The expression does anything else.
    """

    def __init__(self, table: ir.Table) -> None:
        self._stages: list[_Stage] = []
        below, wanted = table.op(), {name: table[name].op() for name in table.columns}
        if {find_kind(node) for node in wanted.values()} - {Kind.WHOLE, Kind.DECIMAL, Kind.FLAG, Kind.TEXT}:
            raise NotComputable
        while below is not None:
            stage = _Stage(below, wanted)
            self._stages.insert(0, stage)
            below, wanted = stage.below, stage.wanted
        self.table = self._stages[0].table

    def run(self, rows: Sequence[Row]) -> Columns:
        """Return the columns of the rows of one account, null as None, decimals as whole ten-thousandths.

        Args:
            rows: Of the canonical table, in any order; instants in whole µs, decimals as Decimal.

        Raises:
            NotComputable: They hold values that Python may not compute as the database does.
        """
        columns = self._stages[0].select(rows)
        for stage in self._stages[1:]:
            columns = stage.select(_group(columns, stage.sums))
        return columns


class _Stage:
    """Filters and projections of a table, or of the groups of the stage below.

    Attributes:
        below: The relation that is grouped; None for a canonical table.
        wanted: The columns that the groups need of it, by name.
        sums: Those of them that are added up.
        table: The canonical table; that of no name for groups.
        select: Returns the columns of the rows that fulfil all conditions.
    """

    def __init__(self, relation: ops.Node, wanted: Mapping[str, ops.Node]) -> None:
        conditions: list[ops.Node] = []
        while isinstance(relation, _THROUGH):
            conditions += relation.predicates if isinstance(relation, ops.Filter) else ()
            relation = relation.parent
        self.below: ops.Node | None = None
        self.wanted: dict[str, ops.Node] = {}
        self.sums: frozenset[str] = frozenset()
        name = str(getattr(relation, "name", ""))
        self.table = name.removeprefix(NUMBERED)
        if isinstance(relation, ops.Aggregate) and relation.groups:
            self.below, self.sums = relation.parent, frozenset(relation.metrics)
            self.wanted = {**relation.groups, **{name: _get_summed(node) for name, node in relation.metrics.items()}}
        elif not (isinstance(relation, ops.UnboundTable) and name.startswith(NUMBERED)):
            raise NotComputable
        self.select = _compile(relation, conditions, wanted, is_table=self.below is None)


def _compile(
    base: ops.Node, conditions: Sequence[ops.Node], wanted: Mapping[str, ops.Node], *, is_table: bool
) -> Callable[[Iterable[Row]], Columns]:
    """Compile a loop over rows that keeps the wanted values of those that fulfil all conditions."""
    statements = Statements(base, _THROUGH, is_table=is_table)
    for condition in conditions:
        statements.lines.append(f"if {statements.write(condition)} is not True: continue")
    # Written in full first: the names of values are those of their statements.
    names = {column: statements.write(node) for column, node in wanted.items()}
    keep = [f"keep_{n}({name})" for n, name in enumerate(names.values())]
    lines = [
        "def select(rows):",
        f"    {''.join(f'c{n}, ' for n in range(len(names)))}= {'[], ' * len(names)}",
        *(f"    keep_{n} = c{n}.append" for n in range(len(names))),
        "    for row in rows:",
        *(f"        {line}" for line in [*statements.lines, *keep]),
        f"    return {{{', '.join(f'{column!r}: c{n}' for n, column in enumerate(names))}}}",
    ]
    made: dict[str, Any] = dict(FUNCTIONS)
    exec("\n".join(lines), made)  # noqa: S102  # our own text, where names and literals are quoted
    compiled: Callable[[Iterable[Row]], Columns] = made["select"]
    return compiled


def _get_summed(node: ops.Node) -> ops.Node:
    """Return the expression that a sum adds up.

    Raises:
        NotComputable: The node is no plain sum of whole numbers or decimals.
    """
    if isinstance(node, ops.Sum) and node.where is None and find_kind(node.arg) in {Kind.WHOLE, Kind.DECIMAL}:
        return node.arg
    raise NotComputable


def _group(columns: Columns, sums: frozenset[str]) -> list[dict[str, Any]]:
    """Return one row for each group of rows that differ in nothing but what is added up; null equals null."""
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    keys = columns.keys() - sums
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        group = groups.setdefault(tuple(row[name] for name in keys), row)
        if group is not row:
            for name in sums:
                group[name] = _add(group[name], row[name])
    return list(groups.values())


def _add(x: int | None, y: int | None) -> int | None:
    """Add whole numbers, of which null is none.

    Raises:
        NotComputable: A float may not hold the sum.
    """
    if x is None or y is None:
        return y if x is None else x
    total = x + y
    if not -EXACT < total < EXACT:
        raise NotComputable
    return total

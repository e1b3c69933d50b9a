"""The facts of a stream as arrays: read from the canonical tables, in the order of account and instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from features.core.errors import GarrisonError
from features.definitions.feature import Measure, Stream, WindowedMeasure
from features.definitions.sql_expression import declare_numbered_table
from features.rows.kinds import MONEY, NotComputable
from features.rows.queries import RowQuery
from features.sources.history import History

NOTHING = {"min": 2**63 - 1, "max": -(2**63)}  # stands for null where the least or the most is asked


@dataclass(frozen=True)
class Facts:
    """The facts of one stream, in the order of account and instant.

    Args:
        account: (n,) whole, the account's place, from 0.
        t: (n,) int64, the fact's instant, µs.
        known: (n,) int64, when it became known, µs.
        until: (n,) int64, the last instant at which it counts, µs; None for a stream of facts that stay.
        values: By measure's name, (n,) whole: what is added up, 0 where nothing is; what the least or most is
            asked of, `NOTHING` where null; a code for each different value, -1 where null. A count of all facts,
            and the least and most instant, need none.
        scale: By measure's name, what its whole numbers are divided by at the end, where that isn't 1.
    """

    account: np.ndarray
    t: np.ndarray
    known: np.ndarray
    until: np.ndarray | None
    values: Mapping[str, np.ndarray]
    scale: Mapping[str, int]

    def __getitem__(self, rows: np.ndarray) -> Facts:
        """Return some of the rows."""
        return replace(
            self,
            account=self.account[rows],
            t=self.t[rows],
            known=self.known[rows],
            until=None if self.until is None else self.until[rows],
            values={name: column[rows] for name, column in self.values.items()},
        )


def read_facts(
    history: History, stream: Stream, asks: Sequence[WindowedMeasure], *, accounts: tuple[int, int], since: int
) -> Facts:
    """Read the facts of some accounts.

    Args:
        history: Of the company.
        stream: Which facts.
        asks: What is measured on them.
        accounts: Numbers of the first and of the last account.
        since: Earlier facts are not asked for, µs.

    Raises:
        GarrisonError: A sum could leave the whole numbers that 64 bits hold.
    """
    measures = tuple({a.measure.name: a.measure for a in asks}.values())
    how, plan = {m.name: m.how for m in measures}, plan_query(stream, measures)
    columns = _in_python(history, plan, how, accounts=accounts, since=since)
    if columns is None:
        columns = _in_sql(history, plan, how, accounts=accounts, since=since)
    account, t = columns.pop("account_id") - accounts[0], columns.pop("t")
    facts = Facts(account, t, columns.pop("known"), columns.pop("until", None), columns, plan.scale)
    same = account[1:] == account[:-1]
    if not ((account[1:] > account[:-1]) | (same & (t[1:] >= t[:-1]))).all():
        facts = facts[np.lexsort((t, account))]
    _refuse_too_large(facts, stream, measures)
    return facts


def _in_sql(
    history: History, plan: QueryPlan, how: Mapping[str, str], *, accounts: tuple[int, int], since: int
) -> dict[str, np.ndarray]:
    table = history.query_arrow(plan.sql, first=accounts[0], last=accounts[1], since=since)
    return {
        name: _codes(table[name])
        if how.get(name) == "distinct"
        else _to_whole_numbers(table[name].combine_chunks(), NOTHING.get(how.get(name, ""), 0))
        for name in table.column_names
    }


def _in_python(
    history: History, plan: QueryPlan, how: Mapping[str, str], *, accounts: tuple[int, int], since: int
) -> dict[str, np.ndarray] | None:
    """Compute the facts of a few accounts without the database; return None if only that computes them exactly."""
    if history.rows is None or plan.rows is None:
        return None
    posted = history.rows.by_account[accounts[0] : accounts[1] + 1]
    try:
        columns = plan.rows.run([])
        for number, rows in enumerate(posted, accounts[0]):
            found = plan.rows.run(rows[plan.rows.table])
            found["account_id"] = [number] * len(found["t"])
            for name in columns:
                columns[name] += found[name]
    except NotComputable:
        return None
    arrays = {name: _to_array(values, how.get(name, "")) for name, values in columns.items()}
    is_wanted = arrays["t"] >= since
    return arrays if is_wanted.all() else {name: values[is_wanted] for name, values in arrays.items()}


def _to_array(values: list[Any], how: str) -> np.ndarray:
    """Return values as `Facts` has them."""
    if how == "distinct":
        codes = {value: code for code, value in enumerate(dict.fromkeys(values))} | {None: -1}
        values = [codes[value] for value in values]
    nothing = NOTHING.get(how, 0)
    return np.array([nothing if value is None else value for value in values], dtype="int64")


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    """Return a number from 0 for each different value, -1 for null."""
    codes = column.combine_chunks().dictionary_encode()
    return codes.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype("int64")


def _refuse_too_large(facts: Facts, stream: Stream, measures: Sequence[Measure]) -> None:
    """Raise an error if a sum could leave 64 bits: it would be wrong, and nobody would see it."""
    most = int(np.bincount(facts.account).max(initial=0))
    for m in measures:
        values = facts.values.get(m.name)
        if m.how == "sum" and values is not None and len(values):
            largest = max(int(values.max()), -int(values.min()))
            if largest * most >= 2**63:
                raise GarrisonError(
                    f"{stream.table} has a {m.column} too large to be added up",
                    found=f"up to {largest // facts.scale.get(m.name, 1):,} in each of up to {most:,} rows an account",
                    hint=f"Correct it at the source, or map {m.column} in larger units",
                )


@dataclass(frozen=True)
class QueryPlan:
    """The queries that read a stream's facts.

    Args:
        sql: By the database, from the accounts' numbers `$first` to `$last`, not before `$since`.
        rows: In Python, of one account; None for what it can't tell.
        scale: As facts have it.
    """

    sql: str
    rows: RowQuery | None
    scale: Mapping[str, int]


@cache
def plan_query(stream: Stream, measures: tuple[Measure, ...]) -> QueryPlan:
    """Plan how the facts of a stream are read with the values of some measures."""
    rows = stream.rows(declare_numbered_table(stream.table))
    columns = {"account_id": rows.account_id, "t": rows.t, "known": rows.known}
    columns |= {"until": rows.until} if "until" in rows.columns else {}
    values, scale = {}, {}
    for m in measures:
        column = rows[m.column] if m.column in rows.columns else None
        if column is None or (m.column == "t" and m.where is None):
            continue
        if m.how in {"sum", "min", "max"} and column.type().is_decimal():
            scale[m.name] = MONEY
        values[m.name] = _value(m, column, m.where(rows).fill_null(False) if m.where else None)
    hashed = {name: _hash(v) if v.type().is_string() else v for name, v in values.items()}
    sql = ibis.to_sql(rows.select(**columns, **hashed), dialect="duckdb")
    one = "SELECT * EXCLUDE (account_id, account_no), account_no AS account_id"
    numbers = f"{one} FROM {stream.table} WHERE account_no BETWEEN $first AND $last"
    sql = f"WITH numbered_{stream.table} AS ({numbers}) SELECT * FROM ({sql}) WHERE t >= $since"
    return QueryPlan(sql, _rows(rows.select(**columns, **values)), scale)


def _rows(table: ir.Table) -> RowQuery | None:
    try:
        return RowQuery(table)
    except NotComputable:
        return None


def _to_whole_numbers(column: pa.Array, nothing: int) -> np.ndarray:
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


def _value(measure: Measure, column: ir.Value, where: ir.BooleanValue | None) -> ir.Value:
    if measure.how == "count":
        there = column.notnull()
        return (there if where is None else there & where).cast("int8")
    return column if where is None else where.ifelse(column, ibis.null(column.type()))


def _hash(text: ir.Value) -> ir.Value:
    """Return the 64-bit hash of text: it costs a tenth, and the values of one account do not collide."""
    return text.notnull().ifelse(text.hash().cast("int64"), ibis.null("int64"))

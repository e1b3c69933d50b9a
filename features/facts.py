"""The facts of a stream as arrays: read from the canonical tables, in the order of account and instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from features.definition import Ask, Measure, Stream
from features.errors import GarrisonError
from features.expression import numbered
from features.history import History

NOTHING = {"min": 2**63 - 1, "max": -(2**63)}  # stands for null where the least or the most is asked
_MONEY = 10_000  # decimals have four places


@dataclass(frozen=True)
class Facts:
    """The facts of one stream, in the order of account and instant.

    Args:
        account: (n,) int64, the account's place, from 0.
        t: (n,) int64, the fact's instant, µs.
        known: (n,) int64, when it became known, µs.
        until: (n,) int64, the last instant at which it counts, µs; None for a stream of facts that stay.
        values: By measure's name, (n,) int64: what is added up, 0 where nothing is; what the least or most is
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
        """Some of the rows."""
        return replace(
            self,
            account=self.account[rows],
            t=self.t[rows],
            known=self.known[rows],
            until=None if self.until is None else self.until[rows],
            values={name: column[rows] for name, column in self.values.items()},
        )


def read(history: History, stream: Stream, asks: Sequence[Ask], *, accounts: tuple[int, int], since: int) -> Facts:
    """The facts of some accounts.

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
    sql, scale = _query(stream, measures)
    first, last = accounts
    table = history.arrow(sql, first=first, last=last, since=since)
    how = {m.name: m.how for m in measures}
    columns = {
        name: _codes(table[name])
        if how.get(name) == "distinct"
        else _numbers(table[name], NOTHING.get(how.get(name, ""), 0))
        for name in table.column_names
    }
    account, t = columns.pop("account_id") - first, columns.pop("t")
    facts = Facts(account, t, columns.pop("known"), columns.pop("until", None), columns, scale)
    same = account[1:] == account[:-1]
    if not ((account[1:] > account[:-1]) | (same & (t[1:] >= t[:-1]))).all():
        facts = facts[np.lexsort((t, account))]
    _refuse_too_large(facts, stream, measures)
    return facts


def _numbers(column: pa.ChunkedArray, nothing: int) -> np.ndarray:
    """Whole numbers, and decimals as whole ten-thousandths; `nothing` where null."""
    values = column.combine_chunks()
    if pa.types.is_decimal128(values.type):
        # The lower of the two words that each is held in: it is one of 18 digits.
        words = np.frombuffer(values.buffers()[1], dtype="int64")[::2]
        numbers = words[values.offset : values.offset + len(values)].copy()
        if values.null_count:
            numbers[values.is_null().to_numpy(zero_copy_only=False)] = nothing
        return numbers
    return values.fill_null(nothing).to_numpy(zero_copy_only=False).astype("int64", copy=False)


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    """A number from 0 for each different value, -1 for null."""
    codes = column.combine_chunks().dictionary_encode()
    return codes.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype("int64")


def _refuse_too_large(facts: Facts, stream: Stream, measures: Sequence[Measure]) -> None:
    """Sums may not leave 64 bits: they would be wrong, and nobody would see it."""
    most = int(np.bincount(facts.account).max(initial=0))
    for m in measures:
        values = facts.values.get(m.name)
        if m.how == "sum" and values is not None and len(values):
            largest = max(int(values.max()), -int(values.min()))
            if largest * most >= 2**63:
                raise GarrisonError(
                    f"{stream.table} has a {m.column} too large to be added up",
                    there=f"up to {largest // facts.scale.get(m.name, 1):,} in each of up to {most:,} rows an account",
                    do=f"Correct it at the source, or map {m.column} in larger units",
                )


@cache
def _query(stream: Stream, measures: tuple[Measure, ...]) -> tuple[str, dict[str, int]]:
    """SQL of a stream's facts, accounts by their numbers, and the measures' scales."""
    rows = stream.rows(numbered(stream.table))
    columns = {"account_id": rows.account_id, "t": rows.t, "known": rows.known}
    columns |= {"until": rows.until} if "until" in rows.columns else {}
    scale = {}
    for m in measures:
        column = rows[m.column] if m.column in rows.columns else None
        if column is None or (m.column == "t" and m.where is None):
            continue
        if m.how in {"sum", "min", "max"} and column.type().is_decimal():
            scale[m.name] = _MONEY
        columns[m.name] = _value(m, column, m.where(rows).fill_null(False) if m.where else None)
    sql = ibis.to_sql(rows.select(**columns), dialect="duckdb")
    one = "SELECT * EXCLUDE (account_id, account_no), account_no AS account_id"
    numbers = f"{one} FROM {stream.table} WHERE account_no BETWEEN $first AND $last"
    return f"WITH numbered_{stream.table} AS ({numbers}) SELECT * FROM ({sql}) WHERE t >= $since", scale


def _value(measure: Measure, column: ir.Value, where: ir.BooleanValue | None) -> ir.Value:
    if measure.how == "count":
        there = column.notnull()
        return (there if where is None else there & where).cast("int8")
    if measure.how == "distinct" and column.type().is_string():
        # Text by its 64-bit hash: a tenth of the work, and among the values of one account no two meet.
        column = column.notnull().ifelse(column.hash().cast("int64"), ibis.null("int64"))
    return column if where is None else where.ifelse(column, ibis.null(column.type()))

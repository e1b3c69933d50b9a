"""Checking rows against the contract: good ones become the canonical tables, bad ones go to quarantine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import duckdb
import ibis
import pyarrow as pa

from features.core.atomic_write import write_atomically
from features.core.contract import EVENTS, TABLES, TIME, Column, stored
from features.core.errors import QualityError, SourceError
from features.core.timestamps import from_micros, to_micros
from features.definitions.feature import DAY
from features.settings import Settings
from features.sources import identity, posted_events
from features.sources.mapping import ROWS, Mapped, first_line, mapped, quoted, text

_SQL_TYPES = {"string": "VARCHAR", "int64": "BIGINT", "decimal(18, 4)": "DECIMAL(18, 4)", "boolean": "BOOLEAN"}
_LEAST, _MOST = to_micros(datetime.min.replace(tzinfo=UTC)), to_micros(datetime.max.replace(tzinfo=UTC))


# A row in which the first is before the second is bad.
ORDERED = (
    ("resolved_at", "opened_at"),
    ("first_response_at", "opened_at"),
    ("term_ends_at", "term_starts_at"),
    ("ended_at", "started_at"),
    ("valid_until", "valid_from"),
)


@dataclass(frozen=True)
class Checked:
    """What came of one table.

    Args:
        table: Its name.
        rows: Rows read.
        kept: Rows that hold to the contract.
        reasons: Why rows were quarantined, with how many, the commonest first.
        first: Earliest instant of its time column; None without one.
        last: Latest.
        quarantine: The file that holds the bad rows as they came, with the reason; None without any.
    """

    table: str
    rows: int
    kept: int
    reasons: dict[str, int]
    first: datetime | None
    last: datetime | None
    quarantine: Path | None

    def as_dict(self) -> dict[str, Any]:
        """For machines: instants in ISO, the file as text."""
        times = {name: t.isoformat() if t else None for name, t in (("first", self.first), ("last", self.last))}
        return vars(self) | times | {"quarantine": str(self.quarantine) if self.quarantine else None}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Self:
        """What `as_dict` gave."""
        times = {name: datetime.fromisoformat(plain[name]) if plain[name] else None for name in ("first", "last")}
        return cls(**plain | times | {"quarantine": Path(plain["quarantine"]) if plain["quarantine"] else None})


def check(backend: ibis.BaseBackend, settings: Settings, table: str) -> Checked:
    """Make one canonical table in the schema `main`, and its quarantine file.

    Raises:
        SourceError: The source can't be read, or has no rows.
        QualityError: More than `quality.max_quarantine` of the rows are bad; the file is written all the same.
    """
    found = mapped(backend, settings, table)
    staged = _staged(settings, table, found)
    names = ", ".join(quoted(c) for c in _columns(settings, table))
    try:
        good = f"SELECT {names} FROM ({staged}) WHERE why IS NULL"
        good = identity.borne(good, table, settings)
        backend.con.execute(f"CREATE OR REPLACE TABLE main.{table} AS {_ordered(table, good)}")
        rows = backend.con.execute(f"SELECT count(*) FROM ({staged})").fetchone()[0]
        kept = _own(backend, table)
        identity.settle(backend.con, table, staged)
    except duckdb.Error as error:
        raise SourceError(f"tables.{table} can't be read", found=first_line(error)) from error
    if not rows:
        raise SourceError(f"tables.{table} has no rows", hint=f"Take [tables.{table}] out if the company has none")
    file = settings.var / "quarantine" / f"{table}.parquet"
    reasons = _quarantine(backend, file, staged) if rows > kept else {}
    if reasons:
        identity.exemplify(backend.con, settings.tables[table], table, found, file)
    else:
        file.unlink(missing_ok=True)  # that of an earlier run
    first, last = _range(backend, table)
    checked = Checked(table, rows, kept, reasons, first, last, file if reasons else None)
    _refuse_too_many(checked, settings)
    return checked


def take_in(backend: ibis.BaseBackend, settings: Settings, checked: Checked, posted: pa.Table) -> Checked:
    """Add the events that came over HTTP to a table that was made, and say what came of it with them.

    They were checked when they came. Those of an account that isn't there yet wait: they are counted as rows that are
    not kept, but stop no run.

    Args:
        backend: DuckDB, with the table.
        settings: The company's.
        checked: What came of the table's own rows.
        posted: Revisions of events, as `features.sources.posted_events` reads them.
    """
    table = checked.table
    if not posted_events.count(posted, table):
        return checked
    with backend.con.cursor() as cursor, posted_events.shown(cursor, posted):
        own = f"SELECT * EXCLUDE (account_no) FROM main.{table}"
        rows = posted_events.joined(settings, table, own, posted_events.rows(settings, table))
        cursor.execute(f"CREATE OR REPLACE TABLE main.{table} AS {_ordered(table, rows)}")
        ((waiting,),) = cursor.execute(posted_events.waiting(table)).fetchall()
    kept, (first, last) = _own(backend, table), _range(backend, table)
    reasons = {**checked.reasons, **({posted_events.WAITING: waiting} if waiting else {})}
    reasons = dict(sorted(reasons.items(), key=lambda reason: (-reason[1], reason[0])))
    rows_in_all = checked.rows + kept - checked.kept + waiting
    return replace(checked, rows=rows_in_all, kept=kept, reasons=reasons, first=first, last=last)


def _own(backend: ibis.BaseBackend, table: str) -> int:
    """How many rows a table has, but for the events of merged accounts that were copied to the survivor."""
    own = "WHERE first_known_at IS NULL" if table in EVENTS else ""
    found: int = backend.con.execute(f"SELECT count(*) FROM main.{table} {own}").fetchall()[0][0]
    return found


def _ordered(table: str, good: str) -> str:
    """SQL of the good rows in the order that snapshots read them in, accounts numbered in the order of their ids."""
    if table == "accounts":
        number = "CAST(row_number() OVER (ORDER BY account_id) - 1 AS INTEGER)"
        return f"SELECT *, {number} AS account_no FROM ({good}) ORDER BY account_no"
    if table in EVENTS:
        numbers = "SELECT account_id, account_no FROM main.accounts"
        time = TABLES[table].time
        return f"SELECT * FROM ({good}) JOIN ({numbers}) USING (account_id) ORDER BY account_no, {time}"
    return good


def _columns(settings: Settings, table: str) -> dict[str, Column]:
    extra = {c: Column(v.kind) for c, v in settings.tables[table].columns.items()}
    return extra | dict(TABLES[table].columns)


def _staged(settings: Settings, table: str, rows: Mapped) -> str:
    """SQL of the raw rows, the canonical columns under names of their own, and why a row is bad."""
    spec = settings.tables[table]
    values = dict(rows.columns)
    typed = {
        c: f"CAST({values.get(c, 'NULL')} AS {_SQL_TYPES[stored(column)]})"
        for c, column in _columns(settings, table).items()
    }
    if table == "identities":
        typed["external_id"] = identity.folded(typed["external_id"], typed["system"], settings)
    inner = ", ".join(f"{sql} AS {quoted('.' + c)}" for c, sql in typed.items())
    given = ", ".join(f"({sql}) IS NOT NULL AS {quoted('?' + c)}" for c, sql in rows.given.items())
    # The raw row is kept as one struct: its columns' names may be those of the contract.
    selected = f"SELECT {ROWS} AS raw, {inner}, {given} FROM {rows.origin}"
    selected = identity.looked_up(selected, spec, str(TABLES[table].time))
    plain = f"SELECT *, CASE {' '.join(_reasons(settings, table, rows))} END AS why_one FROM ({selected})"
    renamed = ", ".join(f"{quoted('.' + c)} AS {quoted(c)}" for c in typed)
    staged = f"SELECT *, {_twice(settings, table)} AS why FROM (SELECT raw, {renamed}, why_one FROM ({plain}))"
    return identity.judged(staged, table, settings)


def _reasons(settings: Settings, table: str, rows: Mapped) -> Iterator[str]:
    """WHEN clauses, the first that holds naming what is wrong with a row."""
    system, kinds = settings.tables[table].system, rows.kinds
    if system:
        # First what an id is looked up by: so the report can tell how many were.
        kinds = {c: kinds[c] for c in (str(TABLES[table].time), "account_id", *kinds)}
    for name, column in kinds.items():
        typed, given = quoted("." + name), quoted("?" + name)
        there = name in rows.given
        if name == "account_id" and system:
            yield f"WHEN {identity.EXTERNAL} IS NULL THEN 'account_id is missing'"
            yield f"WHEN {typed} IS NULL AND {identity.DOUBTED} THEN {text(identity.doubtful(system))}"
            yield f"WHEN {typed} IS NULL THEN {text(identity.orphan(system))}"
        elif there:
            yield f"WHEN {given} AND {typed} IS NULL THEN {text(f'{name} is not a {_noun(column)}')}"
        if column.needed:
            yield f"WHEN {typed} IS NULL THEN {text(f'{name} is missing')}"
        if column.among and there:
            allowed = ", ".join(text(v) for v in column.among)
            reason = f"{name} is not one of {', '.join(column.among)}"
            yield f"WHEN {typed} NOT IN ({allowed}) THEN {text(reason)}"
        if column.least is not None and there:
            yield f"WHEN {typed} < {column.least} THEN {text(f'{name} is below {column.least:g}')}"
    if table == "identities":
        yield f"WHEN {identity.address(settings)} THEN 'external_id is an address, not a domain'"
    yield from _reasons_of_rows(table, rows)
    yield "WHEN false THEN ''"


def _reasons_of_rows(table: str, rows: Mapped) -> Iterator[str]:
    """Those that several columns, or other tables, make together."""
    for later, earlier in ORDERED:
        if {later, earlier} <= rows.given.keys():
            yield f"WHEN {quoted('.' + later)} < {quoted('.' + earlier)} THEN '{later} is before {earlier}'"
    if table == "accounts" and "merged_into" in rows.given:
        for there, lacking in (("merged_into", "merged_at"), ("merged_at", "merged_into")):
            absent = f"{quoted('.' + there)} IS NOT NULL AND {quoted('.' + lacking)} IS NULL"
            yield f"WHEN {absent} THEN '{there} is without {lacking}'"
    if table != "accounts":
        known = f"{quoted('.account_id')} IN (SELECT account_id FROM main.accounts)"
        yield f"WHEN NOT ({known}) THEN 'account_id is not in accounts'"
    if table in EVENTS:
        # It would make labels look mature that aren't. A day's grace: clocks and time zones.
        event = TABLES[table].time
        yield f"WHEN {quoted('.' + str(event))} > epoch_us(now()) + {DAY} THEN '{event} is in the future'"


def _noun(column: Column) -> str:
    return {TIME: "time", "decimal": "number", "whole": "whole number", "flag": "yes or no"}.get(column.kind, "text")


def _twice(settings: Settings, table: str) -> str:
    """SQL of the final reason: a key that is there twice keeps its earliest row, whatever the order of the file."""
    contract = TABLES[table]
    if not contract.key:
        return "why_one"
    key = ", ".join(quoted(k) for k in contract.key)
    first = [contract.time] if contract.time else []
    order = ", ".join(quoted(c) for c in (*first, *_columns(settings, table)))
    nth = f"row_number() OVER (PARTITION BY {key}, why_one IS NULL ORDER BY {order})"
    reason = text(f"there is an earlier row of this {', '.join(contract.key)}")
    return f"CASE WHEN why_one IS NOT NULL THEN why_one WHEN {nth} > 1 THEN {reason} END"


def _quarantine(backend: ibis.BaseBackend, file: Path, staged: str) -> dict[str, int]:
    """Write the bad rows, whole or not at all; gives the reasons with how many, the commonest first."""
    bad = f"SELECT raw, why FROM ({staged}) WHERE why IS NOT NULL"
    with write_atomically(file) as part:
        backend.con.execute(f"COPY ({bad}) TO {text(str(part))} (FORMAT parquet)")
    return dict(backend.con.execute(f"SELECT why, count(*) FROM ({bad}) GROUP BY why ORDER BY 2 DESC, 1").fetchall())


def _range(backend: ibis.BaseBackend, table: str) -> tuple[datetime | None, datetime | None]:
    column = TABLES[table].time or ("created_at" if table == "accounts" else None)
    if column is None:
        return None, None
    first, last = backend.con.execute(f"SELECT min({column}), max({column}) FROM main.{table}").fetchone()
    # A year before 1 or after 9999, as a zone can make of either, is shown as those.
    return (None, None) if first is None else (from_micros(max(first, _LEAST)), from_micros(min(last, _MOST)))


def _refuse_too_many(checked: Checked, settings: Settings) -> None:
    bad = checked.rows - checked.kept
    if bad > settings.quality.max_quarantine * checked.rows:
        reason, count = next(iter(checked.reasons.items()))
        raise QualityError(
            f"{bad:,} of {checked.rows:,} rows of {checked.table} are bad, more than quality.max_quarantine allows",
            found=f"{count:,} times: {reason}",
            hint=f"The rows and reasons are in {checked.quarantine}",
        )

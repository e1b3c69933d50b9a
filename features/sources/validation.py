"""Validation of rows against the contract: good ones become the canonical tables, bad ones go to quarantine."""

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
from features.core.contract import EVENTS, TABLES, Column, describe_kind, duckdb_type
from features.core.errors import QualityError, SourceError
from features.core.timestamps import from_micros, to_micros
from features.definitions.feature import DAY
from features.settings import Settings
from features.sources import identity, posted_events
from features.sources.mapping import (
    ROWS,
    TableMapping,
    list_sources,
    map_table,
    quote_identifier,
    quote_literal,
    summarize_error,
)
from features.sources.source_views import BAD_LINES

_LEAST, _MOST = to_micros(datetime.min.replace(tzinfo=UTC)), to_micros(datetime.max.replace(tzinfo=UTC))


# The table with the number of bad rows by source, day and reason; a company without any has none.
QUARANTINED = "quarantined"
# The reason of a row whose account_id names no account.
UNKNOWN_ACCOUNT = "account_id is not in accounts"

_SHOWN = 3
# Words that exports write for nothing.
_NOTHING = {"null", "\\n", "n/a", "na", "none", "nan", "-", "--", "#n/a", "nil", "undefined", "unknown", "?"}

# A row in which the first is before the second is bad.
ORDERED = (
    ("resolved_at", "opened_at"),
    ("first_response_at", "opened_at"),
    ("term_ends_at", "term_starts_at"),
    ("ended_at", "started_at"),
    ("valid_until", "valid_from"),
)


@dataclass(frozen=True)
class ValidatedTable:
    """The result of validating one table.

    Args:
        table: Its name.
        rows: Rows read.
        kept: Rows that satisfy the contract.
        reasons: Reason of quarantine to number of rows, the commonest first.
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
        """Return the result for JSON: instants in ISO, the file as text."""
        times = {name: t.isoformat() if t else None for name, t in (("first", self.first), ("last", self.last))}
        return vars(self) | times | {"quarantine": str(self.quarantine) if self.quarantine else None}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Self:
        """Build a result from what `as_dict` returned."""
        times = {name: datetime.fromisoformat(plain[name]) if plain[name] else None for name in ("first", "last")}
        return cls(**plain | times | {"quarantine": Path(plain["quarantine"]) if plain["quarantine"] else None})


def validate_table(backend: ibis.BaseBackend, settings: Settings, table: str) -> ValidatedTable:
    """Build one canonical table in the schema `main`, and its quarantine file.

    Raises:
        SourceError: The source can't be read, or has no rows.
        QualityError: More than `quality.max_quarantine` of the rows are bad; the file is written all the same.
    """
    mapping = map_table(backend, settings, table)
    staged = _stage_rows(settings, table, mapping)
    names = ", ".join(quote_identifier(c) for c in _list_columns(settings, table))
    try:
        good = f"SELECT {names} FROM ({staged}) WHERE why IS NULL"
        good = identity.assign_to_survivors(good, table, settings)
        backend.con.execute(f"CREATE OR REPLACE TABLE main.{table} AS {_sort_rows(table, good)}")
        rows = backend.con.execute(f"SELECT count(*) FROM ({staged})").fetchone()[0]
        lines = _select_bad_lines(settings, table)
        rows += backend.con.execute(f"SELECT count(*) FROM ({lines})").fetchone()[0]
        kept = _count_own_rows(backend, table)
        identity.build_lookup_tables(backend.con, table, staged)
    except duckdb.Error as error:
        raise SourceError(f"tables.{table} can't be read", found=summarize_error(error)) from error
    if not rows:
        raise SourceError(f"tables.{table} has no rows", hint=f"Take [tables.{table}] out if the company has none")
    file = settings.var / "quarantine" / f"{table}.parquet"
    reasons = _write_quarantine(backend, table, file, _select_bad_rows(table, staged, lines)) if rows > kept else {}
    if reasons:
        identity.store_examples(backend.con, settings.tables[table], table, mapping, file)
    else:
        file.unlink(missing_ok=True)  # left by an earlier run
    first, last = _read_time_range(backend, table)
    checked = ValidatedTable(table, rows, kept, reasons, first, last, file if reasons else None)
    _refuse_too_many(backend, checked, settings, mapping)
    return checked


def add_posted_events(
    backend: ibis.BaseBackend, settings: Settings, checked: ValidatedTable, posted: pa.Table
) -> ValidatedTable:
    """Add the events posted over HTTP to a validated table, and return the result with them.

    Events were checked when they were posted. Events of an account that does not exist yet wait: they count as rows
    that are not kept, but stop no run.

    Args:
        backend: DuckDB, with the table.
        settings: The company's.
        checked: The result for the table's own rows.
        posted: Revisions of events, as `features.sources.posted_events` reads them.
    """
    table = checked.table
    if not posted_events.count_events(posted, table):
        return checked
    with backend.con.cursor() as cursor, posted_events.register_revisions(cursor, posted):
        own = f"SELECT * EXCLUDE (account_no) FROM main.{table}"
        rows = posted_events.merge_rows(settings, table, own, posted_events.select_rows(settings, table))
        cursor.execute(f"CREATE OR REPLACE TABLE main.{table} AS {_sort_rows(table, rows)}")
        ((waiting,),) = cursor.execute(posted_events.select_waiting_count(table)).fetchall()
    kept, (first, last) = _count_own_rows(backend, table), _read_time_range(backend, table)
    reasons = {**checked.reasons, **({posted_events.WAITING: waiting} if waiting else {})}
    reasons = dict(sorted(reasons.items(), key=lambda reason: (-reason[1], reason[0])))
    rows_in_all = checked.rows + kept - checked.kept + waiting
    return replace(checked, rows=rows_in_all, kept=kept, reasons=reasons, first=first, last=last)


def _count_own_rows(backend: ibis.BaseBackend, table: str) -> int:
    """Count the rows of a table, without the events of merged accounts that were copied to the survivor."""
    own = "WHERE first_known_at IS NULL" if table in EVENTS else ""
    count: int = backend.con.execute(f"SELECT count(*) FROM main.{table} {own}").fetchall()[0][0]
    return count


def _sort_rows(table: str, good: str) -> str:
    """Return SQL of the good rows in the order in which snapshots read them; accounts are numbered in order of id."""
    if table == "accounts":
        number = "CAST(row_number() OVER (ORDER BY account_id) - 1 AS INTEGER)"
        return f"SELECT *, {number} AS account_no FROM ({good}) ORDER BY account_no"
    if table in EVENTS:
        numbers = "SELECT account_id, account_no FROM main.accounts"
        time = TABLES[table].time
        return f"SELECT * FROM ({good}) JOIN ({numbers}) USING (account_id) ORDER BY account_no, {time}"
    return good


def _list_columns(settings: Settings, table: str) -> dict[str, Column]:
    extra = {c: Column(v.kind) for c, v in settings.tables[table].columns.items()}
    return extra | dict(TABLES[table].columns)


def _stage_rows(settings: Settings, table: str, mapping: TableMapping) -> str:
    """Return SQL of the raw rows, their canonical columns, and `why` a row is bad."""
    spec = settings.tables[table]
    values = dict(mapping.columns)
    typed = {
        c: f"CAST({values.get(c, 'NULL')} AS {duckdb_type(column)})"
        for c, column in _list_columns(settings, table).items()
    }
    if table == "identities":
        typed["external_id"] = identity.fold_domain(typed["external_id"], typed["system"], settings)
    inner = ", ".join(f"{sql} AS {quote_identifier('.' + c)}" for c, sql in typed.items())
    presence = ", ".join(f"({sql}) IS NOT NULL AS {quote_identifier('?' + c)}" for c, sql in mapping.raw_values.items())
    # Keep the raw row as one struct, since its column names may equal those of the contract.
    selected = f"SELECT {ROWS} AS raw, {inner}, {presence} FROM {mapping.origin}"
    selected = identity.resolve_ids(selected, spec, str(TABLES[table].time))
    plain = f"SELECT *, CASE {' '.join(_list_row_faults(settings, table, mapping))} END AS why_one FROM ({selected})"
    renamed = ", ".join(f"{quote_identifier('.' + c)} AS {quote_identifier(c)}" for c in typed)
    staged = (
        f"SELECT *, {_flag_duplicates(settings, table)} AS why FROM (SELECT raw, {renamed}, why_one FROM ({plain}))"
    )
    return identity.flag_conflicts(staged, table, settings)


def _list_row_faults(settings: Settings, table: str, mapping: TableMapping) -> Iterator[str]:
    """Yield WHEN clauses; the first that holds gives the reason why a row is bad."""
    system, kinds = settings.tables[table].system, mapping.kinds
    if system:
        # The columns that the look-up needs come first, so that the report can count the ids looked up.
        kinds = {c: kinds[c] for c in (str(TABLES[table].time), "account_id", *kinds)}
    for name, column in kinds.items():
        typed, is_present = quote_identifier("." + name), quote_identifier("?" + name)
        is_mapped = name in mapping.raw_values
        if name == "account_id" and system:
            yield f"WHEN {identity.EXTERNAL} IS NULL THEN 'account_id is missing'"
            conflict, orphan = identity.describe_conflict(system), identity.describe_orphan(system)
            yield f"WHEN {typed} IS NULL AND {identity.DOUBTED} THEN {quote_literal(conflict)}"
            yield f"WHEN {typed} IS NULL THEN {quote_literal(orphan)}"
        elif is_mapped:
            reason = f"{name} is not a {describe_kind(column)}"
            yield f"WHEN {is_present} AND {typed} IS NULL THEN {quote_literal(reason)}"
        if column.needed:
            yield f"WHEN {typed} IS NULL THEN {quote_literal(f'{name} is missing')}"
        if column.among and is_mapped:
            allowed = ", ".join(quote_literal(v) for v in column.among)
            reason = f"{name} is not one of {', '.join(column.among)}"
            yield f"WHEN {typed} NOT IN ({allowed}) THEN {quote_literal(reason)}"
        if column.least is not None and is_mapped:
            yield f"WHEN {typed} < {column.least} THEN {quote_literal(f'{name} is below {column.least:g}')}"
    if table == "identities":
        yield f"WHEN {identity.is_address(settings)} THEN 'external_id is an address, not a domain'"
    yield from _list_cross_faults(table, mapping)
    yield "WHEN false THEN ''"


def _list_cross_faults(table: str, mapping: TableMapping) -> Iterator[str]:
    """Yield WHEN clauses that involve several columns or other tables."""
    for later, earlier in ORDERED:
        if {later, earlier} <= mapping.raw_values.keys():
            end, start = quote_identifier(f".{later}"), quote_identifier(f".{earlier}")
            yield f"WHEN {end} < {start} THEN '{later} is before {earlier}'"
    if table == "accounts" and "merged_into" in mapping.raw_values:
        for filled, absent_column in (("merged_into", "merged_at"), ("merged_at", "merged_into")):
            absent = f"{quote_identifier('.' + filled)} IS NOT NULL AND {quote_identifier('.' + absent_column)} IS NULL"
            yield f"WHEN {absent} THEN '{filled} is without {absent_column}'"
    if table != "accounts":
        known = f"{quote_identifier('.account_id')} IN (SELECT account_id FROM main.accounts)"
        yield f"WHEN NOT ({known}) THEN '{UNKNOWN_ACCOUNT}'"
    if table in EVENTS:
        # A future event would make immature labels look mature. One day of grace allows for clocks and time zones.
        event = TABLES[table].time
        yield f"WHEN {quote_identifier('.' + str(event))} > epoch_us(now()) + {DAY} THEN '{event} is in the future'"


def _flag_duplicates(settings: Settings, table: str) -> str:
    """Return SQL of the final reason: of rows with one key the earliest is kept, whatever the order of the file."""
    contract = TABLES[table]
    if not contract.key:
        return "why_one"
    key = ", ".join(quote_identifier(k) for k in contract.key)
    first = [contract.time] if contract.time else []
    order = ", ".join(quote_identifier(c) for c in (*first, *_list_columns(settings, table)))
    nth = f"row_number() OVER (PARTITION BY {key}, why_one IS NULL ORDER BY {order})"
    reason = quote_literal(f"there is an earlier row of this {', '.join(contract.key)}")
    return f"CASE WHEN why_one IS NOT NULL THEN why_one WHEN {nth} > 1 THEN {reason} END"


def _select_bad_lines(settings: Settings, table: str) -> str:
    """Return SQL of the lines of a table's sources that can't be read."""
    names = ", ".join(quote_literal(name) for name in list_sources(settings, settings.tables[table]))
    return f"SELECT why, file, line, text FROM {BAD_LINES} WHERE source IN ({names or 'NULL'})"


def _select_bad_rows(table: str, staged: str, lines: str) -> str:
    """Return SQL of raw, why, day, file, line, text: the bad rows, and the lines that are no rows."""
    time = TABLES[table].time
    day = f"{time} // {DAY}" if time else "NULL::BIGINT"
    rows = f"SELECT raw, why, {day} AS day FROM ({staged}) WHERE why IS NOT NULL"
    return f"{rows} UNION ALL BY NAME SELECT * FROM ({lines})"


def _write_quarantine(backend: ibis.BaseBackend, table: str, file: Path, bad: str) -> dict[str, int]:
    """Write the bad rows and lines to the quarantine file; return reason to their number, the commonest first.

    The table `quarantined` keeps their number by day, for the checks of sources; rows without a time have day null.
    """
    kept = "raw, why, file, line, text"
    with write_atomically(file) as part:
        backend.con.execute(f"COPY (SELECT {kept} FROM ({bad})) TO {quote_literal(str(part))} (FORMAT parquet)")
    backend.con.execute(
        f"CREATE TABLE IF NOT EXISTS main.{QUARANTINED} (source VARCHAR, day BIGINT, why VARCHAR, n BIGINT)"
    )
    count = f"SELECT '{table}', day, why, count(*) FROM ({bad}) GROUP BY day, why"
    backend.con.execute(f"INSERT INTO main.{QUARANTINED} {count}")
    reasons = (
        f"SELECT why, sum(n)::BIGINT FROM main.{QUARANTINED} WHERE source = '{table}' GROUP BY why ORDER BY 2 DESC, 1"
    )
    return dict(backend.con.execute(reasons).fetchall())


def _read_time_range(backend: ibis.BaseBackend, table: str) -> tuple[datetime | None, datetime | None]:
    column = TABLES[table].time or ("created_at" if table == "accounts" else None)
    if column is None:
        return None, None
    first, last = backend.con.execute(f"SELECT min({column}), max({column}) FROM main.{table}").fetchone()
    # A time zone can move a date before year 1 or after 9999: show the nearest valid one.
    return (None, None) if first is None else (from_micros(max(first, _LEAST)), from_micros(min(last, _MOST)))


def _refuse_too_many(
    backend: ibis.BaseBackend, checked: ValidatedTable, settings: Settings, mapping: TableMapping
) -> None:
    bad = checked.rows - checked.kept
    if bad > settings.quality.max_quarantine * checked.rows:
        reason, count = next(iter(checked.reasons.items()))
        values, hint = _read_bad_values(backend, checked, settings, mapping, reason)
        raise QualityError(
            f"{bad:,} of {checked.rows:,} rows of {checked.table} are bad, more than quality.max_quarantine allows",
            found=f"{count:,} times: {reason}{values}",
            hint=f"{hint}The rows and reasons are in {checked.quarantine}",
        )


def _read_bad_values(
    backend: ibis.BaseBackend, checked: ValidatedTable, settings: Settings, mapping: TableMapping, reason: str
) -> tuple[str, str]:
    """Return the commonest values that a reason of quarantine is about, and what would make them readable."""
    column, is_not, kind = reason.partition(" is not a ")
    if not is_not or column not in mapping.raw_values or kind not in {"time", "number", "whole number", "yes or no"}:
        return "", ""
    value = f"CAST({mapping.raw_values[column]} AS VARCHAR)"
    rows = f"SELECT raw AS {ROWS} FROM read_parquet({quote_literal(str(checked.quarantine))}) WHERE why = ?"
    counted = f"SELECT {value} AS v, count(*) AS n FROM ({rows}) GROUP BY v"
    sql = f"SELECT v, regexp_matches(v, ?) AS comma, n FROM ({counted}) ORDER BY n DESC, v"
    found = backend.con.execute(sql, [r"^[+-]?[0-9.' ]*,[0-9]{1,2}$", reason]).fetchall()
    shown = ", ".join(repr(value[:30]) for value, *_ in found[:_SHOWN])
    hint, sources = "", list_sources(settings, settings.tables[checked.table])
    if sources and "number" in kind and 2 * sum(n for _, comma, n in found if comma) > sum(n for *_, n in found):
        hint = f'If the comma is a decimal sign: sources.{sources[0]}.decimal = ",". '
    elif sources and found[0][0].casefold() in _NOTHING:
        hint = (
            f"If such words stand for nothing: sources.{sources[0]}.nothing = [{', '.join(map(repr, [found[0][0]]))}]. "
        )
    return f" ({shown})", hint

"""Validation of rows against the contract: good ones become the canonical tables, bad ones go to quarantine."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from features.core.atomic_write import write_atomically
from features.core.contract import EVENTS, RECORDS, TABLES, VERSIONS
from features.core.errors import SourceError
from features.core.sql_text import SqlText
from features.core.storage_faults import find_storage_fault
from features.core.timestamps import NEVER, from_micros, to_micros
from features.definitions.feature import DAY
from features.definitions.visibility_rule import SQL, visible_from
from features.settings import Settings
from features.sources import erased, identity, money, posted_events, prose, pseudonyms, row_versions, table_faults
from features.sources.mapping import (
    TableMapping,
    list_sources,
    map_table,
    quote_identifier,
    quote_literal,
    summarize_error,
)
from features.sources.source_views import BAD_LINES
from features.sources.staging import BETWEEN, UNREAD, list_columns, stage_rows
from features.sources.validated_table import ValidatedTable
from features.state.tombstones import NOBODY, Tombstones

_LEAST, _MOST = to_micros(datetime.min.replace(tzinfo=UTC)), to_micros(datetime.max.replace(tzinfo=UTC))

# Reasons that drop a row without a fault, as SQL.
_DROPPED = f"('{row_versions.REPEATED}', '{row_versions.SUPERSEDED}', '{erased.ERASED}')"
# The table with the number of bad rows by source, day and reason; a company without any has none.
QUARANTINED = "quarantined"
# The table with the number of dropped repeats by source and day; a company without any has none.
REPEATS = "repeats"


def validate_table(
    connection: duckdb.DuckDBPyConnection, settings: Settings, table: str, gone: Tombstones = NOBODY
) -> ValidatedTable:
    """Build one canonical table in the schema `main`, and its quarantine file.

    Args:
        connection: To DuckDB, with the sources attached.
        settings: The company's.
        table: Which.
        gone: Who was erased: their rows are dropped.

    Raises:
        SourceError: The source can't be read, or has no rows.
    """
    mapping = map_table(connection, settings, table, prose.redact_rows(connection, settings, table))
    has_erased = erased.find_erased(connection, settings, mapping, table, gone)
    staged = stage_rows(settings, table, mapping, has_erased=has_erased)
    lines = _select_bad_lines(settings, table)
    lines = erased.leave_out_lines(lines) if has_erased else lines
    try:
        unread, repeated, alike = _build_table(connection, settings, mapping, table, staged)
        counts = (f"(SELECT count(*) FROM {part})" for part in (mapping.origin, f"({lines})"))  # staging drops no row
        ((rows,),) = connection.execute(f"SELECT {' + '.join(counts)}").fetchall()
        kept, first, last = _measure_table(connection, settings, table)
        identity.build_lookup_tables(connection, table, staged)
    except duckdb.Error as error:
        if fault := find_storage_fault(error):
            raise fault from error
        hint = _find_culprit(settings, table, str(error))
        raise SourceError(f"tables.{table} can't be read", found=summarize_error(error), hint=hint) from error
    if not rows:
        raise SourceError(f"tables.{table} has no rows", hint=f"Take [tables.{table}] out if the company has none")
    file = settings.var / "quarantine" / f"{table}.parquet"
    dropped, reasons, contested = Counter[str](), dict[str, int](), dict[str, int]()
    if rows > kept + repeated:
        reasons = _write_quarantine(
            connection, table, file, _select_bad_rows(settings, table, staged, lines, has_erased=has_erased)
        )
        if rows > kept + repeated + sum(reasons.values()):
            dropped = _count_dropped(connection, staged)
        if row_versions.describe_contradiction(row_versions.list_key(settings, table)) in reasons:
            contested = row_versions.empty_contested(connection, settings, table, staged)
    if reasons:
        identity.store_examples(connection, settings.tables[table], table, mapping, file)
    else:
        file.unlink(missing_ok=True)  # left by an earlier run
    currencies = money.list_currencies(settings, table)
    checked = ValidatedTable(
        table,
        rows,
        kept,
        reasons,
        first,
        last,
        file if reasons else None,
        repeated=repeated + dropped[row_versions.REPEATED],
        alike=alike,
        superseded=dropped[row_versions.SUPERSEDED],
        erased=dropped[erased.ERASED],
        contested=contested,
        unread=unread,
        currencies=dict(connection.execute(currencies).fetchall()) if currencies else {},
    )
    checked = table_faults.add_values(connection, settings, checked, mapping, staged)
    prose.drop_redacted(connection, table)
    return table_faults.judge_table(connection, checked, settings)


def _find_culprit(settings: Settings, table: str, error: str) -> str:
    """Return which column of a table stops its reading, and what to write instead."""
    columns = {f"tables.{table}.columns.{name}": value for name, value in settings.tables[table].columns.items()}
    if "format specifier" in error:
        wrong = [key for key, value in columns.items() if value.format and "%" in value.format]
        return f"Correct the format of {' or '.join(wrong)}: the codes are those of strptime"
    wrong = [key for key, value in columns.items() if value.sql and re.search(r"(?i)(?<!try_)cast\(|::", value.sql)]
    return f"Use TRY_CAST in {' or '.join(wrong)}: a failing CAST stops all" if wrong else f"Correct tables.{table}"


def _build_table(
    connection: duckdb.DuckDBPyConnection, settings: Settings, mapping: TableMapping, table: str, staged: str
) -> tuple[dict[str, int], int, int]:
    """Build a canonical table.

    Returns:
        The number of cells that could not be read, by column; of exact repeats that were dropped, and that were kept.
    """
    names = ", ".join([*map(quote_identifier, list_columns(settings, table)), UNREAD])
    good, repeated = f"SELECT * FROM ({staged}) WHERE why IS NULL", 0

    def build(rows: str) -> None:
        chosen = identity.assign_to_survivors(f"SELECT {names} FROM ({rows})", table, settings)
        if table == "accounts":
            _build_accounts(connection, settings, chosen)
        else:
            connection.execute(f"CREATE OR REPLACE TABLE main.{table} AS {_sort_rows(table, chosen)}")

    build(good)
    spec = settings.tables[table]
    has_no_key = table in EVENTS and not row_versions.list_key(settings, table)
    found = 0
    if has_no_key and spec.repeats != "keep" and row_versions.has_equal_rows(connection, table):
        found, are_deliveries = row_versions.judge_repeats(connection, good, mapping.own)
        if found and (are_deliveries or spec.repeats == "drop"):
            before, kept = _count_by_day(connection, table), _measure_table(connection, settings, table)[0]
            build(row_versions.drop_repeats(good, table, mapping.own))
            repeated = kept - _measure_table(connection, settings, table)[0]
            _keep_repeats(connection, table, before)
    own = "AND first_known_at IS NULL" if table in EVENTS else ""
    cells = connection.execute(
        f"SELECT {UNREAD}, count(*) FROM main.{table} WHERE {UNREAD} IS NOT NULL {own} GROUP BY 1"
    ).fetchall()
    connection.execute(f"ALTER TABLE main.{table} DROP COLUMN {UNREAD}")
    unread = Counter[str]()
    for joined, count in cells:
        unread.update(dict.fromkeys(joined.split(BETWEEN)[1:], count))
    return dict(sorted(unread.items())), repeated, found - repeated


def _build_accounts(connection: duckdb.DuckDBPyConnection, settings: Settings, good: str) -> None:
    """Build the accounts, each its newest version, and all versions with the span in which each is in force.

    A version is in force from when it is visible until another one is that holds from later on. Undated accounts have
    no versions.
    """
    since = visible_from(SqlText("valid_from"), SqlText("known"), SQL)
    lag = settings.tables["accounts"].lag // timedelta(microseconds=1)
    # An undated version of a dated account holds from its beginning.
    filled = "* REPLACE (coalesce(valid_from, created_at) AS valid_from)"
    known = f"SELECT *, coalesce(known_at, valid_from + {lag}) AS known FROM (SELECT {filled} FROM ({good}))"
    of_account = "PARTITION BY account_id"
    later = f"OVER ({of_account} ORDER BY valid_from ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)"
    spans = (
        f"SELECT * EXCLUDE (known, {UNREAD}), coalesce(min(since) {later}, {NEVER}) AS until "
        f"FROM (SELECT *, {since} AS since FROM ({known}))"
    )
    newest = f"{of_account} ORDER BY valid_from <= epoch_us(now()) DESC NULLS LAST, valid_from DESC"
    one = (
        f"SELECT * REPLACE (min(created_at) OVER ({of_account}) AS created_at) "
        f"FROM (SELECT {filled} FROM ({good})) QUALIFY row_number() OVER ({newest}) = 1"
    )
    dated = settings.are_attributes_dated
    connection.execute(f"CREATE OR REPLACE TABLE main.accounts AS {_sort_rows('accounts', one if dated else good)}")
    numbered = f"SELECT * FROM ({spans}) JOIN (SELECT account_id, account_no FROM main.accounts) USING (account_id)"
    none = f"SELECT * EXCLUDE ({UNREAD}), valid_from AS since, valid_from AS until FROM main.accounts LIMIT 0"
    connection.execute(f"CREATE OR REPLACE TABLE main.{VERSIONS} AS {numbered if dated else none}")


def _count_by_day(connection: duckdb.DuckDBPyConnection, table: str) -> pa.Table:
    """Count the rows of an event table by day."""
    sql = f"SELECT {TABLES[table].time} // {DAY} AS day, count(*) AS n FROM main.{table} GROUP BY day"
    return connection.sql(sql).to_arrow_table()


def _keep_repeats(connection: duckdb.DuckDBPyConnection, table: str, before: pa.Table) -> None:
    """Keep the number of dropped repeats by day, for the checks of sources."""
    after = _count_by_day(connection, table)
    with connection.cursor() as cursor:
        cursor.register("before", before)
        cursor.register("after", after)
        cursor.execute(f"CREATE TABLE IF NOT EXISTS main.{REPEATS} (source VARCHAR, day BIGINT, n BIGINT)")
        dropped = "SELECT day, b.n - a.n AS n FROM before b JOIN after a USING (day) WHERE b.n > a.n"
        cursor.execute(f"INSERT INTO main.{REPEATS} SELECT '{table}', day, n FROM ({dropped})")


def _count_dropped(connection: duckdb.DuckDBPyConnection, staged: str) -> Counter[str]:
    """Count the rows that are dropped without a fault, by reason."""
    sql = f"SELECT why, count(*) FROM ({staged}) WHERE why IN {_DROPPED} GROUP BY why"
    return Counter(dict(connection.execute(sql).fetchall()))


def add_posted_events(
    connection: duckdb.DuckDBPyConnection, settings: Settings, checked: ValidatedTable, posted: pa.Table
) -> ValidatedTable:
    """Add the events posted over HTTP to a validated table, and return the result with them.

    Events were checked when they were posted. Events of an account that does not exist yet wait: they count as rows
    that are not kept, but stop no run.

    Args:
        connection: To DuckDB, with the table.
        settings: The company's.
        checked: The result for the table's own rows.
        posted: Revisions of events, as `features.sources.posted_events` reads them.
    """
    table = checked.table
    if not posted_events.count_events(posted, table):
        return checked
    with connection.cursor() as cursor, posted_events.register_revisions(cursor, posted):
        own = f"SELECT * EXCLUDE (account_no) FROM main.{table}"
        rows = posted_events.merge_rows(settings, table, own, posted_events.select_rows(settings, table))
        cursor.execute(f"CREATE OR REPLACE TABLE main.{table} AS {_sort_rows(table, rows)}")
        ((waiting,),) = cursor.execute(posted_events.select_waiting_count(table)).fetchall()
    kept, first, last = _measure_table(connection, settings, table)
    reasons = {**checked.reasons, **({posted_events.WAITING: waiting} if waiting else {})}
    reasons = dict(sorted(reasons.items(), key=lambda reason: (-reason[1], reason[0])))
    rows_in_all = checked.rows + kept - checked.kept + waiting
    return replace(checked, rows=rows_in_all, kept=kept, reasons=reasons, first=first, last=last)


def _sort_rows(table: str, good: str) -> str:
    """Return SQL of the good rows in the order in which snapshots read them; accounts are numbered in order of id."""
    if table == "accounts":
        number = "CAST(row_number() OVER (ORDER BY account_id) - 1 AS INTEGER)"
        return f"SELECT *, {number} AS account_no FROM ({good}) ORDER BY account_no"
    if table in {*EVENTS, *RECORDS}:
        numbers = "SELECT account_id, account_no FROM main.accounts"
        time = quote_identifier(str(TABLES[table].time))
        return f"SELECT * FROM ({good}) JOIN ({numbers}) USING (account_id) ORDER BY account_no, {time}"
    return good


def _select_bad_lines(settings: Settings, table: str) -> str:
    """Return SQL of the lines of a table's sources that can't be read."""
    names = ", ".join(quote_literal(name) for name in list_sources(settings, settings.tables[table]))
    text = prose.redact_lines(settings, table, "text")
    return f"SELECT why, file, line, {text} AS text FROM {BAD_LINES} WHERE source IN ({names or 'NULL'})"


def _select_bad_rows(settings: Settings, table: str, staged: str, lines: str, *, has_erased: bool) -> str:
    """Return SQL of raw, why, day, file, line, text: the bad rows, and the lines that are no rows."""
    time = TABLES[table].time
    day = f"{quote_identifier(time)} // {DAY}" if time else "NULL::BIGINT"
    raw = pseudonyms.hide_raw(table, settings)
    raw = erased.hide_raw(raw) if has_erased else raw
    rows = f"SELECT {raw} AS raw, why, {day} AS day FROM ({staged}) WHERE why NOT IN {_DROPPED}"
    return f"{rows} UNION ALL BY NAME SELECT * FROM ({lines})"


def _write_quarantine(connection: duckdb.DuckDBPyConnection, table: str, file: Path, bad: str) -> dict[str, int]:
    """Write the bad rows and lines to the quarantine file; return reason to their number, the commonest first.

    The table `quarantined` keeps their number by day, for the checks of sources; rows without a time have day null.
    """
    kept = "raw, why, file, line, text"
    with write_atomically(file) as part:
        connection.execute(f"COPY (SELECT {kept} FROM ({bad})) TO {quote_literal(str(part))} (FORMAT parquet)")
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS main.{QUARANTINED} (source VARCHAR, day BIGINT, why VARCHAR, n BIGINT)"
    )
    count = f"SELECT '{table}', day, why, count(*) FROM ({bad}) GROUP BY day, why"
    connection.execute(f"INSERT INTO main.{QUARANTINED} {count}")
    reasons = (
        f"SELECT why, sum(n)::BIGINT FROM main.{QUARANTINED} WHERE source = '{table}' GROUP BY why ORDER BY 2 DESC, 1"
    )
    return dict(connection.execute(reasons).fetchall())


def _measure_table(
    connection: duckdb.DuckDBPyConnection, settings: Settings, table: str
) -> tuple[int, datetime | None, datetime | None]:
    """Return a table's number of rows, first and last instant.

    Not counted are the events of merged accounts that were copied to the survivor; of dated accounts, versions are.
    """
    counted = VERSIONS if table == "accounts" and settings.are_attributes_dated else table
    own = f"SELECT count(*) FROM main.{counted} {'WHERE first_known_at IS NULL' if table in EVENTS else ''}"
    time = TABLES[table].time or ("created_at" if table == "accounts" else None)
    column = quote_identifier(time) if time else "NULL::BIGINT"
    sql = f"SELECT ({own}), min({column}), max({column}) FROM main.{table}"
    ((kept, first, last),) = connection.execute(sql).fetchall()
    # A time zone can move a date before year 1 or after 9999: show the nearest valid one.
    return kept, *((None, None) if first is None else (from_micros(max(first, _LEAST)), from_micros(min(last, _MOST))))

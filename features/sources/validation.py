"""Validation of rows against the contract: good ones become the canonical tables, bad ones go to quarantine."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import duckdb
import ibis
import pyarrow as pa

from features.core.atomic_write import write_atomically
from features.core.contract import EVENTS, TABLES
from features.core.errors import QualityError, SourceError
from features.core.timestamps import from_micros, to_micros
from features.definitions.feature import DAY
from features.settings import Settings
from features.sources import identity, money, posted_events, row_versions
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
from features.sources.staging import BETWEEN, UNKNOWN_ACCOUNT, UNREAD, list_columns, stage_rows

__all__ = ["QUARANTINED", "UNKNOWN_ACCOUNT", "ValidatedTable", "add_posted_events", "refuse_bad", "validate_table"]

_LEAST, _MOST = to_micros(datetime.min.replace(tzinfo=UTC)), to_micros(datetime.max.replace(tzinfo=UTC))

# The table with the number of bad rows by source, day and reason; a company without any has none.
QUARANTINED = "quarantined"
# The table with the number of dropped repeats by source and day; a company without any has none.
REPEATS = "repeats"
_SHOWN, _LONGEST = 3, 30
# A column of which most values can't be read is mapped wrongly.
_MOSTLY = 0.5
# Words that exports write for nothing.
_NOTHING = {"null", "\\n", "n/a", "na", "none", "nan", "-", "--", "#n/a", "nil", "undefined", "unknown", "?"}
_COMMA = r"^[+-]?[0-9.' ]*,[0-9]{1,2}$"


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
        repeated: Rows dropped since they repeat another one.
        superseded: Rows dropped since there is a newer version.
        contested: Column to number of cells emptied since rows of one key contradict each other.
        unread: Column to number of cells emptied since they could not be read.
        currencies: Currency to number of rows, the commonest first.
        values: Reason of quarantine, or column of unread cells, to the commonest values that it is about.
        hints: What would make values readable, by the same.
        faults: Why no command but the check may use the table; () for a sound one.
    """

    table: str
    rows: int
    kept: int
    reasons: dict[str, int]
    first: datetime | None
    last: datetime | None
    quarantine: Path | None
    repeated: int = 0
    superseded: int = 0
    contested: dict[str, int] = field(default_factory=dict)
    unread: dict[str, int] = field(default_factory=dict)
    currencies: dict[str, int] = field(default_factory=dict)
    values: dict[str, list[str]] = field(default_factory=dict)
    hints: dict[str, str] = field(default_factory=dict)
    faults: tuple[tuple[str, str, str], ...] = ()

    @property
    def bad(self) -> int:
        """Return the number of rows and lines in quarantine."""
        return sum(n for why, n in self.reasons.items() if why != posted_events.WAITING)

    def as_dict(self) -> dict[str, Any]:
        """Return the result for JSON: instants in ISO, the file as text."""
        times = {name: t.isoformat() if t else None for name, t in (("first", self.first), ("last", self.last))}
        return vars(self) | times | {"quarantine": str(self.quarantine) if self.quarantine else None}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Self:
        """Build a result from what `as_dict` returned."""
        times = {name: datetime.fromisoformat(plain[name]) if plain[name] else None for name in ("first", "last")}
        file = Path(plain["quarantine"]) if plain["quarantine"] else None
        return cls(**plain | times | {"quarantine": file, "faults": tuple(tuple(f) for f in plain.get("faults", ()))})


def validate_table(backend: ibis.BaseBackend, settings: Settings, table: str) -> ValidatedTable:
    """Build one canonical table in the schema `main`, and its quarantine file.

    Raises:
        SourceError: The source can't be read, or has no rows.
    """
    mapping = map_table(backend, settings, table)
    staged = stage_rows(settings, table, mapping)
    lines = _select_bad_lines(settings, table)
    try:
        unread, repeated = _build_table(backend, settings, table, staged)
        rows = sum(backend.con.execute(f"SELECT count(*) FROM ({part})").fetchall()[0][0] for part in (staged, lines))
        kept = _count_own_rows(backend, table)
        identity.build_lookup_tables(backend.con, table, staged)
    except duckdb.Error as error:
        raise SourceError(f"tables.{table} can't be read", found=summarize_error(error)) from error
    if not rows:
        raise SourceError(f"tables.{table} has no rows", hint=f"Take [tables.{table}] out if the company has none")
    file = settings.var / "quarantine" / f"{table}.parquet"
    dropped, reasons, contested = Counter[str](), dict[str, int](), dict[str, int]()
    if rows > kept + repeated:
        reasons = _write_quarantine(backend, table, file, _select_bad_rows(table, staged, lines))
        if rows > kept + repeated + sum(reasons.values()):
            dropped = _count_dropped(backend, staged)
        if row_versions.describe_contradiction(row_versions.list_key(settings, table)) in reasons:
            contested = row_versions.empty_contested(backend.con, settings, table, staged)
    if reasons:
        identity.store_examples(backend.con, settings.tables[table], table, mapping, file)
    else:
        file.unlink(missing_ok=True)  # left by an earlier run
    first, last = _read_time_range(backend, table)
    currencies = money.list_currencies(settings) if table == "purchases" else None
    checked = ValidatedTable(
        table,
        rows,
        kept,
        reasons,
        first,
        last,
        file if reasons else None,
        repeated=repeated + dropped[row_versions.REPEATED],
        superseded=dropped[row_versions.SUPERSEDED],
        contested=contested,
        unread=unread,
        currencies=dict(backend.con.execute(currencies).fetchall()) if currencies else {},
    )
    return _judge(backend, _add_values(backend, settings, checked, mapping, staged), settings)


def _build_table(backend: ibis.BaseBackend, settings: Settings, table: str, staged: str) -> tuple[dict[str, int], int]:
    """Build a canonical table; return the number of cells that could not be read, by column, and of exact repeats."""
    names = ", ".join([*map(quote_identifier, list_columns(settings, table)), UNREAD])
    good, repeated = f"SELECT * FROM ({staged}) WHERE why IS NULL", 0

    def build(rows: str) -> int:
        chosen = identity.assign_to_survivors(f"SELECT {names} FROM ({rows})", table, settings)
        backend.con.execute(f"CREATE OR REPLACE TABLE main.{table} AS {_sort_rows(table, chosen)}")
        return _count_own_rows(backend, table)

    kept, spec = build(good), settings.tables[table]
    has_no_key = table in EVENTS and not row_versions.list_key(settings, table)
    if has_no_key and spec.repeats == "drop" and row_versions.has_equal_rows(backend.con, table):
        before = _count_by_day(backend, table)
        repeated = kept - build(row_versions.drop_repeats(good, table))
        _keep_repeats(backend, table, before)
    own = "AND first_known_at IS NULL" if table in EVENTS else ""
    cells = backend.con.execute(
        f"SELECT {UNREAD}, count(*) FROM main.{table} WHERE {UNREAD} IS NOT NULL {own} GROUP BY 1"
    ).fetchall()
    backend.con.execute(f"ALTER TABLE main.{table} DROP COLUMN {UNREAD}")
    unread = Counter[str]()
    for joined, count in cells:
        unread.update(dict.fromkeys(joined.split(BETWEEN)[1:], count))
    return dict(sorted(unread.items())), repeated


def _count_by_day(backend: ibis.BaseBackend, table: str) -> pa.Table:
    """Count the rows of an event table by day."""
    sql = f"SELECT {TABLES[table].time} // {DAY} AS day, count(*) AS n FROM main.{table} GROUP BY day"
    return backend.con.sql(sql).to_arrow_table()


def _keep_repeats(backend: ibis.BaseBackend, table: str, before: pa.Table) -> None:
    """Keep the number of dropped repeats by day, for the checks of sources."""
    after = _count_by_day(backend, table)
    with backend.con.cursor() as cursor:
        cursor.register("before", before)
        cursor.register("after", after)
        cursor.execute(f"CREATE TABLE IF NOT EXISTS main.{REPEATS} (source VARCHAR, day BIGINT, n BIGINT)")
        dropped = "SELECT day, b.n - a.n AS n FROM before b JOIN after a USING (day) WHERE b.n > a.n"
        cursor.execute(f"INSERT INTO main.{REPEATS} SELECT '{table}', day, n FROM ({dropped})")


def _count_dropped(backend: ibis.BaseBackend, staged: str) -> Counter[str]:
    """Count the rows that are dropped without a fault, by reason."""
    reasons = f"('{row_versions.REPEATED}', '{row_versions.SUPERSEDED}')"
    sql = f"SELECT why, count(*) FROM ({staged}) WHERE why IN {reasons} GROUP BY why"
    return Counter(dict(backend.con.execute(sql).fetchall()))


def _add_values(
    backend: ibis.BaseBackend, settings: Settings, checked: ValidatedTable, mapping: TableMapping, staged: str
) -> ValidatedTable:
    """Return the result with the commonest values that could not be read, and what would make them readable."""
    values, hints = dict[str, list[str]](), dict[str, str]()
    for reason in checked.reasons:
        column, is_about, kind = reason.partition(" is not ")
        if is_about and column in mapping.raw_values and not kind.startswith(("in ", "among ")):
            rows = f"SELECT raw AS {ROWS} FROM read_parquet({quote_literal(str(checked.quarantine))}) WHERE why = ?"
            values[reason], hints[reason] = _read_values(
                backend, settings, checked.table, mapping, column, rows, reason
            )
    for column in checked.unread:
        rows = f"SELECT raw AS {ROWS} FROM ({staged}) WHERE why IS NULL AND contains({UNREAD} || '{BETWEEN}', ?)"
        word = f"{BETWEEN}{column}{BETWEEN}"
        values[column], hints[column] = _read_values(backend, settings, checked.table, mapping, column, rows, word)
    return replace(checked, values=values, hints={key: hint for key, hint in hints.items() if hint})


def _read_values(  # noqa: PLR0913, PLR0917  # one for each part of the query
    backend: ibis.BaseBackend,
    settings: Settings,
    table: str,
    mapping: TableMapping,
    column: str,
    rows: str,
    parameter: str,
) -> tuple[list[str], str]:
    value = f"CAST({mapping.raw_values[column]} AS VARCHAR)"
    counted = f"SELECT {value} AS v, count(*) AS n FROM ({rows}) GROUP BY v"
    sql = f"SELECT v, n FROM ({counted}) WHERE v IS NOT NULL ORDER BY n DESC, v LIMIT 1000"
    found = backend.con.execute(sql, [parameter]).fetchall()
    if not found:
        return [], ""
    shown = [value[:_LONGEST] for value, _ in found[:_SHOWN]]
    sources, kind = list_sources(settings, settings.tables[table]), mapping.kinds[column].kind
    with_comma = sum(n for value, n in found if re.search(_COMMA, value))
    if not sources:
        hint = ""
    elif kind in {"decimal", "rate", "whole"} and 2 * with_comma > sum(n for _, n in found):
        hint = f'If the comma is a decimal sign: sources.{sources[0]}.decimal = ","'
    elif found[0][0].casefold() in _NOTHING:
        hint = f"If such words stand for nothing: sources.{sources[0]}.nothing = {json.dumps([found[0][0]])}"
    else:
        hint = ""
    return shown, hint


def _judge(backend: ibis.BaseBackend, checked: ValidatedTable, settings: Settings) -> ValidatedTable:
    """Return the result with its faults: what was wrong, what was found, what to do."""
    most, faults = settings.quality.max_quarantine, list[tuple[str, str, str]]()
    if checked.bad > most * checked.rows:
        reason, count = next(iter(checked.reasons.items()))
        share = f"{checked.bad:,} of {checked.rows:,} rows of {checked.table} are bad"
        found = f"{count:,} times: {reason}{_show_values(checked, reason)}"
        hint = f"{checked.hints[reason]}. " if reason in checked.hints else ""
        place = f"{hint}The rows and reasons are in {checked.quarantine}"
        faults.append((f"{share}, more than quality.max_quarantine allows", found, place))
    for column, count in checked.unread.items():
        sql = f"SELECT count({quote_identifier(column)}) FROM main.{checked.table}"
        present = backend.con.execute(sql).fetchall()[0][0] + count
        if count > max(most, _MOSTLY) * present:
            problem = f"{count:,} of {present:,} values of {checked.table}.{column} can't be read"
            hint = checked.hints.get(column) or f"Correct tables.{checked.table}.columns.{column}"
            faults.append((problem, _show_values(checked, column).strip(" ()"), hint))
    faults += _find_mixed_currencies(checked, settings)
    return replace(checked, faults=tuple(faults))


def _show_values(checked: ValidatedTable, key: str) -> str:
    shown = ", ".join(repr(value) for value in checked.values.get(key, ()))
    return f" ({shown})" if shown else ""


def _find_mixed_currencies(checked: ValidatedTable, settings: Settings) -> list[tuple[str, str, str]]:
    """Return the fault of money in other currencies than the company's, for which there are no rates."""
    others = [currency for currency in checked.currencies if currency != settings.company.currency.upper()]
    if not others or "rates" in settings.tables:
        return []
    found = ", ".join(f"{currency} in {n:,} rows" for currency, n in checked.currencies.items())
    if len(checked.currencies) == 1:
        hint = f'Set company.currency = "{others[0]}", or map [tables.rates] (currency, day, per_unit)'
    else:
        hint = f"Map [tables.rates] (currency, day, per_unit in {settings.company.currency}), or choose rows in a query"
    return [(f"money of purchases is not all in company.currency {settings.company.currency}", found, hint)]


def refuse_bad(tables: Sequence[ValidatedTable]) -> None:
    """Refuse tables that no command but the check may use.

    Raises:
        QualityError: Of the first fault, with the number of others.
    """
    faults = [fault for table in tables for fault in table.faults]
    if faults:
        problem, found, hint = faults[0]
        others = [t.table for t in tables if t.faults][1:]
        more = f" (and so are {', '.join(others)}: see the check)" if others else ""
        raise QualityError(f"{problem}{more}", found=found, hint=hint)


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


def _select_bad_lines(settings: Settings, table: str) -> str:
    """Return SQL of the lines of a table's sources that can't be read."""
    names = ", ".join(quote_literal(name) for name in list_sources(settings, settings.tables[table]))
    return f"SELECT why, file, line, text FROM {BAD_LINES} WHERE source IN ({names or 'NULL'})"


def _select_bad_rows(table: str, staged: str, lines: str) -> str:
    """Return SQL of raw, why, day, file, line, text: the bad rows, and the lines that are no rows."""
    time = TABLES[table].time
    day = f"{time} // {DAY}" if time else "NULL::BIGINT"
    is_bad = f"why NOT IN ('{row_versions.REPEATED}', '{row_versions.SUPERSEDED}')"
    rows = f"SELECT raw, why, {day} AS day FROM ({staged}) WHERE {is_bad}"
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

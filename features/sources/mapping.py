"""Connection to a company's sources, and the SQL that maps their rows to the canonical columns.

Ibis reads the sources into DuckDB, in the schema `source`. Mapping and casting happen there, so that an unreadable
row costs that row and not the run.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import duckdb
import ibis

from features.core.contract import DECIMAL, FLAG, TABLES, TIME, WHOLE, Column
from features.core.errors import SourceError, nearest
from features.core.redaction import hide_password
from features.settings import Settings, Source, Value

# The raw rows' name in a mapping's SQL; no column of a source will be called so.
ROWS = '"=raw"'
# ISO only: DuckDB ignores whatever follows a time, such as an offset after a space, UTC or PM.
_LOCAL = r"^\d{4}-\d{1,2}-\d{1,2}([T ][\d:.]+)?$"
_ZONED = r"^(\d{4}-\d{1,2}-\d{1,2}[T ][\d:.]+) ?(?:[zZ]|UTC|GMT|([+-]\d\d(?::?\d\d)?))$"


def attach_sources(backend: ibis.BaseBackend, settings: Settings) -> None:
    """Attach every source as a view or table in the schema `source` of a DuckDB backend.

    Raises:
        SourceError: A file or database table is missing or can't be read; the message names its key.
    """
    backend.raw_sql("CREATE SCHEMA source; SET search_path = 'source'; SET TimeZone = 'UTC'")
    for name, source in settings.sources.items():
        if source.path is not None:
            _attach_files(backend, name, source, settings.folder)
        else:
            _attach_database(backend, name, source, settings.folder)


def list_files(source: Source, folder: Path) -> list[Path] | None:
    """Return the existing files that a source is read from; None for a database on a server."""
    if source.path is None:
        url = str(source.url)
        return [folder / url.removeprefix("sqlite:///")] if url.startswith("sqlite:///") else None
    where = folder / source.path
    if where.is_dir():
        where = where / "*.parquet"
    return sorted(where.parent.glob(where.name)) if set("*?[") & set(where.name) else [where] * where.exists()


def _attach_files(backend: ibis.BaseBackend, name: str, source: Source, folder: Path) -> None:
    paths = list_files(source, folder)
    where = folder / str(source.path)
    if not paths:
        raise SourceError(f"sources.{name}.path names no file", found=str(where), hint="Correct the path in the TOML")
    literals = "[" + ", ".join(quote_literal(str(f)) for f in paths) + "]"
    suffixes = "".join(paths[0].suffixes[-2:]).lower()
    if suffixes.endswith(".parquet"):
        reader = f"read_parquet({literals}, union_by_name = true)"
    elif re.search(r"\.(csv|tsv|txt)(\.gz|\.zst)?$", suffixes):
        # All as text: the contract casts, row by row.
        reader = f"read_csv({literals}, all_varchar = true, header = true, union_by_name = true, nullstr = '')"
    else:
        raise SourceError(
            f"sources.{name}.path has no known format", found=str(where), hint="Use CSV, CSV.gz or Parquet"
        )
    try:
        backend.raw_sql(f"CREATE VIEW source.{quote_identifier(name)} AS SELECT * FROM {reader}")
    except duckdb.Error as error:
        raise SourceError(f"sources.{name}.path can't be read: {where}", found=summarize_error(error)) from error


def _attach_database(backend: ibis.BaseBackend, name: str, source: Source, folder: Path) -> None:
    url, table = str(source.url), str(source.table)
    shown = hide_password(url)
    if url.startswith("sqlite:///"):
        file = folder / url.removeprefix("sqlite:///")
        # SQLite would create an empty database where there is none.
        if not file.exists():
            raise SourceError(f"sources.{name}.url names no file", found=str(file), hint="Correct the url in the TOML")
        url = f"sqlite:///{file.absolute()}"
    try:
        with contextlib.closing(_ClosableBackend(ibis.connect(url))) as database:
            typed = database.backend.table(table)
            # All as text, as from a file: a column of UUIDs or one odd value must not cost the table.
            plain = {c: "string" for c, kind in typed.schema().items() if not kind.is_nested()}
            rows = typed.cast(plain).to_pyarrow()
    except Exception as error:  # noqa: BLE001  # every backend raises errors of its own; all mean that it can't be read
        reason = hide_password(summarize_error(error).replace(url, shown))
        raise SourceError(f"sources.{name}: table {table!r} can't be read from {shown}", found=reason) from None
    backend.create_table(name, rows, database="source")


@dataclass(frozen=True)
class _ClosableBackend:
    """An Ibis backend with the `close` that contextlib calls."""

    backend: ibis.BaseBackend

    def close(self) -> None:
        self.backend.disconnect()


@dataclass(frozen=True)
class TableMapping:
    """A canonical table as SQL over its raw rows.

    Args:
        origin: FROM clause of the raw rows, under the name `ROWS`.
        columns: Canonical column to the SQL of its value; null where it is missing or can't be read.
        raw_values: Canonical column to the SQL of its raw value; null where the raw row has none.
        kinds: Canonical column, or attribute of accounts, to its contract.
    """

    origin: str
    columns: dict[str, str]
    raw_values: dict[str, str]
    kinds: dict[str, Column]


def map_table(backend: ibis.BaseBackend, settings: Settings, table: str) -> TableMapping:
    """Build the SQL that maps one table, and check it against the columns of its source.

    Raises:
        SourceError: A mapped column does not exist, or a query or SQL expression is wrong.
    """
    spec = settings.tables[table]
    rows = f"source.{quote_identifier(spec.source)}" if spec.source else f"({spec.query})"
    expressions = {c: v.sql for c, v in spec.columns.items() if v.sql}
    added = "".join(f", ({sql}) AS {quote_identifier('=' + c)}" for c, sql in expressions.items())
    origin = f"(SELECT *{added} FROM {rows}) AS {ROWS}"
    try:
        described = backend.con.execute(f"DESCRIBE SELECT * FROM {origin}").fetchall()
    except duckdb.Error as error:
        raise SourceError(
            f"tables.{table} can't be read as its query and sql say", found=summarize_error(error)
        ) from error
    types = {row[0]: str(row[1]) for row in described}
    kinds = dict(TABLES[table].columns)
    columns, raw_values = {}, {}
    for column, value in spec.columns.items():
        kinds.setdefault(column, Column(value.kind))
        origin_column = "=" + column if value.sql else value.column
        if origin_column is not None and origin_column not in types:
            hint = nearest(origin_column, (c for c in types if not c.startswith("=")))
            raise SourceError(f"tables.{table}.columns.{column}: the source has no column {origin_column!r}", hint=hint)
        raw, kind = _select_raw(value, origin_column, types)
        raw_values[column] = raw
        zone = settings.zone(table).key
        columns[column] = _cast(raw, kind, kinds[column].kind, zone=zone, form=value.format)
    event = TABLES[table].time
    if event and "known_at" in kinds:
        lag = spec.lag // timedelta(microseconds=1)
        own, raw = columns.get("known_at", "NULL"), raw_values.get("known_at", "NULL")
        # Do not fill an unreadable known_at: the event would count as known too early.
        columns["known_at"] = f"CASE WHEN ({raw}) IS NULL THEN {columns[event]} + {lag} ELSE {own} END"
    return TableMapping(origin, columns, raw_values, kinds)


def _select_raw(value: Value, column: str | None, types: dict[str, str]) -> tuple[str, str]:
    """Return SQL of the raw value, with empty text and NaN as null, and its DuckDB type."""
    if column is None:
        constant = value.value
        sql = quote_literal(constant) if isinstance(constant, str) else str(constant)
        return sql, "VARCHAR" if isinstance(constant, str) else "DOUBLE"
    sql, kind = f"{ROWS}.{quote_identifier(column)}", types[column]
    if kind in {"FLOAT", "DOUBLE"}:
        sql = f"CASE WHEN isnan({sql}) THEN NULL ELSE {sql} END"
    if kind == "VARCHAR":
        sql = f"nullif(trim({sql}), '')"
    if value.map:
        cases = " ".join(f"WHEN {quote_literal(k)} THEN {quote_literal(v)}" for k, v in value.map.items())
        return f"CASE CAST({sql} AS VARCHAR) {cases} ELSE CAST({sql} AS VARCHAR) END", "VARCHAR"
    return sql, kind


def _cast(raw: str, kind: str, wanted: str, *, zone: str, form: str | None) -> str:
    """Return SQL of the canonical value; null where the raw value can't be cast."""
    if wanted == TIME:
        return _parse_time(raw, kind, zone=zone, form=form)
    if wanted == WHOLE:
        number = f"TRY_CAST({raw} AS DOUBLE)"
        return f"CASE WHEN {number} = floor({number}) THEN TRY_CAST({number} AS BIGINT) END"
    if wanted == DECIMAL:
        return f"TRY_CAST({raw} AS DECIMAL(18, 4))"
    if wanted == FLAG:
        return f"TRY_CAST({raw} AS BOOLEAN)"
    return f"CAST({raw} AS VARCHAR)"


def _parse_time(raw: str, kind: str, *, zone: str, form: str | None) -> str:
    """Return SQL of an instant in µs. Naive times are local to `zone`; a date is its midnight."""
    if kind.startswith("TIMESTAMP WITH TIME ZONE"):
        return f"CASE WHEN isfinite({raw}) THEN epoch_us({raw}) END"
    if kind == "VARCHAR" and form is None:
        clock, offset = (f"regexp_extract({raw}, {quote_literal(_ZONED)}, {group})" for group in (1, 2))
        zoned = f"TRY_CAST({clock} || coalesce(nullif({offset}, ''), 'Z') AS TIMESTAMPTZ)"
        local = f"TRY_CAST(CASE WHEN regexp_matches({raw}, {quote_literal(_LOCAL)}) THEN {raw} END AS TIMESTAMP)"
        return f"coalesce(epoch_us({zoned}), {_localize(local, zone)})"
    if kind == "VARCHAR":
        parsed = f"try_strptime({raw}, {quote_literal(str(form))})"
        # With an offset in the format, DuckDB parses an instant.
        return f"epoch_us({parsed})" if re.search("%[zZ]", str(form)) else _localize(parsed, zone)
    if kind == "DATE" or kind.startswith("TIMESTAMP"):
        return _localize(f"CAST({raw} AS TIMESTAMP)", zone)
    # A number may be seconds or milliseconds. Do not guess: a `sql` expression can convert it.
    return "CAST(NULL AS BIGINT)"


def _localize(naive: str, zone: str) -> str:
    finite = f"CASE WHEN isfinite({naive}) THEN {naive} END"
    return f"epoch_us({finite})" if zone == "UTC" else f"epoch_us(timezone({quote_literal(zone)}, {finite}))"


def quote_identifier(name: str) -> str:
    """Quote a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_literal(value: str) -> str:
    """Quote a value as an SQL text literal."""
    return "'" + value.replace("'", "''") + "'"


def summarize_error(error: Exception) -> str:
    """Return the first line of a database's error: later lines only mark the place in the query."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

"""The SQL that maps the rows of a company's sources to the canonical columns.

The sources are views in the schema `source` of DuckDB. Mapping and casting happen there, so that an unreadable
row costs that row and not the run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

import duckdb

from features.core.contract import DECIMAL, FLAG, RATE, TABLES, TIME, WHOLE, Column
from features.core.errors import SourceError, nearest
from features.core.timestamps import NEVER
from features.settings import Settings, TableMap, Value
from features.settings.tables import EPOCHS

# The raw rows' name in a mapping's SQL; no column of a source will be called so.
ROWS = '"=raw"'
# The function in DuckDB that redacts a text.
REDACT = "redact_prose"
# Columns in which loaders say when and how they delivered a row: Airbyte, Fivetran, dlt, Stitch and Singer taps.
_OF_LOADERS = re.compile(r"_(airbyte|fivetran|dlt|sdc)_")
# ISO only: DuckDB ignores whatever follows a time, such as an offset after a space, UTC or PM.
_LOCAL = r"^\d{4}-\d{1,2}-\d{1,2}([T ][\d:.]+)?$"
_ZONED = r"^(\d{4}-\d{1,2}-\d{1,2}[T ][\d:.]+) ?(?:[zZ]|UTC|GMT|([+-]\d\d(?::?\d\d)?))$"


@dataclass(frozen=True)
class TableMapping:
    """A canonical table as SQL over its raw rows.

    Args:
        origin: FROM clause of the raw rows, each a struct under the name `ROWS`, and of their values as `name_raw`
            calls them.
        columns: Canonical column to the SQL of its value; null where it is missing or can't be read.
        raw_values: Canonical column to the SQL of its raw value in `ROWS`; null where the raw row has none.
        kinds: Canonical column, or attribute of accounts, to its contract.
        version: SQL of the value that tells versions of a row apart; null where it is missing or can't be read.
        own: The columns of the raw rows, without those that loaders add at each delivery.
    """

    origin: str
    columns: dict[str, str]
    raw_values: dict[str, str]
    kinds: dict[str, Column]
    version: str | None = None
    own: tuple[str, ...] = ()


def select_source_rows(settings: Settings, table: str) -> str:
    """Return SQL of the raw rows of a table."""
    spec = settings.tables[table]
    return f"source.{quote_identifier(spec.source)}" if spec.source else f"({spec.query})"


def redact(value: str, settings: Settings) -> str:
    """Return SQL of a text redacted, or of nothing where no text is kept; the function is registered by `prose`."""
    return f"main.{REDACT}(CAST({value} AS VARCHAR))" if settings.texts.keep else "CAST(NULL AS VARCHAR)"


def map_table(connection: duckdb.DuckDBPyConnection, settings: Settings, table: str, rows: str) -> TableMapping:
    """Build the SQL that maps one table, and check it against the columns of its source.

    Args:
        connection: To DuckDB, with the sources attached.
        settings: The company's.
        table: A canonical table.
        rows: SQL of its raw rows, redacted.

    Raises:
        SourceError: A mapped column does not exist, or a query or SQL expression is wrong.
    """
    spec, contract = settings.tables[table], TABLES[table].columns
    written = find_value_form(settings, spec)
    expressions = {
        c: redact(v.sql, settings) if c in contract and contract[c].prose else v.sql
        for c, v in spec.columns.items()
        if v.sql
    }
    added = "".join(f", ({sql}) AS {quote_identifier('=' + c)}" for c, sql in expressions.items())
    origin = f"(SELECT *{added} FROM {rows}) AS {ROWS}"
    try:
        described = connection.execute(f"DESCRIBE SELECT * FROM {origin}").fetchall()
    except duckdb.Error as error:
        problem = f"tables.{table} can't be read as its query and sql say"
        hint = f"Correct {_find_wrong_sql(connection, table, rows, expressions)}"
        raise SourceError(problem, found=summarize_error(error), hint=hint) from error
    types = {row[0]: str(row[1]) for row in described}
    kinds = dict(TABLES[table].columns)
    columns, raw_values = {}, {}
    for column, value in spec.columns.items():
        kinds.setdefault(column, Column(value.kind))
        origin_column = "=" + column if value.sql else value.column
        if origin_column is not None and origin_column not in types:
            hint = nearest(origin_column, (c for c in types if not c.startswith("=")))
            key = f"tables.{table}.columns.{column}"
            if len(types) == 1 and re.search(r"[,;|\t]", next(iter(types))) and spec.source:
                hint += f". All is one column: correct sources.{spec.source}.delimiter"
            raise SourceError(f"{key}: the source has no column {origin_column!r}", hint=hint or f"Correct {key}")
        raw, kind = _select_raw(value, origin_column, types, nothing=written.nothing)
        if kinds[column].names:
            raw, kind = _drop_fraction(raw, kind), "VARCHAR"
        raw_values[column] = raw
        named = name_raw(column)
        if kind == "VARCHAR" and kinds[column].kind in {DECIMAL, RATE, WHOLE}:
            named = written.normalize_number(named)
        zone = settings.zone(table).key
        columns[column] = _cast(named, kind, kinds[column].kind, zone=zone, form=value.format)
        if value.inclusive:
            columns[column] = _find_next_midnight(columns[column], zone)
    event = TABLES[table].time
    if event and "known_at" in kinds:
        lag = spec.lag // timedelta(microseconds=1)
        filled = f"{columns[event]} + {lag}"
        # Do not fill an unreadable known_at: the event would count as known too early.
        if own := columns.get("known_at"):
            filled = f"CASE WHEN {name_raw('known_at')} IS NULL THEN {filled} ELSE {own} END"
        columns["known_at"] = filled
    version, raw_version = _map_version(settings, table, types, written)
    # A value is read in a query of its own: the SQL that casts it names it many times.
    values = {name_raw(column): raw for column, raw in (*raw_values.items(), ("=version", raw_version))}
    origin = f"(SELECT {ROWS}, {', '.join(f'{raw} AS {name}' for name, raw in values.items())} FROM {origin})"
    delivered = tuple(c for c in types if not _OF_LOADERS.match(c))
    return TableMapping(origin, columns, raw_values, kinds, version, delivered)


def name_raw(column: str) -> str:
    """Return what a mapping's SQL calls the raw value of a column."""
    return quote_identifier("^" + column)


def _find_next_midnight(instant: str, zone: str) -> str:
    """Return SQL of the midnight, local to `zone`, that ends the day of an instant in µs."""
    at = quote_literal(zone)
    day = f"date_trunc('day', timezone({at}, timezone('UTC', make_timestamp({instant}))))"
    return f"epoch_us(timezone({at}, {day} + INTERVAL 1 DAY))"


def _find_wrong_sql(connection: duckdb.DuckDBPyConnection, table: str, rows: str, expressions: dict[str, str]) -> str:
    """Return the key of the query or expression that is wrong."""
    for column, sql in {"": "1", **expressions}.items():
        try:
            connection.execute(f"DESCRIBE SELECT ({sql}) FROM {rows}")
        except duckdb.Error:
            return f"tables.{table}.columns.{column}" if column else f"tables.{table}.query"
    return f"tables.{table}.columns"


def _map_version(settings: Settings, table: str, types: dict[str, str], written: ValueForm) -> tuple[str | None, str]:
    """Return SQL of a row's version, None where a table has none, and of its raw value."""
    column = settings.tables[table].version
    if column is None:
        return None, "NULL"
    if column not in types:
        hint = nearest(column, (c for c in types if not c.startswith("=")))
        raise SourceError(f"tables.{table}.version: the source has no column {column!r}", hint=hint)
    raw, kind = _select_raw(Value(column=column), column, types, nothing=written.nothing)
    named = name_raw("=version")
    time = _parse_time(named, kind, zone=settings.zone(table).key, form=None)
    return f"coalesce(CAST({time} AS DECIMAL(38, 9)), TRY_CAST(CAST({named} AS VARCHAR) AS DECIMAL(38, 9)))", raw


@dataclass(frozen=True)
class ValueForm:
    """How values that are text are written.

    Args:
        nothing: Words that stand for nothing.
        decimal: The decimal sign.
        thousands: What stands between groups of digits; None for nothing.
    """

    nothing: tuple[str, ...] = ()
    decimal: str = "."
    thousands: str | None = None

    def normalize_number(self, raw: str) -> str:
        """Return SQL of a number with a decimal point and without groups; null where groups or sign are misplaced."""
        if self.decimal == "." and self.thousands is None:
            return raw
        marks = ".' \u00a0\u202f\u2019" if self.thousands is None else self.thousands
        groups = "[" + "".join(f"\\{mark}" if mark in r"\]^-" else mark for mark in _spaces(marks)) + "]"
        sign = re.escape(self.decimal)
        shape = rf"[+-]?(\d{{1,3}}({groups}\d{{2,3}})*{groups}\d{{3}}|\d*)({sign}\d*)?([eE][+-]?\d+)?"
        plain = f"replace(regexp_replace({raw}, {quote_literal(groups)}, '', 'g'), {quote_literal(self.decimal)}, '.')"
        return f"CASE WHEN regexp_full_match({raw}, {quote_literal(shape)}) THEN {plain} END"


def _spaces(marks: str) -> str:
    """Return the marks, and with a space the spaces that do not break a line."""
    return marks + "\u00a0\u202f" if " " in marks else marks


def list_sources(settings: Settings, spec: TableMap) -> list[str]:
    """Return the names of the sources that a table is read from."""
    if spec.source:
        return [spec.source]
    return [name for name in settings.sources if re.search(rf"\b{re.escape(name)}\b", str(spec.query))]


def find_value_form(settings: Settings, spec: TableMap) -> ValueForm:
    """Return how the values of a table are written: as its source says, or as all the sources of its query do."""
    sources = [settings.sources[name] for name in list_sources(settings, spec)]
    numbers = {(source.decimal, source.thousands) for source in sources}
    decimal, thousands = numbers.pop() if len(numbers) == 1 else (".", None)
    return ValueForm(tuple({word: None for source in sources for word in source.nothing}), decimal, thousands)


def _select_raw(
    value: Value, column: str | None, types: dict[str, str], *, nothing: tuple[str, ...]
) -> tuple[str, str]:
    """Return SQL of the raw value, with empty text, words for nothing and NaN as null, and its DuckDB type."""
    if column is None:
        constant = value.value
        sql = quote_literal(constant) if isinstance(constant, str) else str(constant)
        return sql, "VARCHAR" if isinstance(constant, str) else "DOUBLE"
    sql, kind = f"{ROWS}.{quote_identifier(column)}", types[column]
    if kind in {"FLOAT", "DOUBLE"}:
        sql = f"CASE WHEN isnan({sql}) THEN NULL ELSE {sql} END"
    if kind == "VARCHAR":
        sql = f"nullif(trim({sql}), '')"
        if nothing:
            words = ", ".join(quote_literal(word) for word in nothing)
            sql = f"CASE WHEN {sql} NOT IN ({words}) THEN {sql} END"
    if value.map:
        cases = " ".join(f"WHEN {quote_literal(k)} THEN {quote_literal(v)}" for k, v in value.map.items())
        # A map to "" makes nothing of a value.
        return f"nullif(CASE CAST({sql} AS VARCHAR) {cases} ELSE CAST({sql} AS VARCHAR) END, '')", "VARCHAR"
    return sql, kind


def _drop_fraction(raw: str, kind: str) -> str:
    """Return SQL of an id as text: one that went through a float, 100000.0, is the whole number again."""
    if kind not in {"VARCHAR", "FLOAT", "DOUBLE"} and not kind.startswith("DECIMAL"):
        return f"CAST({raw} AS VARCHAR)"
    if kind in {"FLOAT", "DOUBLE"}:
        is_exact = f"{raw} = floor({raw}) AND abs({raw}) < 9007199254740992"
        return f"CASE WHEN {is_exact} THEN CAST(CAST({raw} AS BIGINT) AS VARCHAR) ELSE CAST({raw} AS VARCHAR) END"
    text = f"CAST({raw} AS VARCHAR)"
    return (
        f"CASE WHEN contains({text}, '.') THEN regexp_replace({text}, '^(-?(?:0|[1-9][0-9]*))\\.0+$', '\\1') "
        f"ELSE {text} END"
    )


def _cast(raw: str, kind: str, wanted: str, *, zone: str, form: str | None) -> str:
    """Return SQL of the canonical value; null where the raw value can't be cast."""
    if wanted == TIME:
        return _parse_time(raw, kind, zone=zone, form=form)
    if wanted == WHOLE:
        number = f"TRY_CAST({raw} AS DOUBLE)"
        return f"CASE WHEN {number} = floor({number}) THEN TRY_CAST({number} AS BIGINT) END"
    if wanted == DECIMAL:
        return f"TRY_CAST({raw} AS DECIMAL(18, 4))"
    if wanted == RATE:
        return f"TRY_CAST({raw} AS DECIMAL(18, 10))"
    if wanted == FLAG:
        return f"TRY_CAST({raw} AS BOOLEAN)"
    return f"CAST({raw} AS VARCHAR)"


def _parse_time(raw: str, kind: str, *, zone: str, form: str | None) -> str:
    """Return SQL of an instant in µs. Naive times are local to `zone`; a date is its midnight."""
    if form in EPOCHS:
        number = f"TRY_CAST(CAST({raw} AS VARCHAR) AS DECIMAL(38, 6)) * {EPOCHS[form]}"
        return f"CASE WHEN abs({number}) < {NEVER} THEN CAST({number} AS BIGINT) END"
    if kind.startswith("TIMESTAMP WITH TIME ZONE"):
        return f"CASE WHEN isfinite({raw}) THEN epoch_us({raw}) END"
    if kind == "VARCHAR" and form is None:
        clock, offset = (f"regexp_extract({raw}, {quote_literal(_ZONED)}, {group})" for group in (1, 2))
        zoned = f"epoch_us(TRY_CAST({clock} || coalesce(nullif({offset}, ''), 'Z') AS TIMESTAMPTZ))"
        local = _localize(f"TRY_CAST({raw} AS TIMESTAMP)", zone)
        return f"CASE WHEN regexp_matches({raw}, {quote_literal(_LOCAL)}) THEN {local} ELSE {zoned} END"
    if kind == "VARCHAR":
        parsed = f"try_strptime({raw}, {quote_literal(str(form))})"
        # With an offset in the format, DuckDB parses an instant.
        return f"epoch_us({parsed})" if re.search("%[zZ]", str(form)) else _localize(parsed, zone)
    if kind == "DATE" or kind.startswith("TIMESTAMP"):
        return _localize(f"CAST({raw} AS TIMESTAMP)", zone)
    # A number may be seconds or milliseconds. Do not guess: `format` says which.
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

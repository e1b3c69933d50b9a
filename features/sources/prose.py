"""Redact what people wrote, before any of it is stored.

In: the raw rows of a table that maps columns of prose (`Column.prose`: subject and body of tickets, text of surveys and
promises). Out: the rows with these columns redacted, so that the canonical table, the quarantine and every report are
made of redacted texts alone. There is no setting that turns it off; `[texts]` can keep no text at all.
"""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pyarrow as pa

from features.core.contract import TABLES
from features.core.redaction import make_redaction
from features.settings import Settings, TableMap
from features.sources.mapping import (
    REDACT,
    list_sources,
    quote_identifier,
    quote_literal,
    redact,
    select_source_rows,
)
from features.sources.source_views import BAD_LINES


def list_prose(settings: Settings, table: str) -> list[str]:
    """Return the mapped columns of a canonical table that hold prose."""
    columns = TABLES[table].columns
    return [c for c in settings.tables[table].columns if c in columns and columns[c].prose]


def redact_rows(connection: duckdb.DuckDBPyConnection, settings: Settings, table: str) -> str:
    """Return SQL of a table's raw rows with all prose redacted, or emptied where `texts.keep` is false.

    Redacted are the columns that prose is mapped from and, since the quarantine keeps rows as they came, the text
    columns that nothing is mapped from. The rows become a temporary table: each text is redacted once.

    Args:
        connection: To DuckDB, with the sources attached.
        settings: The company's.
        table: A canonical table; the rows of one without prose stay as they are.
    """
    rows = select_source_rows(settings, table)
    if not list_prose(settings, table):
        return rows
    try:
        described = connection.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()
    except duckdb.Error:
        return rows  # the mapping says what is wrong with it
    types = {row[0]: str(row[1]) for row in described}
    _register(connection, settings)
    said, unmapped = _divide(settings.tables[table], table, types)
    replaced = {c: f"main.{REDACT}({quote_identifier(c)})" for c in unmapped}
    replaced |= {c: redact(quote_identifier(c), settings) for c in said}
    if not replaced:
        return rows
    columns = ", ".join(f"{sql} AS {quote_identifier(c)}" for c, sql in replaced.items())
    name = quote_identifier(f"=redacted_{table}")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * REPLACE ({columns}) FROM {rows}")
    return f"temp.main.{name}"


def redact_lines(settings: Settings, table: str, line: str) -> str:
    """Return SQL of a line that can't be read; of a table with prose redacted."""
    return f"main.{REDACT}({line})" if list_prose(settings, table) else line


def drop_redacted(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Free the memory of a table's redacted rows."""
    connection.execute(f"DROP TABLE IF EXISTS temp.main.{quote_identifier(f'=redacted_{table}')}")


def find_unredacted(connection: duckdb.DuckDBPyConnection, settings: Settings) -> bool:
    """Return whether tables of the schema `source` hold prose as it came: those read from databases and spreadsheets.

    Their blocks stay in the file after they are dropped, until the file is written anew.
    """
    names = {
        name for table in settings.tables if list_prose(settings, table) for name in _list_sources(settings, table)
    }
    if not names:
        return False
    tables = "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'source'"
    copied = {str(name).removeprefix("=") for (name,) in connection.execute(tables).fetchall()}
    if names & copied:
        return True
    listed = ", ".join(map(quote_literal, sorted(names)))
    sql = f"SELECT count(*) FROM {BAD_LINES} WHERE source IN ({listed})"
    return bool(connection.execute(sql).fetchall()[0][0])


def rewrite_file(file: Path) -> None:
    """Write a DuckDB file anew, without the blocks of tables that were dropped."""
    anew = file.with_name(f"{file.name}.anew")
    anew.unlink(missing_ok=True)
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH {quote_literal(str(file))} AS old (READ_ONLY)")
        connection.execute(f"ATTACH {quote_literal(str(anew))} AS anew")
        connection.execute("COPY FROM DATABASE old TO anew; DETACH old; DETACH anew")
    anew.chmod(0o600)
    anew.replace(file)


def _list_sources(settings: Settings, table: str) -> list[str]:
    return list_sources(settings, settings.tables[table])


def _divide(spec: TableMap, table: str, types: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return the raw columns that prose is mapped from, and those of text that nothing is mapped from."""
    columns = TABLES[table].columns
    prose = [v for c, v in spec.columns.items() if c in columns and columns[c].prose]
    other = [v for c, v in spec.columns.items() if c not in columns or not columns[c].prose]
    folded = {c.casefold(): c for c in types}

    def named(values: list[object]) -> set[str]:
        direct = {folded.get(str(v.column).casefold(), "") for v in values if v.column}  # type: ignore[attr-defined]
        inside = " ".join(str(v.sql) for v in values if v.sql).casefold()  # type: ignore[attr-defined]
        return direct | {c for f, c in folded.items() if re.search(rf"(?<!\w){re.escape(f)}(?!\w)", inside)}

    said, mapped = named(list(prose)), named(list(other)) | {spec.version or ""}
    texts = {c for c, kind in types.items() if kind == "VARCHAR"}
    return [c for c in types if c in said], [c for c in types if c in texts - said - mapped]


def _register(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Register the function that redacts, once a connection."""
    found = connection.execute("SELECT 1 FROM duckdb_functions() WHERE function_name = ?", [REDACT]).fetchall()
    if found:
        return
    redact = make_redaction(settings.texts.hide)

    def redact_batch(texts: pa.Array) -> pa.Array:
        return pa.array([None if text is None else redact(text) for text in texts.to_pylist()], pa.string())

    connection.create_function(REDACT, redact_batch, ["VARCHAR"], "VARCHAR", type="arrow")

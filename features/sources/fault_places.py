"""Find where a bad row stands: the file, and its line."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb

from features.core.errors import SourceError
from features.settings import Settings
from features.sources import text_files
from features.sources.files import find_format, list_files
from features.sources.mapping import quote_literal
from features.sources.validated_table import ValidatedTable

# Lines that are looked through for a row.
_MOST = 200_000


def find_place(connection: duckdb.DuckDBPyConnection, settings: Settings, checked: ValidatedTable, reason: str) -> str:
    """Return the file of the first row that is bad for a reason, and its line if that is a text file; "" if unknown.

    Args:
        connection: To DuckDB.
        settings: The company's.
        checked: The table, with its quarantine.
        reason: Why the row is bad.
    """
    name = settings.tables[checked.table].source
    files = list_files(settings.sources[name], settings.folder) if name and settings.sources[name].path else None
    if not name or not files or checked.quarantine is None:
        return ""
    if find_format(files[0]) != "csv":
        return f"in {files[0].name}" if len(files) == 1 else ""
    bad = f"SELECT raw FROM read_parquet({quote_literal(str(checked.quarantine))})"
    rows = connection.execute(f"{bad} WHERE why = ? AND raw IS NOT NULL LIMIT 1", [reason]).fetchall()
    if not rows:
        return ""
    for file in files:
        line = _find_line(settings, name, file, rows[0][0])
        if line:
            return f"first in {file.name}, line {line}"
    return ""


def _find_line(settings: Settings, name: str, file: Path, row: dict[str, Any]) -> int | None:
    try:
        form = text_files.read_form(file, settings.sources[name], name=name)
        wanted = [] if form is None else [row.get(column) or "" for column in form.columns]
        return _match(text_files.read_records(file, form), wanted) if form else None
    except (SourceError, OSError, ValueError):
        return None


def _match(records: Iterable[tuple[int, list[str]]], wanted: list[str]) -> int | None:
    return next((line for line, fields in islice(records, _MOST) if fields == wanted), None)

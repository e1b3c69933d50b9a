"""Write everything that is kept of an account or a person as one JSON file."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from features.core.atomic_write import write_atomically
from features.core.contract import TABLES
from features.erasure import databases, files, places
from features.erasure.erase import find_terms
from features.erasure.terms import Terms
from features.settings import Settings
from features.sources.history import History
from features.state import database
from features.state.tombstones import Kind

Rows = dict[str, list[dict[str, Any]]]


def write_export(settings: Settings, kind: Kind, one: str, output: Path) -> dict[str, int]:
    """Write the company's tables, the state and the files as far as they are about an account or a person.

    Args:
        settings: The company's.
        kind: account or person.
        one: The id.
        output: The file, 0600; it holds `tables`, `state` and `files`, each rows by place, and `named_in`: other
            files that name them.

    Returns:
        The number of rows by place.

    Raises:
        GarrisonError: The tables can't be read, or the file can't be written.
    """
    with History.open(settings, refuse=False) as history:
        tables = _read_tables(history, kind, one)
    with database.open(settings) as store:
        terms = find_terms(settings, store, kind, one)
        with store.reading() as connection:
            state = databases.read_rows(connection, terms)
    rows, named = _read_files(settings, terms)
    about = {kind: one, "company": settings.company.name, "made_at": datetime.now(UTC).isoformat()}
    parts: dict[str, Rows] = {"tables": tables, "state": state, "files": rows}
    with write_atomically(output) as part:
        part.touch(mode=0o600)
        text = json.dumps(about | parts | {"named_in": named}, ensure_ascii=False, indent=1, default=str)
        part.write_text(text + "\n", encoding="utf-8")
    return {f"{name}: {place}": len(some) for name, found in parts.items() for place, some in found.items()}


def _read_tables(history: History, kind: Kind, one: str) -> Rows:
    """Read the canonical rows that name them in a personal column."""
    found: Rows = {}
    for table in history.tables:
        names = [name for name, column in TABLES[table].columns.items() if column.personal == kind]
        if not names:
            continue
        condition = " OR ".join(f'"{name}" = $one' for name in names)
        with history.open_cursor() as cursor:
            sql = f"SELECT * FROM {table} WHERE {condition}"
            rows = cursor.sql(sql, params={"one": one}).to_arrow_table().to_pylist()
        if rows:
            found[table] = rows
    return found


def _read_files(settings: Settings, terms: Terms) -> tuple[Rows, list[str]]:
    """Read the rows of Parquet files about them, and list the other files that name them."""
    rows, named, state = Rows(), list[str](), places.find_state_file(settings)
    for _, file in places.list_files(settings):
        if file == state or file.suffix == ".duckdb" or not files.is_named_in(file, terms):
            continue
        some = files.read_parquet_rows(file, terms) if file.suffix == ".parquet" else []
        if some:
            rows[_name(file)] = some
        else:
            named.append(_name(file))
    return rows, named


def _name(file: Path) -> str:
    return "/".join(file.parts[-2:])

"""The rows that were received, folded into tables: of a row that came several times the newest."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import duckdb

from features.core.atomic_write import write_atomically
from features.loading.endpoints import Endpoint, name_column

# Columns that dlt adds to all tables, to link what was nested to the row that it came in.
_ID, _PARENT, _LOAD = "_dlt_id", "_dlt_parent_id", "_dlt_load_id"


def fold_tables(received: Path, loads: Iterable[str], endpoints: Iterable[Endpoint], target: Path) -> dict[str, int]:
    """Write each received table, and the tables of what was nested in it, as one file.

    Rows of loads that did not end are left out: they come again. The result depends on the received files alone, so
    that a fold that was cut off is simply done anew.

    Args:
        received: Folder with a folder for each table, of Parquet files whose names begin with their load.
        loads: The loads that ended.
        endpoints: The tables.
        target: Folder to write `TABLE/rows.parquet` into.

    Returns:
        Table to its number of rows.
    """
    ended, rows = set(loads), dict[str, int]()
    with duckdb.connect() as connection:
        for endpoint in endpoints:
            if not (received / endpoint.name).is_dir():
                continue
            parts = sorted(received.glob(f"{endpoint.name}/*.parquet"))
            rows |= _fold(connection, endpoint.name, _choose(connection, parts, ended, endpoint), target)
            for child in sorted(received.glob(f"{endpoint.name}__*")):
                parent = _find_parent(child.name, rows)
                kept = f"{_PARENT} IN (SELECT {_ID} FROM read_parquet({_quote(target / parent / 'rows.parquet')}))"
                files = [file for file in sorted(child.glob("*.parquet")) if _load_of(file) in ended]
                sql = f"SELECT * FROM {_read(files)} WHERE {kept}" if files and parent in rows else None
                rows |= _fold(connection, child.name, sql, target)
    return rows


def _choose(
    connection: duckdb.DuckDBPyConnection, files: list[Path], ended: set[str], endpoint: Endpoint
) -> str | None:
    """Return SQL of the newest row of each key; None without any row."""
    files = [file for file in files if _load_of(file) in ended]
    if not files:
        return None
    read = _read(files)
    if not endpoint.key:
        return f"SELECT * FROM {read}"
    present = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {read}").fetchall()}
    key = ", ".join(f'"{name_column(column)}"' for column in endpoint.key)
    newest = name_column(endpoint.cursor or "")
    cursor = f', "{newest}" DESC NULLS LAST' if newest in present else ""
    order = f"CAST({_LOAD} AS DOUBLE) DESC{cursor}"
    return f"SELECT * FROM {read} QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY {order}) = 1"


def _fold(connection: duckdb.DuckDBPyConnection, name: str, sql: str | None, target: Path) -> dict[str, int]:
    folder = target / name
    if sql is None:
        shutil.rmtree(folder, ignore_errors=True)
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    with write_atomically(folder / "rows.parquet") as part:
        ((count,),) = connection.execute(f"COPY ({sql}) TO {_quote(part)} (FORMAT parquet)").fetchall()
    return {name: int(count)}


def _find_parent(child: str, tables: Iterable[str]) -> str:
    """Return the table that a nested one belongs to: the longest name that its own begins with."""
    return max((name for name in tables if child.startswith(f"{name}__")), key=len, default="")


def _load_of(file: Path) -> str:
    """Return the load that wrote a file: the first two parts of its name, which is a number with a point."""
    return ".".join(file.name.split(".")[:2])


def _read(files: Iterable[Path]) -> str:
    return f"read_parquet([{', '.join(map(_quote, files))}], union_by_name = true)"


def _quote(file: Path) -> str:
    return "'" + str(file).replace("'", "''") + "'"

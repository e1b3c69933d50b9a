"""Drop the rows of accounts and people who were erased, before any of them is stored.

A source may hold them for long after. The state database knows them by keyed hashes alone, so the ids of each table are
hashed as it is read; a company that erased nobody pays nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import duckdb
import sqlalchemy as sa

from features.core.contract import TABLES
from features.settings import Settings
from features.sources import posted_events
from features.sources.mapping import TableMapping, quote_identifier, quote_literal
from features.state.erasure_tables import ERASURES
from features.state.tombstones import NOBODY, Kind, Tombstones, query_tombstones

# The reason that drops a row of somebody who was erased.
ERASED = "=erased"
_IDS = 'temp.main."=erased"'


def read_tombstones(settings: Settings) -> Tombstones:
    """Read who was erased; nobody where there is no state database yet.

    Raises:
        SourceError: The state database can't be read.
        SettingsError: The key is not the one that they were erased by.
    """
    with posted_events.connect_state(settings) as connection:
        if connection is None or not sa.inspect(connection).has_table(ERASURES.name):
            return NOBODY
        return query_tombstones(connection, settings)


def find_erased(
    connection: duckdb.DuckDBPyConnection, settings: Settings, mapping: TableMapping, table: str, gone: Tombstones
) -> bool:
    """Find which ids of a table's raw rows were erased, for the SQL of this module; return whether any was so far.

    Args:
        connection: To DuckDB, with the sources attached.
        settings: The company's.
        mapping: Of the table.
        table: A canonical table.
        gone: Who was erased.
    """
    if not gone:
        return False
    connection.execute('CREATE TEMP TABLE IF NOT EXISTS "=erased" (kind VARCHAR, id VARCHAR)')
    for name in TABLES[table].columns:
        kind = _find_kind(table, name)
        is_external = name == "account_id" and settings.tables[table].system
        if kind is None or name not in mapping.columns or is_external or (table, name) == ("identities", "external_id"):
            continue
        ids = connection.execute(f"SELECT DISTINCT {mapping.columns[name]} FROM {mapping.origin}").fetchall()
        found = gone.find(kind, (str(one) for (one,) in ids if one is not None))
        if found:
            connection.executemany(f"INSERT INTO {_IDS} VALUES (?, ?)", [(kind, one) for one in sorted(found)])
    return bool(connection.execute(f"SELECT count(*) FROM {_IDS}").fetchall()[0][0])


def _find_kind(table: str, column: str) -> Kind | None:
    known = TABLES[table].columns.get(column)
    return known.personal if known and known.personal in get_args(Kind) else None  # type: ignore[return-value]


def list_faults(table: str) -> Iterator[str]:
    """Yield WHEN clauses of staged rows that are about somebody who was erased: a needed column names them."""
    for name, column in TABLES[table].columns.items():
        if column.needed and _find_kind(table, name):
            yield f"WHEN {_is_erased(quote_identifier('.' + name), table, name)} THEN {quote_literal(ERASED)}"


def empty_reference(value: str, table: str, column: str) -> str:
    """Return SQL of a value; null where it refers to somebody who was erased, in a column that may be empty."""
    if TABLES[table].columns[column].needed or not _find_kind(table, column):
        return value
    return f"CASE WHEN NOT ({_is_erased(value, table, column)}) THEN {value} END"


def _is_erased(value: str, table: str, column: str) -> str:
    ids = f"SELECT id FROM {_IDS} WHERE kind = {quote_literal(str(_find_kind(table, column)))}"
    return f"coalesce({value} IN ({ids}), false)"


def hide_raw(raw: str) -> str:
    """Return SQL of a bad row as it came; null of one that holds an erased id, such as a person's in another's row."""
    return f"CASE WHEN NOT EXISTS (SELECT 1 FROM {_IDS} e WHERE contains(CAST(raw AS VARCHAR), e.id)) THEN {raw} END"


def leave_out_lines(lines: str) -> str:
    """Return SQL of unreadable lines without those that hold an erased id."""
    return f"SELECT * FROM ({lines}) WHERE NOT EXISTS (SELECT 1 FROM {_IDS} e WHERE contains(text, e.id))"


def clear_lookups(connection: duckdb.DuckDBPyConnection, gone: Tombstones) -> bool:
    """Remove what was kept of erased accounts to recognise rows by; return whether the file has to be written anew.

    Blocks that held it stay in the file until then.
    """
    if gone:
        ids = f"SELECT id FROM {_IDS} WHERE kind = 'account'"
        connection.execute(f"DELETE FROM identity.spans WHERE account_id IN ({ids})")
    return bool(gone)

"""Give users pseudonyms at import, where the company wants it: keyed hashes, so that an id is stored nowhere.

In: staged rows of usage. Out: the same with each user's id hashed, also in the raw rows that go to quarantine. Features
only count which users differ, so they are equal.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from features.settings import Settings
from features.sources.mapping import quote_identifier
from features.state.tombstones import make_pseudonyms

USER = "user_id"
_HASH = "hash_user"


def register(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Register the function that hashes, if ids are hashed; the key stays out of all SQL."""
    hash_one = make_pseudonyms(settings)
    if hash_one is None:
        return

    def hash_batch(ids: pa.Array) -> pa.Array:
        return pa.array([None if one is None else hash_one(one) for one in ids.to_pylist()], pa.string())

    connection.create_function(_HASH, hash_batch, ["VARCHAR"], "VARCHAR", type="arrow")


def hash_user(value: str, table: str, column: str, settings: Settings) -> str:
    """Return SQL of a value, hashed if it is a user's id and these are hashed."""
    is_hashed = (table, column) == ("usage", USER) and settings.privacy.user_ids == "hash"
    return f"main.{_HASH}(CAST({value} AS VARCHAR))" if is_hashed else value


def hide_raw(table: str, settings: Settings) -> str:
    """Return SQL of a bad row as it came, its user's id hashed; the row is left out where the id is made by SQL."""
    mapped = settings.tables[table].columns.get(USER) if table == "usage" else None
    if mapped is None or settings.privacy.user_ids == "keep":
        return "raw"
    if mapped.column is None:
        return "NULL::STRUCT(hidden VARCHAR)"
    name = quote_identifier(mapped.column)
    return f"struct_update(raw, {name} := {hash_user(f'raw.{name}', table, USER, settings)})"

"""Erase an account or a person from everything that is kept, and look whether they are gone.

First comes the tombstone, so that no import brings them back meanwhile; the caches of the company's tables come last,
since they say what else names the account. A run that is killed can be repeated: each place is written whole or not at
all, and what is gone already counts nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import duckdb

from features.core.contract import TABLES
from features.core.errors import GarrisonError
from features.core.progress import Progress
from features.erasure import databases, places
from features.erasure.files import erase_from_file, is_named_in
from features.erasure.terms import Terms
from features.settings import Settings
from features.state import database
from features.state.database import Store
from features.state.locks import Lock, try_lock
from features.state.tombstones import Kind, make_pseudonyms, mark_done, write_tombstone

_STATE = "state"
_CACHE = ".duckdb"
# Shorter names are words that others use.
_LEAST_NAME = 4


@dataclass(frozen=True)
class Erasure:
    """What was erased.

    Args:
        counts: Rows and places that went, by table of the state or by folder.
        out_of_reach: In words, where else they may be kept.
    """

    counts: dict[str, int]
    out_of_reach: list[str]


def erase(settings: Settings, kind: Kind, one: str, *, reason: str, progress: Progress | None = None) -> Erasure:
    """Erase an account or a person; a second time finds nothing.

    Args:
        settings: The company's.
        kind: account or person.
        one: The id: of the account, or of a person in the tables, or a person's address.
        reason: Kept with the tombstone.
        progress: Called with each place.

    Raises:
        GarrisonError: The id is empty, the reason names it, a night is running, or a file can't be written.
    """
    if not one.strip() or not reason.strip():
        raise GarrisonError("an erasure needs an id and a reason")
    if Terms(one).are_in(reason):
        raise GarrisonError("the reason names the id, and is kept", hint="Give a reason without it")
    with database.open(settings) as store, try_lock(store.engine, Lock.NIGHT) as is_held:
        if not is_held:
            raise GarrisonError("a night is running, and would write what is erased", hint="Erase once it is done")
        named = [find_terms(settings, store, kind, name) for name in _list_ids(settings, kind, one)]
        counts = Counter[str]()
        with store.writing() as connection:
            hashed = write_tombstone(connection, settings, kind, one, reason)
            for terms in named:
                counts.update({f"{_STATE}/{t}": n for t, n in databases.erase_from_database(connection, terms).items()})
        if progress:
            progress(_STATE)
        databases.compact(store.engine)
        state, files = places.find_state_file(settings), list(places.list_files(settings))
        for place, file in sorted(files, key=lambda found: found[1].suffix == _CACHE):
            if progress:
                progress(place)
            for terms in named:
                if file != state and file.exists() and (n := _erase_file(file, terms)):
                    counts[place] += n
        with store.writing() as connection:
            mark_done(connection, hashed)
    return Erasure(dict(sorted(counts.items())), places.list_out_of_reach(settings))


def _erase_file(file: Path, terms: Terms) -> int:
    try:
        return erase_from_file(file, terms)
    except FileNotFoundError:  # another process removed it
        return 0
    except OSError as error:
        raise GarrisonError(
            f"{file} can't be read or written", found=error.strerror, hint="Then erase again"
        ) from error


def verify(settings: Settings, kind: Kind, one: str) -> list[str]:
    """Return where an account or a person is still named: tables and columns of the state, and files.

    Databases, Parquet and packed files are read as what they are, and the bytes of every file besides, but for ids of
    fewer than `terms.LEAST_BYTES` bytes.
    """
    with database.open(settings) as store:
        named = [find_terms(settings, store, kind, name) for name in _list_ids(settings, kind, one)]
        with store.reading() as connection:
            columns = [column for terms in named for column in databases.find_in_database(connection, terms)]
        if places.find_state_file(settings):
            databases.compact(store.engine)  # what is read above may have brought its log back
    files = (file for _, file in places.list_files(settings))
    found = [str(file) for file in files if any(_is_named(file, terms) for terms in named)]
    return [*(f"{_STATE} {column}" for column in columns), *found]


def _list_ids(settings: Settings, kind: Kind, one: str) -> list[str]:
    """Return the id, and a person's pseudonym where users have these."""
    pseudonyms = make_pseudonyms(settings) if kind == "person" else None
    return [one, pseudonyms(one)] if pseudonyms else [one]


def _is_named(file: Path, terms: Terms) -> bool:
    try:
        return is_named_in(file, terms)
    except FileNotFoundError:
        return False


def find_terms(settings: Settings, store: Store, kind: Kind, one: str) -> Terms:
    """Find what names an account or a person: of an account also its ids in other systems, its name, and its people.

    They stand in the caches of the company's tables, as long as there are any.
    """
    aliases, names, others = set[str](), set[str](), set[str]()
    for file in sorted((settings.var / "history").glob(f"*{_CACHE}")):
        try:
            with duckdb.connect(str(file), read_only=True) as connection:
                aliases |= _read_named(connection, kind, one, "account", {"identities"})
                names |= _read_named(connection, kind, one, "name", {"accounts", "people"})
                names |= _read_named(connection, kind, one, "person", {"people"})
                others |= _read_longer(connection, kind, one)
        except duckdb.Error:
            continue  # harmed, or being written: it is removed
    with store.reading() as connection:
        others |= {value for value in databases.list_accounts(connection) if one in value}
    long = {name for name in names - {one} if len(name) >= _LEAST_NAME}
    return Terms(one, longer=others, aliases=aliases - {one}, names=long)


def _read_named(
    connection: duckdb.DuckDBPyConnection, kind: Kind, one: str, personal: str, tables: set[str]
) -> set[str]:
    """Read what stands in columns of a personal kind in the rows of an account or a person."""
    found = set[str]()
    for table in tables & _list_tables(connection):
        keys = [c for c, column in TABLES[table].columns.items() if column.needed and column.personal == kind]
        for name in (c for c, column in TABLES[table].columns.items() if column.personal == personal):
            for key in keys:
                sql = f'SELECT DISTINCT "{name}" FROM main.{table} WHERE "{key}" = ? AND "{name}" IS NOT NULL'
                found |= {str(value) for (value,) in connection.execute(sql, [one]).fetchall()}
    return found


def _read_longer(connection: duckdb.DuckDBPyConnection, kind: Kind, one: str) -> set[str]:
    """Read the ids of others of the kind that hold the id."""
    found = set[str]()
    for table in _list_tables(connection):
        for name in (c for c, column in TABLES[table].columns.items() if column.needed and column.personal == kind):
            sql = f'SELECT DISTINCT "{name}" FROM main.{table} WHERE contains("{name}", ?)'
            found |= {str(value) for (value,) in connection.execute(sql, [one]).fetchall()}
    return found


def _list_tables(connection: duckdb.DuckDBPyConnection) -> set[str]:
    rows = connection.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main'").fetchall()
    return {name for (name,) in rows} & TABLES.keys()

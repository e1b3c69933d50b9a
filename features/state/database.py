"""Open the state database, SQLite or PostgreSQL, and read and write its scores.

Opening it brings it to the newest revision in `features/state/migrations`; two processes may open it at once.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from features.core.errors import GarrisonError
from features.core.private_files import protect
from features.core.redaction import hide_password
from features.core.storage_faults import find_storage_fault
from features.core.timestamps import to_micros
from features.settings import Settings
from features.state import (  # noqa: F401  # whose tables join METADATA
    account_tables,
    console_tables,
    erasure_tables,
    experiment_tables,
    journey_tables,
    portfolio_tables,
    problem_tables,
)
from features.state.locks import Lock, lock_transaction
from features.state.ownership import claim
from features.state.tables import SCORES

MIGRATIONS = Path(__file__).parent / "migrations"
# Seconds that a writer waits for another one before it gives up.
PATIENCE = 10
# Rows a statement; a whole write is one transaction.
CHUNK = 2_000
Row = TypeVar("Row")


@dataclass(frozen=True)
class Store:
    """An open state database, at the newest revision.

    Args:
        engine: For reads and writes of other tables, through `reading` and `writing`.
    """

    engine: sa.Engine

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Yield a connection that sees one state of the database throughout.

        Raises:
            GarrisonError: The database is locked or can't be reached.
        """
        with _translate_errors(self.engine), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Yield a transaction that holds the write lock: committed at the end, rolled back after any error.

        Raises:
            GarrisonError: The database is locked or can't be reached; nothing was written.
        """
        writer = self.engine.execution_options(writes=True)
        with _translate_errors(self.engine), writer.begin() as connection:
            yield connection

    def write_scores(self, rows: Iterable[tuple[Any, ...]], *, replacing: datetime | None = None) -> int:
        """Write rows of `SCORES`, all or none, in place of those with the same key; return their number.

        Args:
            rows: Values in the order of the columns; drivers as JSON.
            replacing: An `as_of` all of whose scores go first: those of accounts that are gone since, of another model.
        """
        with self.writing() as connection:
            if replacing is not None:
                connection.execute(sa.delete(SCORES).where(SCORES.c.as_of == to_micros(replacing)))
            return _upsert_values(connection, SCORES, rows)

    def latest_scores(self, at: datetime, target: str, horizon: int) -> list[dict[str, Any]]:
        """Return the scores of the newest `as_of` that is not after `at`, by account; [] before the first."""
        kind = (SCORES.c.target == target) & (SCORES.c.horizon == horizon)
        newest = sa.select(sa.func.max(SCORES.c.as_of)).where(kind, SCORES.c.as_of <= to_micros(at))
        query = sa.select(SCORES).where(kind, SCORES.c.as_of == newest.scalar_subquery())
        return self._scores(query.order_by(SCORES.c.account_id))

    def account_scores(self, account_id: str, *, limit: int = 1_000) -> list[dict[str, Any]]:
        """Return an account's scores of all targets and horizons, newest `as_of` first."""
        query = sa.select(SCORES).where(SCORES.c.account_id == account_id)
        order = (SCORES.c.as_of.desc(), SCORES.c.target, SCORES.c.horizon)
        return self._scores(query.order_by(*order).limit(limit))

    def _scores(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        with self.reading() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def close(self) -> None:
        """Close its connections."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def exists(settings: Settings) -> bool:
    """Return whether the company has a state database: of a file, without making one."""
    address = sa.make_url(settings.state)
    return address.get_backend_name() != "sqlite" or bool(address.database and Path(address.database).exists())


def open(settings: Settings) -> Store:  # noqa: A001  # read as store.open, as the file modules of Python do
    """Open the company's state database; create it or bring it to the newest revision if needed.

    Raises:
        GarrisonError: The database is locked, can't be reached, is newer than this program, or another company's.
    """
    engine = connect(settings.state)
    protect(settings.var)
    try:
        with _translate_errors(engine):
            _upgrade(engine)
        claim(Store(engine), settings)
    except BaseException:
        engine.dispose()
        raise
    return Store(engine)


def connect(url: str) -> sa.Engine:
    """Create an engine on SQLite (in WAL mode, with its folder) or PostgreSQL.

    Raises:
        GarrisonError: The URL is unreadable, or of another database.
    """
    try:
        address = sa.make_url(url)
    except SQLAlchemyError:
        raise GarrisonError(
            "a database URL can't be read", hint="Write it like sqlite:///file.db or postgresql://user@host/name"
        ) from None
    if address.get_backend_name() == "sqlite":
        return _sqlite(address)
    if address.get_backend_name() == "postgresql":
        # What the URL says stays, such as -csearch_path=NAME: a company's own schema.
        given = address.query.get("options", "")
        options = " ".join([given] if isinstance(given, str) else given)
        arguments = {"connect_timeout": PATIENCE, "options": f"{options} -c lock_timeout={PATIENCE}s".strip()}
        return sa.create_engine(address, connect_args=arguments, pool_pre_ping=True)
    raise GarrisonError(
        "this database can't be written to",
        found=address.get_backend_name(),
        hint="Use sqlite:///file.db or postgresql://user@host/name",
    )


def _sqlite(address: sa.URL) -> sa.Engine:
    if address.database:
        Path(address.database).parent.mkdir(parents=True, exist_ok=True)
        protect(Path(address.database))
    engine = sa.create_engine(address, connect_args={"timeout": PATIENCE})

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # _begin begins transactions, not the driver
        _switch_to_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # A transaction that first reads and then writes can't wait for another writer, so one that will write locks at
        # its start.
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Switch a file to WAL mode: SQLite waits for another process that does so at the same moment not always itself."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


def upsert(connection: sa.Connection, table: sa.Table, rows: Iterable[Mapping[str, Any]]) -> int:
    """Insert rows, or replace those with the same primary key, in the caller's transaction.

    Args:
        connection: To SQLite or PostgreSQL.
        table: With a primary key.
        rows: By column name, all with the same columns.

    Returns:
        The number of rows.
    """
    statement, written = _build_upsert(connection, table), 0
    for chunk in _chunks(map(dict, rows)):
        connection.execute(statement, chunk)
        written += len(chunk)
    return written


def is_among(store: Store, column: sa.ColumnElement[str], values: Sequence[str]) -> sa.ColumnElement[bool]:
    """Build the condition that a text is one of many: one parameter, where `in_` takes one for each of them."""
    texts = sa.bindparam(None, json.dumps(list(values)), type_=sa.String)
    if store.engine.dialect.name == "postgresql":
        return column.in_(sa.select(sa.func.jsonb_array_elements_text(sa.cast(texts, postgresql.JSONB))))
    return column.in_(sa.select(sa.func.json_each(texts).table_valued("value").c.value))


def _upsert_values(connection: sa.Connection, table: sa.Table, rows: Iterable[tuple[Any, ...]]) -> int:
    """Insert or replace rows given as values in the order of the columns: several times as fast as `upsert`."""
    written = 0
    if connection.dialect.name != "postgresql":
        statement = str(_build_upsert(connection, table).compile(dialect=connection.dialect))
        for chunk in _chunks(rows):
            connection.exec_driver_sql(statement, chunk)
            written += len(chunk)
        return written
    apart = sa.Table("coming", sa.MetaData(), *(sa.Column(c.name, c.type) for c in table.columns))
    connection.execute(sa.DDL(f"CREATE TEMPORARY TABLE {apart.name} (LIKE {table.name}) ON COMMIT DROP"))
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {apart.name} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
            written += 1
    connection.execute(_build_upsert(connection, table, sa.select(apart)))
    return written


def _build_upsert(connection: sa.Connection, table: sa.Table, rows: sa.Select[Any] | None = None) -> sa.Insert:
    """Build an insert, of parameters or of selected rows, that replaces rows with the same primary key."""
    insert = (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(table)
    keys = [column.name for column in table.primary_key]
    rest = {c.name: insert.excluded[c.name] for c in table.columns if c.name not in keys}
    filled = insert if rows is None else insert.from_select([c.name for c in table.columns], rows)
    return filled.on_conflict_do_update(index_elements=keys, set_=rest)


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    chunk: list[Row] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _upgrade(engine: sa.Engine) -> None:
    # The revisions are one chain, each named by its number. Alembic is slow to import, and seldom needed.
    head = max(file.name[:4] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    with engine.connect() as connection:
        is_migrated = sa.inspect(connection).has_table("alembic_version")
        if is_migrated and connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == head:
            return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.execution_options(writes=True).begin() as connection:
        lock_transaction(connection, Lock.MIGRATION)
        # Another process may have upgraded meanwhile: then this finds the newest revision and does nothing.
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def _translate_errors(engine: sa.Engine) -> Iterator[None]:
    """Raise a database's errors as ours, without its password."""
    try:
        yield
    except DBAPIError as error:
        reason = (str(error.orig).strip() or type(error.orig).__name__).splitlines()[0]
        locked = "locked" in reason or "lock timeout" in reason
        problem = "is locked by another process" if locked else "can't be used"
        hint = "Wait until that process is done" if locked else "Check that it exists and may be written to"
        if fault := find_storage_fault(error.orig or error):
            problem, hint = f"{problem}: {fault.problem}", str(fault.hint)
        where = hide_password(str(engine.url))
        raise GarrisonError(f"the database {where} {problem}", found=reason, hint=hint) from error

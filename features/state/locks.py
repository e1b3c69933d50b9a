"""Take named locks: one process at a time holds each, and its end, even by a crash, frees it."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import Enum
from pathlib import Path

import sqlalchemy as sa

from features.core.errors import GarrisonError


class Lock(Enum):
    """The locks, each with its number on PostgreSQL: no two may be equal and none may change."""

    MIGRATION = 5_401_977
    DELIVER = 5_401_978
    EVENT_LOG = 5_401_979
    DESTINATION = 5_401_980
    NIGHT = 5_401_981
    RATE = 5_401_982


def lock_transaction(connection: sa.Connection, lock: Lock) -> None:
    """Wait for a lock and hold it until the transaction ends.

    On SQLite a writing transaction holds the whole database already, so there is nothing to do.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_in_schema(lock.value))))


@contextmanager
def try_lock(engine: sa.Engine, lock: Lock, *, of: str = "") -> Iterator[bool]:
    """Try to take a lock, without waiting; yield whether this process holds it now.

    Args:
        engine: Of the state database.
        lock: Which.
        of: Name of the one thing that is locked, where a lock is not for all, such as one destination.
    """
    try_here = _try_postgres if engine.dialect.name == "postgresql" else _try_sqlite
    with try_here(engine, lock, of) as is_held:
        yield is_held


@contextmanager
def _try_postgres(engine: sa.Engine, lock: Lock, of: str) -> Iterator[bool]:
    number = int.from_bytes(_digest(of, lock)[:8], signed=True) if of else lock.value
    # The server frees it when the connection breaks.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        is_held = bool(connection.scalar(sa.select(sa.func.pg_try_advisory_lock(_in_schema(number)))))
        try:
            yield is_held
        finally:
            if is_held:
                connection.execute(sa.select(sa.func.pg_advisory_unlock(_in_schema(number))))


def _in_schema(number: int) -> sa.ColumnElement[int]:
    """Return a lock's number in the connection's schema: PostgreSQL's are of a whole database, ours of a company."""
    schema = sa.func.current_schema()
    value = sa.literal(number, sa.BigInteger)
    return sa.case((schema == "public", value), else_=sa.func.hashtextextended(schema, value))


@contextmanager
def _try_sqlite(engine: sa.Engine, lock: Lock, of: str) -> Iterator[bool]:
    """Hold an exclusive transaction in a small database beside the state; the operating system frees it."""
    suffix = f"-{_digest(of, lock).hex()[:12]}" if of else ""
    file = f"{engine.url.database}-{lock.name.lower()}{suffix}"
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            yield False
        else:
            yield True


@contextmanager
def lock_file(file: Path, *, patience_s: float) -> Iterator[None]:
    """Wait for the lock that a small database beside the locked thing stands for, and hold it.

    Args:
        file: The lock's own file, such as NAME.lock; it is made, and stays.
        patience_s: How long to wait.

    Raises:
        GarrisonError: Another process still holds it then, or the file can't be written.
    """
    try:
        with closing(sqlite3.connect(file, timeout=patience_s, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield
    except sqlite3.OperationalError as error:
        raise GarrisonError(
            f"{file} can't be locked", found=str(error), hint="Wait until the process that holds it is done, or end it"
        ) from error


def _digest(of: str, lock: Lock) -> bytes:
    return hashlib.sha256(f"{lock.name}\x1f{of}".encode()).digest()

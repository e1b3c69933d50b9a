"""The lock that makes one process at a time the deliverer; it goes with the process, however that ends."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import sqlalchemy as sa

from serving.store import Store

# Any number, the same in all processes: names PostgreSQL's lock.
_KEY = 5_401_978


@contextmanager
def sole_deliverer(store: Store) -> Iterator[bool]:
    """Whether this process is the deliverer now; False while another one is."""
    held = _in_postgres(store) if store.engine.dialect.name == "postgresql" else _beside_sqlite(store)
    with held as mine:
        yield mine


@contextmanager
def _in_postgres(store: Store) -> Iterator[bool]:
    # The server frees it when the connection breaks.
    connection = store.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    with connection:
        mine = bool(connection.scalar(sa.select(sa.func.pg_try_advisory_lock(_KEY))))
        try:
            yield mine
        finally:
            if mine:
                connection.execute(sa.select(sa.func.pg_advisory_unlock(_KEY)))


@contextmanager
def _beside_sqlite(store: Store) -> Iterator[bool]:
    """An exclusive transaction in a small database beside the state: the operating system frees it."""
    with closing(sqlite3.connect(f"{store.engine.url.database}-deliver", timeout=0, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            yield False
        else:
            yield True

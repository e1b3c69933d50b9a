"""Tell whether the state database has changed: a mark that is equal only while what can be read is the same."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Any

import sqlalchemy as sa

from features.state.database import Store


class StateVersion:
    """Reads the mark of a state database; several threads may ask at once.

    SQLite's `data_version` changes whenever another connection, of this process or another one, commits: the mark is
    read through a connection of its own, which never writes. PostgreSQL's snapshot (version 13 and newer) changes with
    every transaction that writes; two equal ones see the same rows.

    Args:
        store: The open state database.
    """

    def __init__(self, store: Store) -> None:
        self._store, self._lock = store, threading.Lock()
        self._connection: Any = None

    @property
    def is_near(self) -> bool:
        """Return whether the mark is read without a way to a server and back."""
        return self._store.engine.dialect.name == "sqlite"

    def read(self) -> Hashable:
        """Return the mark, in some 20 µs on SQLite and a round trip on PostgreSQL.

        Raises:
            GarrisonError: The database is locked or can't be reached.
        """
        engine = self._store.engine
        if not self.is_near:
            with self._store.reading() as connection:
                return str(connection.scalar(sa.text("SELECT pg_current_snapshot()")))
        with self._lock:
            if self._connection is None:
                opened = engine.raw_connection()
                self._connection = opened.driver_connection
                opened.detach()
            mark: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
            return mark

    def close(self) -> None:
        """Close its connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

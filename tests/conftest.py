"""Fixtures of all folders: a real PostgreSQL, and a free port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.ports import find_free_port
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres_server(testrun_uid: str) -> Iterator[PostgresServer]:
    """One server for all workers of a run."""
    server = PostgresServer(testrun_uid)
    yield server
    server.stop()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The URL of a new, empty database."""
    return postgres_server.create_database()


@pytest.fixture
def free_port() -> int:
    """A port of this machine that nothing listens on."""
    return find_free_port()

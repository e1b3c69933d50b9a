"""Fixtures of all folders: a real PostgreSQL, and a free port; and how Hypothesis draws its examples.

Profile `ci`, the default, draws the same examples each time; `--hypothesis-profile nightly` draws new ones, and more.
"""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest

from tests.support.ports import find_free_port
from tests.support.postgres import PostgresServer

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.register_profile("nightly", max_examples=2_000, deadline=None, print_blob=True)
hypothesis.settings.load_profile("ci")


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

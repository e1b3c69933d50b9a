"""Fixtures of all folders: PostgreSQL, a free port; the order of a run; how Hypothesis draws examples.

Profile `ci`, the default, draws the same examples each time; `--hypothesis-profile nightly` draws new ones, and more.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.support.ports import find_free_port
from tests.support.postgres import PostgresServer
from tests.support.scheduling import FileScheduling, place_file
from tests.support.shared import make_once
from tests.support.temporary_root import choose_temporary_root
from training.registry import mlflow_database

choose_temporary_root()
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.register_profile("nightly", max_examples=2_000, deadline=None, print_blob=True)
hypothesis.settings.load_profile("ci")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first."""
    items.sort(key=lambda item: place_file(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileScheduling:
    """Give whole files to workers."""
    return FileScheduling(config, log)


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


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all workers of a run share, for `tests.support.shared`."""
    own = tmp_path_factory.getbasetemp()
    folder = (own if worker_id == "master" else own.parent) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def mlflow_tables(run_folder: Path) -> Iterator[None]:
    """MLflow makes its tables once in a run, and each of its new databases is a copy of them: seconds less for each."""
    create = mlflow_database._create_tables

    def make(mlflow: Any) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "mlflow.db"
            create(mlflow, file)
            return file.read_bytes()

    def copy(mlflow: Any, file: Path) -> None:
        file.write_bytes(make_once(run_folder, "mlflow_tables", lambda: make(mlflow)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow_database, "_create_tables", copy)
        yield

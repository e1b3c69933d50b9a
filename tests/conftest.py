"""Fixtures of all folders: PostgreSQL, a free port; the order of a run; how Hypothesis draws examples.

Profile `ci`, the default, draws the same examples each time; `--hypothesis-profile nightly` draws new ones, and more.
"""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import sqlalchemy as sa

from features.state import database
from tests.support.ports import find_free_port
from tests.support.postgres import PostgresServer
from tests.support.scheduling import FileScheduling, place_file
from tests.support.shared import make_once
from tests.support.temporary_root import choose_temporary_root
from training.registry import mlflow_database

choose_temporary_root()
# Tests call servers of their own alone: one authority is read for each connection, where those of the machine would
# take 60 ms of CPU time. It has expired, and its key is gone.
os.environ.setdefault("SSL_CERT_FILE", str(Path(__file__).parent / "support" / "nobody.pem"))
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.register_profile("nightly", max_examples=2_000, deadline=None, print_blob=True)
hypothesis.settings.load_profile("ci")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first."""
    items.sort(key=lambda item: place_file(item.nodeid))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Spare the collector what was imported, which it would look through again and again: an eighth of the CPU time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_sessionfinish() -> None:
    """Give the collector back what it was spared: libraries complain of what is left at a process's end."""
    gc.unfreeze()


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


@pytest.fixture(scope="session", autouse=True)
def migrate_state(run_folder: Path) -> Iterator[Callable[[sa.Engine], None]]:
    """The state's tables are migrated once in a run, and a new file is a copy of them; gives the migration itself."""
    upgrade = database._upgrade

    def make() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "state.db"
            engine = database.connect(f"sqlite:///{file}")
            upgrade(engine)
            engine.dispose()  # the last connection's end brings all that is written into the file
            return file.read_bytes()

    def copy(engine: sa.Engine) -> None:
        file = Path(engine.url.database or "") if engine.dialect.name == "sqlite" else None
        if file and file.suffix == ".db" and not file.exists():
            part = file.with_suffix(f".{threading.get_ident()}")
            part.write_bytes(make_once(run_folder, "state_tables", make))
            with contextlib.suppress(FileExistsError):  # another was first
                os.link(part, file)
            part.unlink()
        upgrade(engine)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_upgrade", copy)
        yield upgrade

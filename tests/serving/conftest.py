"""A small company with a trained model a target, and its service: made once, and shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

import pytest

from features.settings import Settings
from features.state import database
from serving.api import auth
from serving.batch import run
from tests.support.commands import FinishedCommand
from tests.support.harbour import NOW, Harbour, Served, bundle, command, make_harbour, running
from tests.support.shared import make_once
from training.models.model import Model


@pytest.fixture(scope="session")
def harbour(tmp_path_factory: pytest.TempPathFactory, run_folder: Path) -> Harbour:
    """Made once a worker, its champions once a run; tests that write to its state take `own_harbour`."""
    first = make_once(run_folder, "harbour", lambda: make_harbour(run_folder / "harbour"))
    return make_harbour(tmp_path_factory.mktemp("harbour"), like=first)


@pytest.fixture
def own_harbour(harbour: Harbour, tmp_path: Path) -> Harbour:
    """The same company in a folder of its own, with the same champions."""
    return make_harbour(tmp_path / "harbour", like=harbour)


@pytest.fixture(scope="session")
def copied(harbour: Harbour) -> Callable[[Path], Harbour]:
    """Puts the same company into another folder, for a module's own use."""
    return lambda folder: make_harbour(folder, like=harbour)


@pytest.fixture(scope="session")
def served(harbour: Harbour, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The real server, in processes of its own, on a free port, after a batch run."""
    run.score_accounts(harbour.settings, None, as_of=NOW)
    with database.open(harbour.settings) as opened:
        key = auth.create_key(opened, "tests")
    with running(harbour, key, tmp_path_factory.mktemp("served") / "log") as found:
        yield found


@pytest.fixture(scope="session")
def start() -> Callable[..., AbstractContextManager[Served]]:
    """Starts a service of one's own."""
    return running


@pytest.fixture(scope="session")
def now() -> datetime:
    """The instant that the small company is looked at from."""
    return NOW


@pytest.fixture(scope="session")
def learn() -> Callable[[Settings, str], Model]:
    """Train a small model of a company's target, on the features that its catalog has."""
    return bundle


@pytest.fixture(scope="session")
def serving() -> Callable[..., FinishedCommand]:
    """`python -m serving …`."""
    return command

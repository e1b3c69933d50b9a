"""A company that has had a night before, and processes to run further nights in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from monitoring.demo.mailbox import open_mailbox
from tests.support.night_company import NightCompany, configure, write_company
from tests.support.night_process import NightProcesses
from tests.support.ports import find_free_port

FIRST = "2025-12-01"


@dataclass(frozen=True)
class NightScene:
    """A company of a test's own, and the folder in which its mails arrive."""

    company: NightCompany
    mails: Path


@pytest.fixture(scope="session")
def processes() -> Iterator[NightProcesses]:
    """Runs nights in processes of their own."""
    with NightProcesses() as started:
        yield started


@pytest.fixture(scope="session")
def seasoned(tmp_path_factory: pytest.TempPathFactory, processes: NightProcesses) -> Path:
    """The folder of a company whose first night is over, its mails sent."""
    folder, port = tmp_path_factory.mktemp("nights") / "company", find_free_port()
    write_company(folder, port=port)
    with open_mailbox(port, folder / "mails", lambda _: None):
        first = processes.run(folder, "night", "--as-of", FIRST)
    assert first.status == 0, first.out + first.err
    assert len(list((folder / "mails").glob("*.eml"))) > 5
    return folder


@contextmanager
def open_scene(seasoned: Path, folder: Path) -> Iterator[NightScene]:
    """Copy the company into a folder of its own, with a mail server of its own while the context lasts."""
    port = find_free_port()
    # Tables are cached under a name that holds their paths.
    shutil.copytree(seasoned, folder, ignore=shutil.ignore_patterns("mails", "history", "check.html"))
    with open_mailbox(port, folder / "mails", lambda _: None):
        yield NightScene(configure(folder, port=port), folder / "mails")


@pytest.fixture
def scene(seasoned: Path, tmp_path: Path) -> Iterator[NightScene]:
    """A company of the test's own."""
    with open_scene(seasoned, tmp_path / "company") as opened:
        yield opened

"""A full disk, a read-only folder, files of others: one plain line; and what is written is its user's alone."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from pathlib import Path

import duckdb
import pytest

from features.core import private_files
from features.core.errors import GarrisonError
from features.core.public_errors import describe_publicly
from features.core.storage_faults import find_storage_fault
from features.state import database
from tests.support.commands import run_command


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a.parquet"), "the disk is full"),
        (sqlite3.OperationalError("database or disk is full"), "the disk is full"),
        (duckdb.IOException('IO Error: Could not write file "a": No space left on device'), "the disk is full"),
        (duckdb.IOException('Cannot open file "a": Read-only file system'), "a folder can't be written to"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "a folder can't be written to"),
        (PermissionError(errno.EACCES, "Permission denied"), "a file or folder may not be opened"),
        (duckdb.FatalException("FATAL Error: fsync failed!"), "the disk failed"),
        (OSError(errno.EIO, "Input/output error", "a.parquet"), "the disk failed"),
        (ValueError("3 rows"), None),
    ],
)
def test_whichever_library_met_it_the_fault_is_recognised(error, problem):
    fault = find_storage_fault(error)
    assert (fault is None) == (problem is None)
    assert fault is None or fault.problem.startswith(problem)
    outer = RuntimeError("internal")
    outer.__cause__ = error
    assert (find_storage_fault(outer) is None) == (problem is None)


def test_a_disk_that_fills_up_while_tables_are_read_gives_one_line_and_leaves_nothing(company, monkeypatch):
    config = company.write()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        done = run_command("features", "check", "--config", config)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the disk is full. found: ")
    assert done.stderr.count("\n") == 1
    assert list((company.folder / "var" / "harbour" / "history").iterdir()) == []
    assert run_command("features", "check", "--config", config).returncode == 0


def test_what_commands_write_is_for_their_user_alone(company, monkeypatch):
    config, before = company.write(), private_files.read_umask()
    company.only("accounts", "account_id,created_at", "A,2023-01-01", "B,2023-01-01", ",2023-01-01")
    assert run_command("features", "check", "--config", company.write()).returncode == 0
    places = [*(company.folder / "var").rglob("*")]
    assert {file.suffix for file in places} >= {".duckdb", ".parquet"}
    assert {stat.S_IMODE(p.stat().st_mode) for p in places} == {0o600, 0o700}
    assert private_files.read_umask() == before
    monkeypatch.setenv(private_files.VARIABLE, "x9")
    assert "GARRISON_UMASK is no umask" in run_command("features", "check", "--config", config).stderr


def test_a_state_database_of_an_earlier_release_becomes_private(company, monkeypatch):
    settings = company.settings()
    database.open(settings).close()
    file = Path(database.sa.make_url(settings.state).database)
    file.chmod(0o644)
    settings.var.chmod(0o755)
    monkeypatch.setattr(private_files, "read_umask", lambda: 0o077)
    database.open(settings).close()
    assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(settings.var.stat().st_mode)) == (0o600, 0o700)


def test_strangers_read_no_path_and_no_address():
    places = (
        "/srv/garrison/var/a.db",
        "sqlite:////srv/a.db",
        "postgresql://me@db.internal:5432/x",
        "var/harbour/a.parquet",
    )
    for place in places:
        error = GarrisonError(f"{place} is locked", found="host db.internal", hint=f"See {place}, or wait")
        assert describe_publicly(error) in {"… is locked. See …, or wait.", "… is locked. See … or wait."}

"""A backup is made while others write, and restores what was there, whole; one that is harmed changes nothing."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from features.settings import Settings
from features.state import database
from features.state.tables import API_KEYS
from serving.api import auth
from serving.scoring import score_table
from serving.scoring.score_table import ScoreTable
from tests.support.commands import FinishedCommand, run_command
from tests.support.scored_company import write_company, write_scores
from training.registry import promotion_log
from training.registry.promotion_log import Promotion


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A company with scores, a key, a promotion with its model, and a database of MLflow."""
    (tmp_path / "company").mkdir()
    settings = write_company(tmp_path / "company", [{"id": "A"}])
    write_scores(settings, [{"account_id": "A", "risk": 0.25}])
    assert run_command("features", "check", "--config", settings.file).returncode == 0  # fills the cache
    made = Promotion("2024-01-01T00:00:00+00:00", "promote", "churn", "churn-1", "run", "artifacts/1", "first")
    promotion_log.append_promotion(settings, made)
    model = settings.paths.mlruns / "artifacts" / "1" / "bundle.json"
    model.parent.mkdir(parents=True)
    model.write_text("{}")
    with closing(sqlite3.connect(settings.paths.mlruns / "mlflow.db")) as mlflow:
        mlflow.execute("CREATE TABLE runs (run_uuid TEXT)")
    with database.open(settings) as store:
        auth.create_key(store, "first")
    return settings


def run(command: str, settings: Settings, *words: object) -> FinishedCommand:
    return run_command("monitoring", command, *words, "--config", settings.file)


def list_files(settings: Settings) -> dict[str, bytes]:
    """Everything but caches, locks and databases."""
    return {
        str(file): file.read_bytes()
        for folder in (settings.var, settings.paths.mlruns)
        for file in folder.rglob("*")
        if file.is_file() and "history" not in file.parts and file.suffix not in {".lock", ".db", ".mark"}
    }


def list_keys(settings: Settings) -> list[str]:
    with database.open(settings) as store, store.reading() as connection:
        return sorted(connection.execute(sa.select(API_KEYS.c.name)).scalars())


def test_a_backup_made_while_others_write_restores_all_that_was_there(settings: Settings, tmp_path: Path) -> None:
    stop, file, before = threading.Event(), tmp_path / "backup.tar.gz", list_files(settings)

    def write_pairs() -> None:
        with database.open(settings) as store:
            rows = [dict(row) for row in _read_keys(store)]
            n = 0
            while not stop.is_set():
                n += 1
                with store.writing() as connection:  # both, or none
                    for half in "ab":
                        key = rows[0] | {"key_id": f"{half}{n}", "name": f"{half}{n}"}
                        connection.execute(sa.insert(API_KEYS), [key | {"hash": f"{half}{n}"}])

    writer = threading.Thread(target=write_pairs)
    writer.start()
    try:
        made = run("backup", settings, file)
    finally:
        stop.set()
        writer.join()
    assert made.returncode == 0, made.stderr
    assert file.stat().st_mode & 0o077 == 0

    refused = run("restore", settings, file)
    assert (refused.returncode, "holds data already" in refused.stderr) == (1, True)
    assert list_files(settings) == before
    shutil.rmtree(settings.paths.mlruns)
    restored = run("restore", settings, file, "--replace")
    assert restored.returncode == 0, restored.stderr
    assert "What was there is now " in restored.stdout

    assert list_files(settings) == before
    names = list_keys(settings)
    assert "first" in names
    assert sorted(n[1:] for n in names if n[0] == "a") == sorted(n[1:] for n in names if n[0] == "b")
    assert promotion_log.read_current(settings)["churn"].version == "churn-1"
    with closing(sqlite3.connect(settings.paths.mlruns / "mlflow.db")) as mlflow:
        assert mlflow.execute("SELECT count(*) FROM runs").fetchone() == (0,)
    newest = score_table.find_newest(settings)
    assert newest is not None
    assert ScoreTable.read(newest).table["churn_90d"].to_pylist() == [0.25]
    assert not (settings.var / "history").exists()
    assert run_command("features", "check", "--config", settings.file).returncode == 0


def _read_keys(store: database.Store) -> list[sa.RowMapping]:
    with store.reading() as connection:
        return list(connection.execute(sa.select(API_KEYS)).mappings())


def test_a_harmed_backup_or_another_companys_changes_nothing(settings: Settings, tmp_path: Path) -> None:
    file, harmed = tmp_path / "backup.tar.gz", tmp_path / "harmed.tar.gz"
    assert run("backup", settings, file).returncode == 0
    before, whole = list_files(settings), file.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-300] + bytes(300), b"", b"no archive"):
        harmed.write_bytes(content)
        done = run("restore", settings, harmed, "--replace")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "is not a whole backup" in done.stderr
    assert "there is no file" in run("restore", settings, tmp_path / "none.tar.gz", "--replace").stderr
    settings.file.write_text(settings.file.read_text().replace('"Harbour"', '"Other"'))
    assert "is of another company" in run("restore", settings, file, "--replace").stderr
    assert {k: v for k, v in list_files(settings).items() if "other" not in k} == before
    assert not [f for f in settings.var.parent.iterdir() if f.name.startswith(".restore-")]


def test_a_backup_is_not_written_into_what_it_holds(settings: Settings) -> None:
    done = run("backup", settings, settings.var / "backup.tar.gz")
    assert (done.returncode, "lies in a folder that is backed up" in done.stderr) == (1, True)

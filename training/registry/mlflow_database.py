"""Opens MLflow's database of a company, and makes it where there is none."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from features.core.errors import RegistryError
from features.core.harmed_files import set_aside
from features.settings import Settings

_LOCK_S = 300.0  # making the tables takes seconds


def prepare(settings: Settings) -> None:
    """Make MLflow's database where there is none, and check that it can be used: before hours of training.

    Raises:
        RegistryError: It can't be used, or its folder has been moved.
    """
    with open_mlflow(settings) as mlflow:
        check_not_moved(mlflow, settings)


def check_not_moved(mlflow: Any, settings: Settings) -> None:
    """Raise an error if the database's folder was moved: MLflow would go on writing to where it was made."""
    made = Path(mlflow.get_experiment_by_name(settings.company.slug).artifact_location.removeprefix("file://"))
    if made.resolve() != settings.paths.mlruns.resolve() / "artifacts":
        raise RegistryError(
            f"the folder {settings.paths.mlruns} was moved after MLflow's database was made in it",
            found=f"models would go to {made}",
            hint="Move it back, or name a new folder under [paths] mlruns",
        )


@contextlib.contextmanager
def open_mlflow(settings: Settings) -> Iterator[Any]:
    """Open MLflow on this company's database; its errors become `RegistryError`."""
    # No figures to third parties, and no noise of hints, progress bars, and traces of errors that become ours.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    folder = settings.paths.mlruns.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _lock_folder(folder):
            _make_database(mlflow, folder / "mlflow.db")
            mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
            if mlflow.get_experiment_by_name(settings.company.slug) is None:
                mlflow.create_experiment(settings.company.slug, artifact_location=str(folder / "artifacts"))
        mlflow.set_experiment(settings.company.slug)
        yield mlflow
    except (MlflowException, SQLAlchemyError) as error:
        message = str(error).strip().splitlines()[0]
        hint = "Another process holds it: wait, or end that process" if "locked" in message else "See mlruns/README.md"
        raise RegistryError(
            f"MLflow's database {folder / 'mlflow.db'} can't be used", found=message, hint=hint
        ) from error


@contextlib.contextmanager
def _lock_folder(folder: Path) -> Iterator[None]:
    """Wait until no other process makes or migrates MLflow's database; the end of a process frees the lock."""
    with contextlib.closing(sqlite3.connect(folder / "mlflow.lock", timeout=_LOCK_S, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise RegistryError(
                f"MLflow's database in {folder} is being made by another process",
                found=str(error),
                hint="Wait, or end that process",
            ) from error
        yield


def _is_half_made(file: Path) -> bool:
    """Return whether MLflow was killed while it made its tables there, as it did before they were made beside it."""
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        try:
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            is_whole = {"experiments", "runs", "registered_models"} <= names
            is_cut_off = not is_whole or any(name.startswith("_alembic_tmp_") for name in names)
            return is_cut_off and not ("runs" in names and connection.execute("SELECT 1 FROM runs LIMIT 1").fetchone())
        except sqlite3.DatabaseError:  # no database, or locked: MLflow's own error says it
            return False


def _make_database(mlflow: Any, file: Path) -> None:
    """Make MLflow's tables beside the file and move them there whole: a process killed half-way leaves nothing."""
    if file.exists():
        if not _is_half_made(file):
            return
        set_aside(file, "it was half made and held no run, so it is made anew")
    part = file.with_suffix(".new")
    part.unlink(missing_ok=True)
    _create_tables(mlflow, part)
    part.replace(file)


def _create_tables(mlflow: Any, file: Path) -> None:
    """Let MLflow make its tables in a new file, which takes seconds: it goes through all that it ever changed."""
    mlflow.set_tracking_uri(f"sqlite:///{file}")
    mlflow.search_experiments(max_results=1)

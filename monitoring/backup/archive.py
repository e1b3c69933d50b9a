"""Write and restore the archive of one company: state database, results, letters, models and MLflow's database.

Databases are copied by SQLite's own online backup, so that each is of one instant while others write. They are copied
before the files that they name, and the promotion log before the models: whatever they name is in the archive too.
Caches, which are made again, and locks are left out.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import sqlalchemy as sa

from features.core.atomic_write import write_atomically
from features.core.errors import GarrisonError
from features.erasure.places import record_backup
from features.settings import Settings
from training.registry import promotion_log

_LIST = "contents.json"
_FORM = 1
_STATE, _MLFLOW = "state.db", "mlflow.db"
# Made again by whoever needs them, or another process's own.
_CACHES = frozenset({"history", "features", "bentoml", "replay"})
_LEFT_OUT = (".lock", ".part", ".harmed", "-wal", "-shm", "-journal", ".mark", ".new")


@dataclass(frozen=True)
class Archive:
    """What was written or restored.

    Args:
        file: The archive.
        made_at: When it was made.
        files: Number of files in it.
        bytes: Their length.
        has_state: Whether the state database is in it: one on a server is not.
        aside: Where a restore has put what was there before.
    """

    file: Path
    made_at: datetime
    files: int
    bytes: int
    has_state: bool
    aside: tuple[Path, ...] = ()


def write_archive(settings: Settings, file: Path) -> Archive:
    """Write the archive, whole or not at all; services and nights may go on meanwhile.

    Raises:
        GarrisonError: There is nothing to back up, or the file lies in a folder that it would hold.
    """
    var, mlruns, state = settings.var.resolve(), settings.paths.mlruns.resolve(), _find_state(settings)
    if not var.is_dir():
        raise GarrisonError(f"there is nothing to back up in {var}", hint="Name the company's TOML file: --config FILE")
    if any(file.resolve().is_relative_to(folder) for folder in (var, mlruns)):
        raise GarrisonError(
            f"{file} lies in a folder that is backed up", hint="Name a file elsewhere, best another disk"
        )
    made_at, contents = datetime.now(UTC), dict[str, dict[str, object]]()
    databases = {_STATE: state, _MLFLOW: mlruns / "mlflow.db"}
    with tempfile.TemporaryDirectory(dir=file.resolve().parent) as name, write_atomically(file) as part:
        scratch = Path(name)
        with tarfile.open(part, "w:gz", compresslevel=1) as archive:
            for inside, source in databases.items():
                if source and source.exists():
                    _copy_database(source, scratch / inside)
                    _add(archive, scratch / inside, inside, contents)
            with promotion_log.hold_log(settings):
                log = promotion_log.locate_log(settings)
                if log.exists():
                    _add(archive, log, f"mlruns/{log.name}", contents)
            spared = {path for path in (*databases.values(), log) if path}
            for root, folder in (("var", var), ("mlruns", mlruns)):
                for source in _list_files(folder, spared):
                    _add(archive, source, f"{root}/{source.relative_to(folder).as_posix()}", contents)
            about = {"form": _FORM, "company": settings.company.slug, "made_at": made_at.isoformat(), "files": contents}
            listed = scratch / _LIST
            listed.write_text(json.dumps(about), encoding="utf-8")
            archive.add(listed, _LIST)
    record_backup(settings, file)
    return Archive(file, made_at, len(contents), sum(int(str(c["bytes"])) for c in contents.values()), bool(state))


def restore_archive(settings: Settings, file: Path, *, replace: bool = False) -> Archive:
    """Restore an archive to where the settings say; what is there stays untouched until every file has been checked.

    Args:
        settings: Of the same company.
        file: The archive.
        replace: Put what is there aside, under a name with the time; without it, that is an error.

    Raises:
        GarrisonError: The archive is not whole or of another company, or something is there already.
    """
    var, mlruns, state = settings.var.resolve(), settings.paths.mlruns.resolve(), _find_state(settings)
    targets = [var, mlruns, *([state] if state and not state.is_relative_to(var) else [])]
    present = [target for target in targets if target.is_file() or (target.is_dir() and any(target.iterdir()))]
    if present and not replace:
        raise GarrisonError(
            f"{present[0]} holds data already",
            hint="Stop the service, then give --replace: it is put aside, not removed",
        )
    var.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=var.parent, prefix=".restore-") as name:
        scratch = Path(name)
        about = _extract(file, scratch)
        if about["company"] != settings.company.slug:
            raise GarrisonError(f"{file} is of another company", found=str(about["company"]), hint="Name its own TOML")
        for root in ("var", "mlruns"):
            (scratch / root).mkdir(exist_ok=True)
        if (scratch / _MLFLOW).exists():
            (scratch / _MLFLOW).replace(scratch / "mlruns" / _MLFLOW)
        has_state = (scratch / _STATE).exists() and state is not None
        if has_state and state and state.is_relative_to(var):
            (scratch / _STATE).replace(scratch / "var" / state.relative_to(var))
        stamp, aside = f"{datetime.now(UTC):%Y%m%dT%H%M%S}", list[Path]()
        for target in targets:
            if target.exists():
                aside.append(target.with_name(f"{target.name}.before-{stamp}"))
                target.replace(aside[-1])
        for root, target in (("var", var), ("mlruns", mlruns)):
            target.parent.mkdir(parents=True, exist_ok=True)
            (scratch / root).replace(target)
        if has_state and state and not state.is_relative_to(var):
            state.parent.mkdir(parents=True, exist_ok=True)
            (scratch / _STATE).replace(state)
    contents = about["files"]
    made_at = datetime.fromisoformat(about["made_at"])
    return Archive(file, made_at, len(contents), sum(c["bytes"] for c in contents.values()), has_state, tuple(aside))


def _extract(file: Path, folder: Path) -> dict[str, Any]:
    """Extract an archive and check every file against its list; return the list."""
    hint = "Take another backup: nothing was changed"
    try:
        with tarfile.open(file, "r:gz") as archive:
            archive.extractall(folder, filter="data")
        about: dict[str, Any] = json.loads((folder / _LIST).read_text(encoding="utf-8"))
        wrong = [
            name for name, c in about["files"].items() if _compute_hash(folder / PurePosixPath(name)) != c["sha256"]
        ]
        is_known = about["form"] == _FORM
    except FileNotFoundError as error:
        if not file.exists():
            raise GarrisonError(f"there is no file {file}") from error
        raise GarrisonError(
            f"{file} is not a whole backup", found=f"no {Path(error.filename).name}", hint=hint
        ) from error
    except (tarfile.TarError, EOFError, OSError, ValueError, KeyError, zlib.error) as error:
        raise GarrisonError(f"{file} is not a whole backup", found=type(error).__name__, hint=hint) from error
    if wrong or not is_known:
        found = f"{len(wrong)} files differ from the list, such as {wrong[0]}" if wrong else "another form"
        raise GarrisonError(f"{file} is not a whole backup", found=found, hint=hint)
    return about


def _find_state(settings: Settings) -> Path | None:
    """Return the file of the state database; None where it lies on a server."""
    address = sa.make_url(settings.state)
    return Path(address.database).resolve() if address.get_backend_name() == "sqlite" and address.database else None


def _copy_database(source: Path, target: Path) -> None:
    with (
        closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True, timeout=60)) as before,
        closing(sqlite3.connect(target)) as after,
    ):
        before.backup(after)
        after.execute("PRAGMA journal_mode = DELETE")


def _list_files(folder: Path, spared: set[Path]) -> Iterator[Path]:
    for path, names, files in os.walk(folder):
        if Path(path) == folder:
            names[:] = [name for name in names if name not in _CACHES]
        names.sort()
        for name in sorted(files):
            source = Path(path) / name
            beside = any(source.name.startswith(f"{s.name}-") and source.parent == s.parent for s in spared)
            if source not in spared and not beside and not name.endswith(_LEFT_OUT) and not source.is_symlink():
                yield source


def _add(archive: tarfile.TarFile, source: Path, inside: str, contents: dict[str, dict[str, object]]) -> None:
    """Add a file as it is now; one that was removed meanwhile is left out."""
    try:
        with source.open("rb") as opened:  # a file that is replaced meanwhile stays whole under this handle
            entry = archive.gettarinfo(arcname=inside, fileobj=opened)
            checksum = _Checksum(opened, entry.size)
            archive.addfile(entry, checksum)
    except FileNotFoundError:
        return
    contents[inside] = {"bytes": entry.size, "sha256": checksum.hexdigest()}


class _Checksum:
    """A file that is hashed as it is read, up to a length: a log may grow meanwhile."""

    def __init__(self, opened: BinaryIO, size: int) -> None:
        self._opened, self._left, self._hash = opened, size, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._opened.read(min(size, self._left) if size >= 0 else self._left)
        self._left -= len(data)
        self._hash.update(data)
        return data

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def _compute_hash(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()

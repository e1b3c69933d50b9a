"""The canonical tables on disk: made from the sources once, and read by every command until a source changes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import ibis

from features.core.atomic_write import write_atomically
from features.core.code_fingerprint import fingerprint_packages
from features.core.contract import TABLES
from features.core.progress import Progress
from features.settings import Settings
from features.sources import fingerprints, mapping, posted_events, validation
from features.sources.validation import ValidatedTable

# What DuckDB may hold in memory; more is spilled to disk.
LIMITS = {"memory_limit": "1500MB"}
_AN_HOUR = 3600
_PIN_FILE = "held"


@dataclass(frozen=True)
class CachedTables:
    """A file of canonical tables.

    Args:
        file: Where it is.
        checked: What came of each table.
        position: The place in the log of posted events that they were read up to.
    """

    file: Path
    checked: tuple[ValidatedTable, ...]
    position: int

    @property
    def key(self) -> str:
        """Names the file for `reopened`."""
        return self.file.stem


def open_cache(settings: Settings, progress: Progress | None = None) -> CachedTables:
    """The file of the canonical tables, made where there is none of these settings, sources and posted events.

    Raises:
        SourceError: A source can't be read, lacks a column, or is empty.
        QualityError: Too many of a table's rows are bad.
    """
    folder, position = settings.var / "history", posted_events.read_log_position(settings)
    key = _key(settings, position)
    file = folder / f"{key or uuid.uuid4().hex}.duckdb"
    found = _read_tables(file)
    if found is None:
        # It holds whatever the company knows of people: for the user who runs this alone.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with write_atomically(file) as part:
            found = _build(part, settings, position, progress)
        _remove_old_caches(folder, file)
    return CachedTables(file, found, position)


def reopen_cache(settings: Settings, key: str) -> CachedTables | None:
    """The file of that key, whatever came since; None where it is gone."""
    file = settings.var / "history" / f"{key}.duckdb"
    found = _read_tables(file)
    if found is None:
        return None
    with duckdb.connect(file, read_only=True, config=LIMITS) as connection:
        (position,) = connection.execute("SELECT position FROM checked").fetchall()[0]
    return CachedTables(file, found, position)


def pin_cache(settings: Settings, key: str) -> None:
    """Keep the file of that key, and let go of the one held before: what a stored snapshot was taken from."""
    with write_atomically(settings.var / "history" / _PIN_FILE) as part:
        part.write_text(key, encoding="utf-8")


def _build(part: Path, settings: Settings, position: int, progress: Progress | None) -> tuple[ValidatedTable, ...]:
    for left in part.parent.glob(f"{part.name}*"):  # by a process of this number that was killed
        _remove(left)
    backend = ibis.duckdb.connect(part, **LIMITS)
    part.chmod(0o600)
    try:
        mapping.attach_sources(backend, settings)
        backend.raw_sql("CREATE TABLE main.days (source VARCHAR, day BIGINT, hashes HUGEINT)")
        checked, posted = [], posted_events.read_revisions(settings, position)
        for table in (t for t in TABLES if t in settings.tables):
            if progress:
                progress(table)
            found = validation.validate_table(backend, settings, table)
            checked.append(validation.add_posted_events(backend, settings, found, posted))
            for query in fingerprints.days(table):
                backend.con.execute(f"INSERT INTO main.days {query}")
        backend.raw_sql("SET search_path = 'main'; DROP SCHEMA source CASCADE")
        backend.raw_sql("CREATE TABLE checked (plain VARCHAR, position BIGINT)")
        plain = json.dumps([c.as_dict() for c in checked])
        backend.con.execute("INSERT INTO checked VALUES (?, ?)", [plain, position])
        return tuple(checked)
    finally:
        backend.disconnect()


def _read_tables(file: Path) -> tuple[ValidatedTable, ...] | None:
    """What came of the tables in the file; None where there is none."""
    try:
        os.utime(file)  # so that no other process tidies it away
    except FileNotFoundError:
        return None
    with duckdb.connect(file, read_only=True, config=LIMITS) as connection:
        (plain,) = connection.execute("SELECT plain FROM checked").fetchall()[0]
    return tuple(ValidatedTable.of(c) for c in json.loads(plain))


def _remove_old_caches(folder: Path, newest: Path) -> None:
    """Remove the files of earlier sources, but for the one held and those that another process may have just opened."""
    held = ""
    with contextlib.suppress(FileNotFoundError):
        held = (folder / _PIN_FILE).read_text(encoding="utf-8")
    spared = {newest.name, _PIN_FILE, f"{held}.duckdb"}
    for file in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if file.name not in spared and time.time() - file.stat().st_mtime > _AN_HOUR:
                _remove(file)


def _remove(path: Path) -> None:
    # What DuckDB has no room for in memory it puts into a folder.
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _key(settings: Settings, position: int) -> str | None:
    """Changes with the sources, what is made of them, what was posted, and the day: a row of tomorrow is bad today.

    None where it can't be told whether a source has changed: a database on a server.
    """
    stamps = []
    for source in settings.sources.values():
        files = mapping.list_files(source, settings.folder)
        if files is None:
            return None
        stamps += [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.exists()]
    given = settings.model_dump(mode="json", include={"company", "sources", "tables", "quality"})
    code = [fingerprint_packages("features.sources", "features.core", "features.definitions"), duckdb.__version__]
    today = datetime.now(UTC).date().isoformat()
    return hashlib.sha256(json.dumps([stamps, given, code, today, position]).encode()).hexdigest()[:16]

"""Cache of the canonical tables on disk: built once, then read by every command until a source changes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from features.core.atomic_write import write_atomically
from features.core.code_fingerprint import fingerprint_packages
from features.core.contract import TABLES
from features.core.errors import SourceError
from features.core.harmed_files import set_aside
from features.core.progress import Progress
from features.settings import Settings
from features.settings.key_lines import add_places
from features.sources import erased, file_seal, fingerprints, posted_events, prose, pseudonyms, source_views, validation
from features.sources.files import list_files
from features.sources.validated_table import ValidatedTable, refuse_bad
from features.state.tombstones import Tombstones

# What DuckDB may hold in memory; more is spilled to disk.
LIMITS = {"memory_limit": "1500MB"}
_AN_HOUR = 3600
_PIN_FILE = "held"
# Ends the name of the folder of arrays made from a file of tables.
FACTS = ".facts"


@dataclass(frozen=True)
class CachedTables:
    """A file that holds the canonical tables.

    Args:
        file: Where it is.
        checked: The result of validating each table.
        position: Place in the log of posted events up to which they were read.
    """

    file: Path
    checked: tuple[ValidatedTable, ...]
    position: int

    @property
    def facts(self) -> Path:
        """Return the folder of arrays made from the tables: it comes and goes with them."""
        return self.file.with_suffix(FACTS)

    @property
    def key(self) -> str:
        """Return the name by which `reopen_cache` finds the file."""
        return self.file.stem


def open_cache(settings: Settings, progress: Progress | None = None, *, refuse: bool = True) -> CachedTables:
    """Return the file of the canonical tables; build it where settings, sources or posted events have changed.

    Args:
        settings: The company's.
        progress: Called as each table is read.
        refuse: Whether to refuse tables with faults, which only the check looks at.

    Raises:
        SourceError: A source can't be read, lacks a column, or is empty.
        QualityError: Too many of a table's rows are bad, or its money is in several currencies.
    """
    folder, position = settings.var / "history", posted_events.read_log_position(settings)
    gone = erased.read_tombstones(settings)
    key = _key(settings, position, gone)
    file = folder / f"{key or uuid.uuid4().hex}.duckdb"
    tables = _read_tables(file)
    if tables is None:
        # The file holds personal data: only the user who runs this may read it.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with write_atomically(file) as part:
            tables = _build(part, settings, position, gone, progress)
            file_seal.seal(part)
        _remove_old_caches(folder, file)
    if refuse:
        refuse_bad(tables, settings)
    return CachedTables(file, tables, position)


def reopen_cache(settings: Settings, key: str) -> CachedTables | None:
    """Return the file with that key, even if sources have changed since; None where it was removed or is harmed."""
    file = settings.var / "history" / f"{key}.duckdb"
    tables = _read_tables(file)
    if tables is None:
        return None
    with duckdb.connect(file, read_only=True, config=LIMITS) as connection:
        (position,) = connection.execute("SELECT position FROM checked").fetchall()[0]
    return CachedTables(file, tables, position)


def pin_cache(settings: Settings, key: str) -> None:
    """Protect the file with that key from removal, in place of the one pinned before.

    A stored snapshot pins the file that it was built from.
    """
    with write_atomically(settings.var / "history" / _PIN_FILE) as part:
        part.write_text(key, encoding="utf-8")


def _build(
    part: Path, settings: Settings, position: int, gone: Tombstones, progress: Progress | None
) -> tuple[ValidatedTable, ...]:
    for leftover in part.parent.glob(f"{part.name}*"):  # from a killed process that had the same id
        _remove(leftover)
    connection, scratch = duckdb.connect(part, config=LIMITS), part.with_name(f"{part.name}.text")
    part.chmod(0o600)
    try:
        with add_places(settings.file):
            source_views.attach_sources(connection, settings, scratch)
        pseudonyms.register(connection, settings)
        connection.execute("CREATE TABLE main.days (source VARCHAR, day BIGINT, hashes HUGEINT)")
        checked, errors, posted = [], list[SourceError](), posted_events.read_revisions(settings, position)
        for table in (t for t in TABLES if t in settings.tables):
            if progress:
                progress(table)
            try:
                with add_places(settings.file):
                    validated = validation.validate_table(connection, settings, table, gone)
            except SourceError as error:
                errors.append(error)
                if table == "accounts":  # all others are looked up in it
                    break
                continue
            checked.append(validation.add_posted_events(connection, settings, validated, posted))
            if queries := list(fingerprints.build_day_queries(table)):
                connection.execute(f"INSERT INTO main.days {' UNION ALL '.join(queries)}")
        _raise_all(errors)
        has_leftovers = prose.find_unredacted(connection, settings) or erased.clear_lookups(connection, gone)
        connection.execute("SET search_path = 'main'; DROP SCHEMA source CASCADE")
        connection.execute("CREATE TABLE checked (plain VARCHAR, position BIGINT)")
        plain = json.dumps([c.as_dict() for c in checked])
        connection.execute("INSERT INTO checked VALUES (?, ?)", [plain, position])
        # Closing writes the log into the file too, but says nothing where that fails: half a file would be sealed.
        connection.execute("CHECKPOINT")
    except BaseException:
        with contextlib.suppress(duckdb.Error):
            connection.close()
        for leftover in part.parent.glob(f"{part.name}.*"):  # such as the log of a disk that is full
            _remove(leftover)
        raise
    finally:
        with contextlib.suppress(duckdb.Error):
            connection.close()
        shutil.rmtree(scratch, ignore_errors=True)
    if has_leftovers:
        prose.rewrite_file(part)
    return tuple(checked)


def _raise_all(errors: list[SourceError]) -> None:
    """Raise the errors of all tables as one."""
    if len(errors) > 1:
        each = "; ".join(str(error).rstrip(".") for error in errors)
        raise SourceError(f"{len(errors)} tables can't be read: {each}")
    for error in errors:
        raise error


def _read_tables(file: Path) -> tuple[ValidatedTable, ...] | None:
    """Return the validation results stored in the file; None where there is no file, or a harmed one."""
    try:
        os.utime(file)  # so that no other process tidies it away
    except FileNotFoundError:
        return None
    try:
        if file_seal.is_seal_intact(file):
            with duckdb.connect(file, read_only=True, config=LIMITS) as connection:
                (plain,) = connection.execute("SELECT plain FROM checked").fetchall()[0]
            return tuple(_place_quarantine(ValidatedTable.of(c), file.parent.parent) for c in json.loads(plain))
    except FileNotFoundError:
        return None
    except (duckdb.IOException, duckdb.CatalogException, duckdb.SerializationException):
        pass  # the checksum of a large file is of some of its blocks
    set_aside(file, "the tables are read from their sources again")
    return None


def _place_quarantine(table: ValidatedTable, var: Path) -> ValidatedTable:
    """Return the result of a table with its quarantine file where it is now: the folder may have been moved."""
    return replace(table, quarantine=var / "quarantine" / table.quarantine.name) if table.quarantine else table


def _remove_old_caches(folder: Path, newest: Path) -> None:
    """Remove older files, but not the pinned one, nor one that another process may have just opened."""
    pinned = ""
    with contextlib.suppress(FileNotFoundError):
        pinned = (folder / _PIN_FILE).read_text(encoding="utf-8", errors="replace")
    spared = {_PIN_FILE, *(f"{key}{suffix}" for key in (newest.stem, pinned) for suffix in (newest.suffix, FACTS))}
    for file in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if file.name not in spared and time.time() - file.stat().st_mtime > _AN_HOUR:
                _remove(file)


def _remove(path: Path) -> None:
    # What DuckDB has no room for in memory it puts into a folder.
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _key(settings: Settings, position: int, gone: Tombstones) -> str | None:
    """Return a key that changes with the sources, settings, code, posted events and the day.

    The day counts because a row dated tomorrow is bad today. None for a database on a server: whether it has changed
    is unknown.
    """
    stamps = []
    for source in settings.sources.values():
        files = list_files(source, settings.folder)
        if files is None:
            return None
        # By their place beside the TOML file: a company's folder may be moved, or put back from a copy.
        places = {os.path.relpath(file, settings.folder): file.stat() for file in files if file.exists()}
        stamps += [(place, about.st_size, about.st_mtime_ns) for place, about in places.items()]
    mapped_settings = settings.model_dump(
        mode="json", include={"company", "sources", "tables", "quality", "texts", "privacy"}
    )
    code = [fingerprint_packages("features.sources", "features.core", "features.definitions"), duckdb.__version__]
    today = datetime.now(UTC).date().isoformat()
    parts = [stamps, mapped_settings, code, today, position, *sorted(gone.hashes)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

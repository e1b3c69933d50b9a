"""Caches snapshots by `as_of`: they are read until something that was visible at that instant changes.

By the time rules a snapshot depends on nothing that came or became known after its `as_of`. So the fingerprint of
what was visible, of the catalog, of the engine and of the attributes names the file, and a file never changes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from features.core.atomic_write import write_atomically
from features.core.code_fingerprint import fingerprint_packages
from features.core.harmed_files import is_parquet_whole, set_aside
from features.core.progress import Progress
from features.engine import snapshots
from features.engine.fact_files import CODE
from features.settings import Settings
from features.sources.history import History

_KEYS = ("account_id", "as_of")
_REMEDY = "its snapshots are built again"
_BUILT, _READ, _PART = 1_000_000, 100_000, 10_000  # rows in memory at once


def load_table(
    settings: Settings, history: History, as_ofs: Sequence[datetime], progress: Progress | None = None
) -> pa.Table:
    """Return snapshots as `snapshots.build_table` does; build only those that are not in the cache.

    Args:
        settings: The company's: its folder is where they are kept.
        history: Of the company.
        as_ofs: Instants to look from; one that is no midnight UTC is built each time.
        progress: Called with accounts done and accounts in all, while building.
    """
    return pa.concat_tables(load_parts(settings, history, as_ofs, progress))


def load_parts(
    settings: Settings, history: History, as_ofs: Sequence[datetime], progress: Progress | None = None
) -> Iterator[pa.Table]:
    """Yield the snapshots of `table` in parts of one instant each, to need less memory; arguments as there."""
    wanted = sorted(set(as_ofs))
    files = _files(settings, history, wanted)
    loose = _built(history, files, [a for a in wanted if a not in files or not files[a].exists()], progress)
    for as_of in wanted:
        yield from [loose[as_of]] if as_of in loose else _read(history, as_of, files[as_of])


def build_files(
    settings: Settings, history: History, as_ofs: Sequence[datetime], progress: Progress | None = None
) -> dict[datetime, Path]:
    """Return the Parquet files of the snapshots of midnights, for other processes; arguments as of `table`."""
    files = _files(settings, history, as_ofs)
    for file in files.values():
        if file.exists() and not is_parquet_whole(file):  # other processes can't build it again
            set_aside(file, _REMEDY)
    _built(history, files, [as_of for as_of, file in files.items() if not file.exists()], progress)
    return files


def count_snapshots(
    settings: Settings, history: History, as_of: datetime, progress: Progress | None = None
) -> tuple[int, int]:
    """Build one instant's snapshots into the cache; return how many accounts and features they have."""
    files = build_files(settings, history, [as_of], progress)
    if files:
        about = pq.read_metadata(files[as_of])
        return about.num_rows, about.num_columns - len(_KEYS)
    table = snapshots.build_table(history, [as_of], progress)
    return table.num_rows, table.num_columns - len(_KEYS)


def write_file(
    settings: Settings, history: History, as_ofs: Sequence[datetime], file: Path, progress: Progress | None = None
) -> pq.FileMetaData:
    """Write snapshots to a Parquet file, whole or not at all: a copy of the cached file where they are of one midnight.

    Args:
        settings: The company's: its folder is where they are kept.
        history: Of the company.
        as_ofs: Instants to look from.
        file: To write.
        progress: Called with accounts done and accounts in all, while building.

    Returns:
        Of the file: its rows and columns.
    """
    cached = build_files(settings, history, as_ofs, progress) if len(set(as_ofs)) == 1 else {}
    with write_atomically(file) as part:
        if cached:
            shutil.copyfile(next(iter(cached.values())), part)
        else:
            _join_parts(load_parts(settings, history, as_ofs, progress), part)
        return pq.read_metadata(part)


def _join_parts(parts: Iterator[pa.Table], file: Path) -> None:
    """Write parts as row groups, with no more than one in memory."""
    first = next(parts)
    with pq.ParquetWriter(file, first.schema, **snapshots.PARQUET) as writer:
        writer.write_table(first)
        for part in parts:
            writer.write_table(part)


def _built(
    history: History, files: Mapping[datetime, Path], missing: Sequence[datetime], progress: Progress | None
) -> dict[datetime, pa.Table]:
    """Build and write snapshots, some instants at a time; return those without a file."""
    loose = {}
    step = max(1, _BUILT // max(1, history.count_rows()))
    for first in range(0, len(missing), step):
        some = missing[first : first + step]
        for as_of, part in snapshots.split_by_as_of(snapshots.build_table(history, some, progress), some).items():
            if as_of in files:
                snapshots.write_snapshots(part, files[as_of])
                _tidy(files[as_of])
            else:
                loose[as_of] = part
    return loose


def read_cached_parts(settings: Settings, history: History, as_of: datetime) -> Iterator[pa.Table] | None:
    """Return the cached snapshots of one instant, as `snapshots.build_parts` yields them; None if none are cached.

    They lack the features that need other accounts' rows.
    """
    file = _files(settings, history, [as_of]).get(as_of)
    if file is None or not file.exists():
        return None
    peers = {f.name for f in history.catalog.select_peer_features(history.sources)}
    parts = _read(history, as_of, file, _PART)
    return (part.select([name for name in part.column_names if name not in peers]) for part in parts)


def find_cached(settings: Settings, history: History, as_ofs: Iterable[datetime]) -> set[datetime]:
    """Return the instants whose snapshots are in the cache."""
    return {as_of for as_of, file in _files(settings, history, as_ofs).items() if file.exists()}


def fingerprint_code(history: History) -> str:
    """Return the engine's kind and a number that changes with the code that computes snapshots."""
    return f"{history.engine.kind} {fingerprint_packages(*CODE)}"


def _files(settings: Settings, history: History, as_ofs: Iterable[datetime]) -> dict[datetime, Path]:
    """Return the files of the cache by `as_of`, without instants that can't be cached."""
    visible = {as_of: history.read_fingerprints(as_of) for as_of in as_ofs}
    made_of = [history.catalog.version, fingerprint_code(history), history.measured, history.attributes]
    found = {}
    for as_of, seen in visible.items():
        if seen is not None:
            told = json.dumps([seen, *made_of], sort_keys=True)
            name = f"{as_of.astimezone(UTC):%Y-%m-%d}-{hashlib.sha256(told.encode()).hexdigest()[:16]}.parquet"
            found[as_of] = settings.var / "features" / name
    return found


def _read(history: History, as_of: datetime, file: Path, rows: int = _READ) -> Iterator[pa.Table]:
    """Yield the snapshots of a file; where it is gone or harmed, build them again and yield those still missing."""
    yielded = 0
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            if not parquet.metadata.num_rows:
                yield parquet.read()
            for batch in parquet.iter_batches(rows):
                yield pa.Table.from_batches([batch])
                yielded += batch.num_rows
    except FileNotFoundError:  # tidied away by another process just now
        yield snapshots.build_table(history, [as_of]).slice(yielded)
    except PermissionError:
        raise
    except (pa.ArrowException, OSError, ValueError):
        set_aside(file, _REMEDY)
        whole = snapshots.build_table(history, [as_of])
        snapshots.write_snapshots(whole, file)
        yield whole.slice(yielded)


def _tidy(newest: Path) -> None:
    """Remove what was built for the same `as_of` before it changed."""
    for file in newest.parent.glob(f"{newest.name[:10]}-*.parquet"):
        if file != newest:
            file.unlink(missing_ok=True)

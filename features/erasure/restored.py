"""Erase again what a restored backup has brought back: tombstones and their key outlast what is restored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from features.erasure import databases, places
from features.erasure.erase import erase
from features.settings import Settings
from features.state import database
from features.state.erasure_tables import ERASURES
from features.state.tombstones import KEY_FILE, Kind, keep_key, query_tombstones

_LONGEST = 200


def erase_again(settings: Settings, aside: Sequence[Path]) -> int:
    """Erase from what was restored whoever was erased by then or since; return how many had come back.

    Args:
        settings: The company's.
        aside: What a restore put aside: its tombstones and its key are taken over.

    Raises:
        SettingsError: The backup has erasures by another key.
    """
    files = [file for place in aside for file in (place.glob("*.db") if place.is_dir() else [place])]
    known = {row["hash"]: row for file in files for row in _read_erasures(file)}
    if not known and not database.exists(settings):
        return 0
    for key in (place / KEY_FILE for place in aside if (place / KEY_FILE).is_file()):
        keep_key(settings, key.read_bytes().strip())
    with database.open(settings) as store, store.writing() as connection:
        there = set(connection.execute(sa.select(ERASURES.c.hash)).scalars())
        missing = [row for hashed, row in known.items() if hashed not in there]
        if missing:
            connection.execute(sa.insert(ERASURES), missing)
        gone = query_tombstones(connection, settings)
        values = databases.list_values(connection, _LONGEST) if gone else set()
    if gone:
        values |= {value for _, file in places.list_files(settings) for value in _list_values(file)}
    back: list[tuple[Kind, str]] = [(kind, one) for kind in get_args(Kind) for one in sorted(gone.find(kind, values))]
    for kind, one in back:
        erase(settings, kind, one, reason="came back with a backup")
    return len(back)


def _read_erasures(file: Path) -> list[dict[str, Any]]:
    """Read the erasures of a state database that was put aside; none of an earlier release."""
    with databases.open_sqlite(file) as engine, engine.connect() as connection:
        if not sa.inspect(connection).has_table(ERASURES.name):
            return []
        return [dict(row) for row in connection.execute(sa.select(ERASURES)).mappings()]


def _list_values(file: Path) -> Iterator[str]:
    """Yield the distinct short texts of a Parquet file."""
    if file.suffix != ".parquet":
        return
    try:
        with pq.ParquetFile(file) as opened:
            names = [
                f.name for f in opened.schema_arrow if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)
            ]
            for batch in opened.iter_batches(columns=names):
                for column in batch.columns:
                    yield from (text for text in column.unique().to_pylist() if text and len(text) <= _LONGEST)
    except (pa.ArrowException, ValueError):  # harmed
        return

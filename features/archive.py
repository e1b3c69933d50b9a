"""Snapshots kept by `as_of`: what was built once is read, until something that was visible then has changed.

By the time rules a snapshot depends on nothing that came or became known after its `as_of`. So the fingerprint of
what was visible, of the catalog and of the attributes names the file, and a file never changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from features import snapshots
from features.history import History
from features.settings import Settings
from features.snapshots import Progress


def table(
    settings: Settings, history: History, as_ofs: Sequence[datetime], progress: Progress | None = None
) -> pa.Table:
    """Snapshots as `features.snapshots.table` builds them; only those that aren't kept yet are built.

    Args:
        settings: The company's: its folder is where they are kept.
        history: Of the company.
        as_ofs: Instants to look from; one that is no midnight UTC is built each time.
        progress: Called with accounts done and accounts in all, while building.
    """
    wanted = sorted(set(as_ofs))
    files = {as_of: file for as_of in wanted if (file := _file(settings, history, as_of))}
    there = {as_of: pq.read_table(file) for as_of, file in files.items() if file.exists()}
    missing = [as_of for as_of in wanted if as_of not in there]
    if missing:
        built = snapshots.split(snapshots.table(history, missing, progress), missing)
        for as_of, part in built.items():
            if as_of in files:
                snapshots.write(part, files[as_of])
                _tidy(files[as_of])
        there |= built
    return pa.concat_tables([there[as_of] for as_of in wanted])


def _file(settings: Settings, history: History, as_of: datetime) -> Path | None:
    visible = history.visible(as_of)
    if visible is None:
        return None
    told = [visible, history.catalog.version, history.sources, history.attributes]
    fingerprint = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
    return settings.var / "features" / f"{as_of:%Y-%m-%d}-{fingerprint}.parquet"


def _tidy(newest: Path) -> None:
    """Remove what was built of the same `as_of` before it changed."""
    for file in newest.parent.glob(f"{newest.name[:10]}-*.parquet"):
        if file != newest:
            file.unlink(missing_ok=True)

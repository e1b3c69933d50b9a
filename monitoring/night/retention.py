"""Remove what is older than `[retention]` says: files by the day that they are about, rows and letters by their time.

Nothing goes that training or an open experiment reads: every score, draw, episode and outcome stays in the state
database, and files from the start of the oldest open experiment on stay too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from features.core.harmed_files import SUFFIX
from features.core.timestamps import from_micros, to_micros
from features.settings import Settings
from features.state.database import Store
from features.state.experiment_tables import EXPERIMENTS
from features.state.tables import DELIVERY_QUARANTINE, EVENT_LOG, OUTBOX
from monitoring.drift.drift_report import drift_folder
from serving.api.access_log import access_log_folder
from serving.scoring import score_table, snapshot_store

# Runs whose files stay however old they are: what a service and the next night begin from.
_NEWEST = 2
# Letters in these states are sent no more.
_ENDED = ("sent", "expired", "bounced", "failed")
_EMPTIED = "(removed: older than retention.messages)"
# Files put aside as harmed, and halves that a kill left.
_LEFTOVERS = timedelta(days=7)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass
class Removed:
    """What was removed, or would be.

    Args:
        counts: Number of files, rows or letters by the key of `[retention]`; those of leftovers too.
        bytes: Of the files.
    """

    counts: dict[str, int] = field(default_factory=dict)
    bytes: int = 0

    def __str__(self) -> str:
        parts = [f"{count:,} {what}" for what, count in self.counts.items() if count]
        return f"{', '.join(parts)} ({self.bytes / 1e6:,.1f} MB)" if parts else "nothing"


def apply_retention(settings: Settings, store: Store, as_of: datetime, *, dry_run: bool = False) -> Removed:
    """Remove what is older than the settings say; a second call finds nothing.

    Args:
        settings: The company's.
        store: Its state database.
        as_of: Of the newest night: results are as old as their own `as_of` lies before it.
        dry_run: Only count.
    """
    keep, now, removed = settings.retention, datetime.now(UTC), Removed()
    until = min(as_of, _find_oldest_experiment(store) or as_of)
    var = settings.var
    results, snapshots = score_table.scores_folder(settings), snapshot_store.snapshots_folder(settings)
    groups: dict[str, list[Path]] = {
        "results": _list_dated(results, min(until, as_of - keep.results), spared=_NEWEST),
        "snapshots": [
            *_list_dated(snapshots, min(until, as_of - keep.snapshots), spared=_NEWEST),
            *_list_written(var / "features", now - keep.snapshots),
        ],
        "drift": _list_dated(drift_folder(settings), as_of - keep.drift),
        "audit": _list_dated(access_log_folder(settings), now - keep.audit),
        "quarantine": _list_written(var / "quarantine", now - keep.quarantine),
        "leftovers": list(_list_leftovers(var, now - _LEFTOVERS)),
    }
    for name, files in groups.items():
        for file in files:
            removed.bytes += file.stat().st_size
            if not dry_run:
                file.unlink(missing_ok=True)
        removed.counts[name] = len(files)
    with store.reading() if dry_run else store.writing() as connection:
        for name, table, old in _select_rows(settings, now):
            number = connection.scalar(sa.select(sa.func.count()).select_from(table).where(old)) or 0
            removed.counts[name] = removed.counts.get(name, 0) + number
            if number and not dry_run:
                emptied = {"subject": _EMPTIED, "body": _EMPTIED, "html": None}
                connection.execute(
                    sa.update(table).where(old).values(emptied) if table is OUTBOX else sa.delete(table).where(old)
                )
    return removed


def _select_rows(settings: Settings, now: datetime) -> Iterator[tuple[str, sa.Table, sa.ColumnElement[bool]]]:
    """Yield the key of the settings, a table, and which of its rows are too old."""
    keep = settings.retention
    if keep.events is not None:
        newest = sa.select(sa.func.max(EVENT_LOG.c.seq)).scalar_subquery()  # places are counted on from it
        yield "events", EVENT_LOG, (EVENT_LOG.c.received_at < to_micros(now - keep.events)) & (EVENT_LOG.c.seq < newest)
    yield "quarantine", DELIVERY_QUARANTINE, DELIVERY_QUARANTINE.c.at < to_micros(now - keep.quarantine)
    is_ended = OUTBOX.c.state.in_(_ENDED) & OUTBOX.c.episode_id.is_not(None) & (OUTBOX.c.body != _EMPTIED)
    yield "messages", OUTBOX, is_ended & (OUTBOX.c.created_at < to_micros(now - keep.messages))


def _find_oldest_experiment(store: Store) -> datetime | None:
    """Return the `as_of` from which the oldest experiment runs that was not stopped; None without one."""
    oldest = sa.select(sa.func.min(EXPERIMENTS.c.started_as_of)).where(EXPERIMENTS.c.stopped_at.is_(None))
    with store.reading() as connection:
        at = connection.scalar(oldest)
    return None if at is None else from_micros(int(at))


def _list_dated(folder: Path, before: datetime, spared: int = 0) -> list[Path]:
    """List the files whose name begins with, or holds, a day before an instant, but for the newest ones."""
    dated = sorted((match[0], file) for file in _list_files(folder) if (match := _DAY.search(file.name)))
    return [file for day, file in dated[: len(dated) - spared] if day < f"{before:%Y-%m-%d}"]


def _list_written(folder: Path, before: datetime) -> list[Path]:
    return [file for file in _list_files(folder) if file.stat().st_mtime < before.timestamp()]


def _list_leftovers(var: Path, before: datetime) -> Iterator[Path]:
    for folder in (f for f in var.iterdir() if f.is_dir()) if var.is_dir() else ():
        yield from (f for f in _list_all(folder) if _is_leftover(f) and f.stat().st_mtime < before.timestamp())


def _is_leftover(file: Path) -> bool:
    return file.name.endswith((SUFFIX, ".part", ".part.wal"))


def _list_files(folder: Path) -> list[Path]:
    return [file for file in _list_all(folder) if not _is_leftover(file)]


def _list_all(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if file.is_file()] if folder.is_dir() else []

"""Keep the newest scores in memory, to find one account's row at once."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.core.sorted_ids import SortedIds
from features.settings import Settings
from serving.scoring import score_table
from serving.tiers import course

_WANTED = ("account_id", "value", "recommendation", "why", "in_cohort_churn", *course.COLUMNS)


class NewestScores:
    """Finds accounts in the newest scores; several threads may ask at once.

    Args:
        settings: The company's.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._lock = settings, threading.Lock()
        self._newest: tuple[Path | None, int] = (None, -1)
        self._rows: pa.Table | None = None
        self._ids: SortedIds | None = None
        self._as_of: datetime | None = None

    def find(self, account_id: str) -> tuple[Mapping[str, Any], datetime | None]:
        """Return an account's row, {} where it has none, and the scores' `as_of`; None before there are any."""
        file = score_table.find_newest(self._settings)
        newest = (file, 0 if file is None else file.stat().st_mtime_ns)
        with self._lock:
            if newest != self._newest:
                self._rows, self._ids, self._as_of = None, None, None
                if file is not None:
                    columns = [name for name in pq.read_schema(file).names if name in _WANTED]
                    rows = pq.read_table(file, columns=columns, partitioning=None)
                    self._rows = rows.take(pc.sort_indices(rows["account_id"])).combine_chunks()
                    self._ids = SortedIds(self._rows["account_id"].combine_chunks())
                    self._as_of = score_table.parse_instant(file)
                self._newest = newest
            rows, ids, as_of = self._rows, self._ids, self._as_of
        place = None if ids is None else ids.find(account_id)
        return ({} if rows is None or place is None else rows.slice(place, 1).to_pylist()[0]), as_of

"""Keep the newest scores in memory, to find one account's row at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.core.sorted_ids import SortedIds
from serving.scoring import score_table
from serving.tiers import course

_WANTED = ("account_id", "value", "recommendation", "why", "in_cohort_churn", *course.COLUMNS)


@dataclass(frozen=True)
class NewestScores:
    """Scores of one run.

    Args:
        rows: A row an account, by id; None before there are any.
        ids: Of the accounts; None before there are any.
        as_of: Of the scores; None before there are any.
    """

    rows: pa.Table | None = None
    ids: SortedIds | None = None
    as_of: datetime | None = None

    @classmethod
    def read(cls, file: Path | None) -> Self:
        """Read a score table; None before the first."""
        if file is None:
            return cls()
        columns = [name for name in pq.read_schema(file).names if name in _WANTED]
        rows = pq.read_table(file, columns=columns, partitioning=None)
        rows = rows.take(pc.sort_indices(rows["account_id"])).combine_chunks()
        return cls(rows, SortedIds(rows["account_id"].combine_chunks()), score_table.parse_instant(file))

    def find(self, account_id: str) -> Mapping[str, Any]:
        """Return an account's row; {} where it has none."""
        place = None if self.ids is None else self.ids.find(account_id)
        row: Mapping[str, Any] = {} if self.rows is None or place is None else self.rows.slice(place, 1).to_pylist()[0]
        return row

"""The point-in-time engine: snapshots of every account at any number of instants, by one query.

The time rules hold here and nowhere else. A feature at `as_of` sees the facts with `t < as_of` and
`known <= as_of`; its window is `[as_of - w, as_of)`. What stands open or in force (a stream with `until`) is
seen until `until`, inclusive: an end exactly at `as_of` belongs to the label.

Sums are over whole numbers and decimals, so a feature has one value in any order of rows: the query run over
one posted account gives the same bits as over all accounts at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd

from features.definition import DAY
from features.expression import query
from features.files import replacing
from features.history import History
from features.instants import aware, instant, micros


def build(history: History, as_ofs: Sequence[datetime]) -> pd.DataFrame:
    """Snapshots: one row per (account created before `as_of`, `as_of`).

    Returns:
        account_id (text), as_of (datetime64[us, UTC]), then the features whose sources are there: float64, and
        text for the account's text attributes. Sorted by as_of and account_id.
    """
    cutoffs = pd.DataFrame({"as_of": sorted({micros(a) for a in as_ofs})}, dtype="int64")
    frame = history.query(query(history.sources, history.attributes), cutoffs=cutoffs)
    return frame.assign(as_of=aware(frame["as_of"]))


def write(frame: pd.DataFrame, file: Path) -> None:
    """Write snapshots to a Parquet file, whole or not at all."""
    with replacing(file) as part:
        frame.to_parquet(part, index=False)


def latest(history: History) -> datetime:
    """The midnight UTC that ends the last day with an event."""
    return instant(-(-(history.last_event + 1) // DAY) * DAY)

"""Builds snapshots of every account at any number of instants.

Which facts a feature sees at `as_of` is said by `definitions.visibility_rule`; its window is `[as_of - w, as_of)`.
`engine.window_aggregates` applies both, and for other engines `definitions.sql_expression` does.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.arrays.formulas import Program
from features.core.atomic_write import write_atomically
from features.core.harmed_files import CHECKSUMS
from features.core.progress import Progress
from features.core.timestamps import NEVER, from_micros, sort_unique_micros, to_micros
from features.definitions.feature import DAY, Feature, FeatureContext, Stream, WindowedMeasure
from features.definitions.sql_expression import group_by_stream
from features.definitions.visibility_rule import ARRAYS, exists
from features.engine import fact_files, peer_features, window_aggregates
from features.engine.attribute_versions import AttributeVersions, to_floats
from features.sources.history import History

_EVENTS, _ACCOUNTS = 2_000_000, 10_000  # that one thread has in memory
# How files of snapshots are written: read whole, so that nothing looks at statistics.
PARQUET: Mapping[str, Any] = {
    "compression": "snappy",
    "use_dictionary": False,
    "write_statistics": False,
    **CHECKSUMS,
}


def build(history: History, as_ofs: Sequence[datetime]) -> pd.DataFrame:
    """Build snapshots: one row for each account that exists at `as_of`, and each `as_of`.

    Returns:
        account_id (text), as_of (datetime64[us, UTC]), then the features whose sources are there: float64, and
        text for the account's text attributes. Sorted by as_of and account_id.

    Example:
        >>> from datetime import UTC
        >>> from decimal import Decimal
        >>> from features.settings import Settings
        >>> table = {"source": "files", "columns": {}}
        >>> settings = Settings.model_validate({
        ...     "company": {"name": "Harbour Ltd"},
        ...     "sources": {"files": {"path": "*.csv"}},
        ...     "tables": {"accounts": table, "purchases": table},
        ...     "churn": {"cohort": {"kind": "active"}, "label": {"kind": "no_purchase"}},
        ... })
        >>> march, april = datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC)
        >>> account = {"account_id": "A", "created_at": to_micros(march) - 30 * DAY}
        >>> bought_at = to_micros(march) + DAY
        >>> purchase = {"account_id": "A", "purchased_at": bought_at, "known_at": bought_at, "amount": Decimal(250)}
        >>> with History.from_rows(settings, {"accounts": [account], "purchases": [purchase]}) as history:
        ...     frame = build(history, [march, april])
        >>> frame[["account_id", "spend_90d"]].values.tolist()
        [['A', 0.0], ['A', 250.0]]
    """
    return build_table(history, as_ofs).to_pandas()


def build_table(history: History, as_ofs: Sequence[datetime], progress: Progress | None = None) -> pa.Table:
    """Build snapshots as an Arrow table.

    Args:
        history: Of the company.
        as_ofs: Instants to look from.
        progress: Called with accounts done and accounts in all, by the default engine.

    Raises:
        GarrisonError: The engine that the settings ask for can't be reached, or failed.
    """
    if history.engine.kind != "duckdb":
        from features.engine import dispatch

        return peer_features.add_peer_features(history, dispatch.build_table(history.engine, history, as_ofs))
    instants = np.array(sort_unique_micros(as_ofs), dtype="int64")
    parts = history.split_accounts(_EVENTS, _ACCOUNTS)
    if len(parts) == 1:
        return _whole(history, [_part(history, instants, *parts[0])], len(instants))
    with ThreadPoolExecutor(min(len(parts), os.cpu_count() or 1)) as pool:
        found, done = [], 0
        for (first, last), part in zip(parts, pool.map(lambda p: _part(history, instants, *p), parts), strict=True):
            found.append(part)
            done += last - first + 1
            if progress:
                progress("accounts", done, parts[-1][1] + 1)
    return _whole(history, found, len(instants))


def _whole(history: History, found: Sequence[Sequence[pa.Table]], instants: int) -> pa.Table:
    # Each part has its instants one after another; the whole has each instant's parts one after another.
    whole = pa.concat_tables([part[k] for k in range(instants) for part in found])
    # Posted accounts have no company around them.
    return peer_features.add_peer_features(history, whole) if history.checked else whole


def build_parts(history: History, as_of: datetime) -> Iterator[pa.Table]:
    """Yield one instant's snapshots, some accounts at a time in the order of their ids, to need less memory.

    They lack the features that need other accounts' rows.

    Raises:
        GarrisonError: The engine that the settings ask for can't be reached, or failed.
    """
    if history.engine.kind != "duckdb":
        from features.engine import dispatch

        whole = dispatch.build_table(history.engine, history, [as_of])
        for start in range(0, whole.num_rows, _ACCOUNTS):
            yield whole.slice(start, _ACCOUNTS)
        return
    instants, workers = np.array([to_micros(as_of)], dtype="int64"), os.cpu_count() or 1
    waiting: deque[Future[list[pa.Table]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for first, last in history.split_accounts(_EVENTS, _ACCOUNTS):
            waiting.append(pool.submit(_part, history, instants, first, last))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()[0]
        while waiting:
            yield waiting.popleft().result()[0]


def _part(history: History, as_ofs: np.ndarray, first: int, last: int) -> list[pa.Table]:
    """Build the snapshots of the accounts numbered `first` to `last`: a table for each instant."""
    accounts, there, numbers, versions = _worked_out(history, as_ofs, first, last)
    texts = [name for name, kind in history.attributes if kind == "string"]
    parts = []
    for k, as_of in enumerate(as_ofs):
        mask, places = pa.array(there[k]), np.flatnonzero(there[k])
        instants = pa.array(np.full(len(places), as_of), pa.timestamp("us", "UTC"))
        columns = {"account_id": accounts["account_id"].filter(mask), "as_of": instants}
        columns |= {name: _column(values[k][places]) for name, values in numbers.items()}
        columns |= {name: versions.texts(name, k).filter(mask) for name in texts}
        described = [name for name, _ in history.attributes]
        parts.append(pa.table(columns).select([n for n in columns if n not in described] + described))
    return parts


def _worked_out(
    history: History, as_ofs: np.ndarray, first: int, last: int
) -> tuple[pa.Table, np.ndarray, dict[str, np.ndarray], AttributeVersions]:
    """Return some accounts, which have a row at which instant, and by name their features and numeric attributes.

    Returns:
        n accounts, then (k, n) flags, then (k, n) float64 each, and the attributes by instant.
    """
    features = history.features
    accounts = history.read_accounts(first, last)
    count = accounts.num_rows
    measured: dict[str, np.ndarray] = {}
    streams, program = _compiled(features, history.attributes)
    for stream, rows in fact_files.load_facts(history, streams, (first, last), as_ofs):
        measured |= window_aggregates.aggregate_windows(rows, streams[stream], as_ofs, count)
    known = {"as_of": as_ofs[:, None].astype("float64")}
    versions = AttributeVersions.read(history, accounts, as_ofs, first)
    known["created_at"] = to_floats(accounts["created_at"])[None, :]
    known |= {name: versions.numbers(name) for name in _numeric(history.attributes)}
    found = program.run(measured | known)
    there = _created(accounts, as_ofs)
    return accounts, there, {name: np.broadcast_to(values, there.shape) for name, values in found.items()}, versions


def _column(values: np.ndarray) -> pa.Array:
    # Without a null the array is taken as it is.
    return pa.array(values, from_pandas=bool(np.isnan(values).any()))


def _created(accounts: pa.Table, as_ofs: np.ndarray) -> np.ndarray:
    """Return whether each account exists at each instant, (k, accounts)."""
    created, merged = (accounts[c].fill_null(NEVER).to_numpy()[None, :] for c in ("created_at", "merged_at"))
    return exists(created, merged, as_ofs[:, None], ARRAYS)


@cache
def _compiled(
    features: tuple[Feature, ...], attributes: tuple[tuple[str, str], ...]
) -> tuple[dict[Stream, list[WindowedMeasure]], Program]:
    """Compile the features and numeric attributes to measures, and to formulas over measures and columns."""
    asks = {column: "float64" for f in features for column in f.windowed_measures}
    numeric = dict.fromkeys(_numeric(attributes), "float64")
    measured = ibis.table({"created_at": "float64", "as_of": "float64", **asks, **numeric}, name="measured")
    formulas = {f.name: f.formula(FeatureContext(measured)) for f in features} | {
        name: measured[name] for name in numeric
    }
    return group_by_stream(features), Program(formulas)


def _numeric(attributes: tuple[tuple[str, str], ...]) -> list[str]:
    return [name for name, kind in attributes if kind != "string"]


def split_by_as_of(table: pa.Table, as_ofs: Sequence[datetime]) -> dict[datetime, pa.Table]:
    """Split a table of snapshots by instant; an instant without accounts has no row."""
    places = table["as_of"].cast(pa.int64()).to_numpy()
    begin, end = (np.searchsorted(places, [to_micros(a) for a in as_ofs], side) for side in ("left", "right"))
    return {a: table.slice(b, e - b) for a, b, e in zip(as_ofs, begin.tolist(), end.tolist(), strict=True)}


def write_snapshots(table: pa.Table, file: Path) -> None:
    """Write snapshots to a Parquet file, whole or not at all."""
    with write_atomically(file) as part:
        pq.write_table(table, part, **PARQUET)


def find_latest_as_of(history: History) -> datetime:
    """Return the midnight UTC that ends the last day with an event."""
    return from_micros(-(-(history.last_event + 1) // DAY) * DAY)

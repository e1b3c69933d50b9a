"""Features that need other accounts' rows: ranks among peers, and the parent's values."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.sources.history import History

# Peers are the accounts alike in the first of these that is mapped; all accounts where none is.
SEGMENTS = ("plan", "size", "industry", "region")


def add_peer_features(history: History, table: pa.Table) -> pa.Table:
    """Add the features that need other accounts' rows, at the same `as_of`, as further columns of snapshots.

    Args:
        history: Of the whole company.
        table: Its snapshots, in the order of `as_of`.
    """
    features = history.catalog.select_peer_features(history.sources)
    instants = table["as_of"].cast(pa.int64()).to_numpy()
    edges = [0, *(np.flatnonzero(np.diff(instants)) + 1), len(instants)] if len(instants) else [0]
    moments = [slice(begin, end) for begin, end in pairwise(edges)]
    segment, parent = _segments(table), _parents(history, table, moments)
    for feature in features:
        values = table[str(feature.base)].to_numpy()
        found = np.full(len(values), np.nan)
        if feature.scope == "peers":
            _rank(values, segment, moments, found)
        elif parent is not None:
            there = parent >= 0
            found[there] = values[parent[there]]
        table = table.append_column(feature.name, pa.array(found, from_pandas=True))
    return table


def _segments(table: pa.Table) -> np.ndarray:
    for name in SEGMENTS:
        if name in table.column_names and pa.types.is_string(table[name].type):
            return pc.index_in(table[name], pc.unique(table[name])).to_numpy()
    return np.zeros(table.num_rows, dtype="int32")


def _rank(values: np.ndarray, segment: np.ndarray, moments: list[slice], found: np.ndarray) -> None:
    """Write into `found` the share of peers with less; peers with as much count half. Null stays null."""
    for moment in moments:
        for one in np.unique(segment[moment]):
            rows = np.flatnonzero((segment[moment] == one) & ~np.isnan(values[moment])) + moment.start
            if len(rows) < 2:
                continue
            ordered = np.sort(values[rows])
            below, up_to = (np.searchsorted(ordered, values[rows], side) for side in ("left", "right"))
            # The account itself is none of its peers.
            found[rows] = (below + (up_to - below - 1) / 2) / (len(rows) - 1)


def _parents(history: History, table: pa.Table, moments: list[slice]) -> np.ndarray | None:
    """Return the row index of the parent at the same `as_of`, -1 without one; None if no account has a parent."""
    accounts = history.query_arrow("SELECT account_id, parent_id FROM accounts WHERE parent_id IS NOT NULL")
    if not accounts.num_rows:
        return None
    found = np.full(table.num_rows, -1, dtype="int64")
    for moment in moments:
        ids = table["account_id"].slice(moment.start, moment.stop - moment.start).combine_chunks()
        child, parent = (
            pc.fill_null(pc.index_in(accounts[column], ids), -1).to_numpy() for column in ("account_id", "parent_id")
        )
        there = (child >= 0) & (parent >= 0)
        found[child[there] + moment.start] = parent[there] + moment.start
    return found

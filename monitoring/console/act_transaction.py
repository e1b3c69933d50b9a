"""Let an act and its record in the audit table be one transaction: both are kept, or neither."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from features.state.database import Store
from features.state.joined_store import JoinedStore


@contextmanager
def begin_act(store: Store) -> Iterator[JoinedStore]:
    """Begin a transaction for an act and its record; yields the store for both. After an error nothing is written."""
    with store.writing() as connection:
        yield JoinedStore(store.engine, connection)

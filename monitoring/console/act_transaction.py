"""Let an act and its record in the audit table be one transaction: both are kept, or neither."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from features.state.database import Store


@dataclass(frozen=True)
class JoinedStore(Store):
    """A store whose reads and writes all belong to a transaction that is under way.

    Args:
        connection: Of that transaction.
    """

    connection: sa.Connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Yield the connection of the transaction."""
        yield self.connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Yield the connection of the transaction, which its beginner commits or rolls back."""
        yield self.connection


@contextmanager
def begin_act(store: Store) -> Iterator[JoinedStore]:
    """Begin a transaction for an act and its record; yields the store for both. After an error nothing is written."""
    with store.writing() as connection:
        yield JoinedStore(store.engine, connection)

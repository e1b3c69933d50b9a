"""Let several reads and writes of the state database belong to one transaction."""

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
def join_reads(store: Store) -> Iterator[Store]:
    """Yield a store whose reads take one connection and begin one transaction; nothing is written through it.

    Raises:
        GarrisonError: The database is locked or can't be reached.
    """
    with store.reading() as connection:
        yield JoinedStore(store.engine, connection)

"""Keep the views of the portfolio that people save, each person's own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.safe_line import to_safe_line
from features.core.timestamps import to_micros
from features.state.database import Store
from features.state.portfolio_tables import CONSOLE_VIEWS

_MOST = 30


@dataclass(frozen=True)
class SavedView:
    """A view that a person saved.

    Args:
        name: As the person calls it.
        query: Of the portfolio's address.
    """

    name: str
    query: str


def read_views(store: Store, address: str) -> list[SavedView]:
    """Read a person's views, by name."""
    c = CONSOLE_VIEWS.c
    query = sa.select(c.name, c.query).where(c.address == address).order_by(c.name)
    with store.reading() as connection:
        return [SavedView(*row) for row in connection.execute(query)]


def save_view(connection: sa.Connection, address: str, name: str, query: str) -> str:
    """Save a view under a name, in place of the person's view with that name; returns the name as it is stored.

    Args:
        connection: A writing transaction.
        address: Of the person.
        name: At most 60 characters are kept.
        query: Of the portfolio's address, as `PortfolioView.write` writes it.

    Raises:
        GarrisonError: It has no name, or the person has too many views.
    """
    if not name.strip():
        raise GarrisonError("a view needs a name", hint="Call it what you look for in it")
    plain, c = to_safe_line(name.strip(), 60), CONSOLE_VIEWS.c
    connection.execute(sa.delete(CONSOLE_VIEWS).where(c.address == address, c.name == plain))
    number = connection.scalar(sa.select(sa.func.count()).where(c.address == address)) or 0
    if number >= _MOST:
        raise GarrisonError(f"you have {number} views", hint="Remove one that you no longer use")
    row = {"address": address, "name": plain, "query": query, "saved_at": to_micros(datetime.now(UTC))}
    connection.execute(sa.insert(CONSOLE_VIEWS), row)
    return plain


def remove_view(connection: sa.Connection, address: str, name: str) -> None:
    """Remove a person's view; one that is not there is removed already."""
    c = CONSOLE_VIEWS.c
    connection.execute(sa.delete(CONSOLE_VIEWS).where(c.address == address, c.name == name))

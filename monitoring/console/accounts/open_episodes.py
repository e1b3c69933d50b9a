"""Read open episodes for lists: which accounts have one, and which one matters most on an account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from features.state.database import Store
from features.state.tables import EPISODES
from monitoring.alerts.kinds import SNOOZED

_CHUNK = 500


@dataclass(frozen=True)
class OpenEpisodeMark:
    """What a list says of an account's open episode.

    Args:
        id: Of the episode.
        kind: Such as churn.
        state: Such as notified.
        play: What to do; None where nothing is proposed.
    """

    id: str
    kind: str
    state: str
    play: str | None


def list_accounts_with_episodes(store: Store) -> list[str]:
    """List the accounts with an open episode that does not rest, by id."""
    c = EPISODES.c
    query = sa.select(c.account_id).where(c.closed_as_of.is_(None), c.state != SNOOZED)
    with store.reading() as connection:
        return sorted(set(connection.scalars(query)))


def count_accounts_with_episodes(store: Store, among: Sequence[str] | None) -> int:
    """Count the accounts with an open episode that does not rest.

    Args:
        store: The state database.
        among: Only these; None for all.
    """
    c = EPISODES.c
    query = sa.select(sa.func.count(c.account_id.distinct())).where(c.closed_as_of.is_(None), c.state != SNOOZED)
    if among is not None:
        query = query.where(c.account_id.in_(among))
    with store.reading() as connection:
        return connection.scalar(query) or 0


def find_by_account(store: Store, accounts: Sequence[str]) -> dict[str, OpenEpisodeMark]:
    """Find, for each of some accounts, its open episode that the most is expected of."""
    c = EPISODES.c
    marks: dict[str, OpenEpisodeMark] = {}
    for start in range(0, len(accounts), _CHUNK):
        own = c.account_id.in_(accounts[start : start + _CHUNK])
        query = sa.select(c.account_id, c.id, c.kind, c.state, c.play).where(c.closed_as_of.is_(None), own)
        with store.reading() as connection:
            for account, *rest in connection.execute(query.order_by(c.expected, c.id)):
                marks[account] = OpenEpisodeMark(*rest)
    return marks

"""Note that the owner of an episode has been told, in the transaction that stores the message as sent."""

from __future__ import annotations

import sqlalchemy as sa

from features.state.tables import EPISODES
from monitoring.alerts import kinds
from monitoring.alerts.acts import mark_notified


def mark_told(connection: sa.Connection, message: str, now: int) -> None:
    """Mark the open episodes whose owner a message has told of them: one by a letter, several by a digest.

    Args:
        connection: A writing transaction.
        message: Its id; copies for other channels, and messages to teams and sponsors, tell no owner.
        now: The instant (µs).
    """
    told = sa.select(EPISODES.c.id).where(EPISODES.c.message_id == message, EPISODES.c.state == kinds.OPEN)
    for episode in connection.scalars(told.order_by(EPISODES.c.id)).all():
        mark_notified(connection, episode, now=now, message=message)

"""Note that the owner of an episode has been told, in the transaction that stores the message as sent."""

from __future__ import annotations

import sqlalchemy as sa

from features.state.tables import EPISODES, OUTBOX
from monitoring.alerts.acts import mark_notified


def mark_told(connection: sa.Connection, message: str, now: int) -> None:
    """Mark the open episodes that a message told of: its own, or those that a digest lists.

    Args:
        connection: A writing transaction.
        message: Its id; one that is a copy tells of none.
        now: The instant (µs).
    """
    own = sa.select(OUTBOX.c.episode_id).where(OUTBOX.c.id == message, OUTBOX.c.copy_of.is_(None))
    told = sa.select(EPISODES.c.id).where((EPISODES.c.message_id == message) | EPISODES.c.id.in_(own))
    for episode in connection.scalars(told.where(EPISODES.c.state == "open").order_by(EPISODES.c.id)).all():
        mark_notified(connection, episode, now=now, message=message)

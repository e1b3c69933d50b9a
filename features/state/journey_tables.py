"""Define the journey's tables of the state database: what people decided about topics, and which rises were told.

Instants are whole microseconds since 1970, UTC.
"""

from __future__ import annotations

import sqlalchemy as sa

from features.state.tables import METADATA

# What people decided about topics of tickets; rows are only added. Of one kind the newest row of a topic counts.
TOPIC_DECISIONS = sa.Table(
    "topic_decisions",
    METADATA,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("topic_id", sa.String, nullable=False),
    sa.Column("decision", sa.String, nullable=False),  # rename, merge, split, pin, unpin, team, tab
    sa.Column("value", sa.JSON, nullable=False),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
)

# Rises of topics that their team was told: one row from when a rate left its noise until it is back.
TOPIC_WARNINGS = sa.Table(
    "topic_warnings",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("topic_id", sa.String, nullable=False),
    sa.Column("partner_id", sa.String),  # null: of all accounts
    sa.Column("began", sa.BigInteger, nullable=False),  # as_of of the night
    sa.Column("ended", sa.BigInteger),
    sa.Column("message_id", sa.String),  # in the outbox; null where the topic has no team
    sa.Column("figures", sa.JSON, nullable=False),
)

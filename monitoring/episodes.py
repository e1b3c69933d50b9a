"""Episodes, the runs that moved them, and the outbox: the tables behind alerts, and how a row is named."""

from __future__ import annotations

import uuid

import sqlalchemy as sa

from serving.store import METADATA

# One row for each as_of that alerts were raised at: what makes a second run of it a no-op.
RUNS = sa.Table(
    "alert_runs",
    METADATA,
    sa.Column("target", sa.String, primary_key=True),
    sa.Column("as_of", sa.BigInteger, primary_key=True),
    sa.Column("horizon", sa.Integer, nullable=False),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("enter", sa.Double, nullable=False),
    sa.Column("leave", sa.Double, nullable=False),
    sa.Column("run_at", sa.BigInteger, nullable=False),
)

EPISODES = sa.Table(
    "episodes",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("account_id", sa.String, nullable=False),
    sa.Column("target", sa.String, nullable=False),
    sa.Column("horizon", sa.Integer, nullable=False),
    sa.Column("opened_as_of", sa.BigInteger, nullable=False),
    sa.Column("opened_score", sa.Double, nullable=False),
    sa.Column("peak_score", sa.Double, nullable=False),
    sa.Column("last_as_of", sa.BigInteger, nullable=False),
    sa.Column("last_score", sa.Double),
    sa.Column("value", sa.Double),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("closed_as_of", sa.BigInteger),
    sa.Column("outcome", sa.String),  # recovered, left
    sa.UniqueConstraint("account_id", "target", "opened_as_of", name="episodes_opened"),
)
# The database itself refuses an account's second open episode.
sa.Index(
    "episodes_open",
    EPISODES.c.account_id,
    EPISODES.c.target,
    unique=True,
    sqlite_where=EPISODES.c.closed_as_of.is_(None),
    postgresql_where=EPISODES.c.closed_as_of.is_(None),
)

OUTBOX = sa.Table(
    "outbox",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("episode_id", sa.String, sa.ForeignKey("episodes.id"), nullable=False),
    sa.Column("kind", sa.String, nullable=False),  # opened
    sa.Column("recipient", sa.String),
    sa.Column("subject", sa.String, nullable=False),
    sa.Column("body", sa.String, nullable=False),
    # pending, sending, sent, failed, uncertain; or never to be sent by itself: withheld, undeliverable
    sa.Column("state", sa.String, nullable=False),
    sa.Column("reason", sa.String),
    sa.Column("channel", sa.String),  # that it was last handed to
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),  # among those of one run: the most at stake first
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("next_try_at", sa.BigInteger, nullable=False),
    sa.Column("sent_at", sa.BigInteger),
    sa.UniqueConstraint("episode_id", "kind", name="outbox_episode"),
    sa.Index("outbox_due", "state", "next_try_at"),
)

_SPACE = uuid.UUID("5c0d3a4e-8f0b-5b53-9a0c-6f7f3a1d2b47")


def episode_id(company: str, account_id: str, *, target: str, opened: int) -> str:
    """The name that the episode opened at this instant (µs) has in every run."""
    return str(uuid.uuid5(_SPACE, "\x1f".join((company, account_id, target, str(opened)))))


def message_id(episode: str, kind: str) -> str:
    """The name of an episode's message of this kind."""
    return str(uuid.uuid5(uuid.UUID(episode), kind))

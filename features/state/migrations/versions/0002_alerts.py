"""Runs of the alerts, episodes, and the outbox of messages."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables alert_runs, episodes and outbox."""
    op.create_table(
        "alert_runs",
        sa.Column("target", sa.String, primary_key=True),
        sa.Column("as_of", sa.BigInteger, primary_key=True),
        sa.Column("horizon", sa.Integer, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("enter", sa.Double, nullable=False),
        sa.Column("leave", sa.Double, nullable=False),
        sa.Column("run_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "episodes",
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
        sa.Column("outcome", sa.String),
        sa.UniqueConstraint("account_id", "target", "opened_as_of", name="episodes_opened"),
    )
    still_open = sa.text("closed_as_of IS NULL")
    op.create_index(
        "episodes_open",
        "episodes",
        ["account_id", "target"],
        unique=True,
        sqlite_where=still_open,
        postgresql_where=still_open,
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("episode_id", sa.String, sa.ForeignKey("episodes.id"), nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("recipient", sa.String),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("body", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("reason", sa.String),
        sa.Column("channel", sa.String),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("next_try_at", sa.BigInteger, nullable=False),
        sa.Column("sent_at", sa.BigInteger),
        sa.UniqueConstraint("episode_id", "kind", name="outbox_episode"),
    )
    op.create_index("outbox_due", "outbox", ["state", "next_try_at"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("outbox")
    op.drop_table("episodes")
    op.drop_table("alert_runs")

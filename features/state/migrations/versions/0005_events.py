"""Events that came over HTTP, and served scores that the parity check works out again."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the tables events and served."""
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("event_id", sa.String, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("account_id", sa.String, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("known_at", sa.BigInteger, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.UniqueConstraint("source", "event_id", "revision", name="events_revision"),
    )
    op.create_index("events_account", "events", ["account_id", "seq"])
    op.create_table(
        "served",
        sa.Column("served_id", sa.String, primary_key=True),
        sa.Column("served_at", sa.BigInteger, nullable=False),
        sa.Column("account_id", sa.String, nullable=False),
        sa.Column("as_of", sa.BigInteger, nullable=False),
        sa.Column("catalog", sa.String, nullable=False),
        sa.Column("history", sa.String),
        sa.Column("position", sa.BigInteger),
        sa.Column("posted", sa.Text),
        sa.Column("told", sa.Text, nullable=False),
        sa.Column("checked_at", sa.BigInteger),
        sa.Column("fate", sa.String),
    )
    op.create_index("served_unchecked", "served", ["checked_at", "served_at"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("served")
    op.drop_table("events")

"""What people decide about topics of tickets, and the rises of topics that teams were told."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "topic_decisions",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("topic_id", sa.String, nullable=False),
        sa.Column("decision", sa.String, nullable=False),
        sa.Column("value", sa.JSON, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "topic_warnings",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("topic_id", sa.String, nullable=False),
        sa.Column("partner_id", sa.String),
        sa.Column("began", sa.BigInteger, nullable=False),
        sa.Column("ended", sa.BigInteger),
        sa.Column("message_id", sa.String),
        sa.Column("figures", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("topic_warnings")
    op.drop_table("topic_decisions")

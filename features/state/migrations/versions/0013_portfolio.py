"""Owners that people assign to accounts, and the portfolio's views that they save."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "assignments",
        sa.Column("account_id", sa.String, primary_key=True),
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("owner", sa.String),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "console_views",
        sa.Column("address", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("query", sa.String, nullable=False),
        sa.Column("saved_at", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("console_views")
    op.drop_table("assignments")

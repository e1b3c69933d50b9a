"""Runs of the parity check, which works served scores out again."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table parity_runs."""
    op.create_table(
        "parity_runs",
        sa.Column("run_at", sa.BigInteger, primary_key=True),
        sa.Column("checked", sa.Integer, nullable=False),
        sa.Column("mismatches", sa.Integer, nullable=False),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("parity_runs")

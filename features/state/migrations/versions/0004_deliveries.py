"""What each destination last took of each account, jobs under way, rows that it would not take, and runs."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables deliveries, delivery_jobs, delivery_quarantine and delivery_runs."""
    for table in ("deliveries", "delivery_jobs"):
        job = [sa.Column("job", sa.String, nullable=False)] if table == "delivery_jobs" else []
        op.create_table(
            table,
            sa.Column("destination", sa.String, primary_key=True),
            sa.Column("account_id", sa.String, primary_key=True),
            sa.Column("hash", sa.String, nullable=False),
            sa.Column("sent", sa.JSON, nullable=False),
            sa.Column("at", sa.BigInteger, nullable=False),
            *job,
        )
    op.create_table(
        "delivery_quarantine",
        sa.Column("destination", sa.String, primary_key=True),
        sa.Column("account_id", sa.String, primary_key=True),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "delivery_runs",
        sa.Column("destination", sa.String, primary_key=True),
        sa.Column("began_at", sa.BigInteger, primary_key=True),
        sa.Column("ended_at", sa.BigInteger, nullable=False),
        sa.Column("sent", sa.Integer, nullable=False),
        sa.Column("unchanged", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("quarantined", sa.Integer, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("delivery_runs", "delivery_quarantine", "delivery_jobs", "deliveries"):
        op.drop_table(table)

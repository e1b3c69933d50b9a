"""The lots that decided who was alerted on: one row for each family of accounts and experiment, its first draw."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Make the table experiment_draws."""
    op.create_table(
        "experiment_draws",
        sa.Column("experiment", sa.String, primary_key=True),
        sa.Column("unit", sa.String, primary_key=True),
        sa.Column("account_id", sa.String, nullable=False),
        sa.Column("as_of", sa.BigInteger, nullable=False),
        sa.Column("treated", sa.Boolean, nullable=False),
        sa.Column("probability", sa.Double, nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("score", sa.Double),
        sa.Column("value", sa.Double),
        sa.Column("tier", sa.String),
        sa.Column("owner", sa.String),
        sa.Column("drawn_at", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("experiment_draws")

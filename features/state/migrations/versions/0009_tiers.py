"""Tiers: the cuts of each quarter and people's overrides; who is away; and what was told to whom beyond the owner."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the tables tier_cuts, tier_overrides and absences."""
    op.create_table(
        "tier_cuts",
        sa.Column("quarter", sa.String, primary_key=True),
        sa.Column("as_of", sa.BigInteger, nullable=False),
        sa.Column("cuts", sa.JSON, nullable=False),
        sa.Column("frozen_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "tier_overrides",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("account_id", sa.String, nullable=False),
        sa.Column("tier", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("until", sa.BigInteger),
        sa.Column("set_at", sa.BigInteger, nullable=False),
        sa.Column("withdrawn_at", sa.BigInteger),
    )
    op.create_table(
        "absences",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("address", sa.String, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger),
        sa.Column("deputy", sa.String),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("noted_at", sa.BigInteger, nullable=False),
        sa.Column("withdrawn_at", sa.BigInteger),
    )
    op.create_index("absences_address", "absences", ["address"])


def downgrade() -> None:
    """Drop them."""
    for table in ("absences", "tier_overrides", "tier_cuts"):
        op.drop_table(table)

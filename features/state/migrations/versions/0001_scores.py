"""Scores, and the keys of the HTTP service."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables scores and api_keys."""
    op.create_table(
        "scores",
        sa.Column("account_id", sa.String, primary_key=True),
        sa.Column("as_of", sa.BigInteger, primary_key=True),
        sa.Column("target", sa.String, primary_key=True),
        sa.Column("horizon", sa.Integer, primary_key=True),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("catalog", sa.String, nullable=False),
        sa.Column("sources", sa.String, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("in_cohort", sa.Boolean),
        sa.Column("drivers", sa.JSON, nullable=False),
        sa.Column("scored_at", sa.BigInteger, nullable=False),
    )
    op.create_index("scores_as_of", "scores", ["as_of"])
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("hash", sa.String, nullable=False),
        sa.Column("scope", sa.String, nullable=False, server_default="score"),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
    )


def downgrade() -> None:
    """Drop both."""
    op.drop_table("api_keys")
    op.drop_table("scores")

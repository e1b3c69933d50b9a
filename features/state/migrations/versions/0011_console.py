"""The console's sessions, one-time links, sign-ins under way, choices of people, and what they did."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "console_sessions",
        sa.Column("hash", sa.String, primary_key=True),
        sa.Column("address", sa.String, nullable=False),
        sa.Column("groups", sa.JSON, nullable=False),
        sa.Column("method", sa.String, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.Column("ends_at", sa.BigInteger, nullable=False),
    )
    op.create_index("console_sessions_address", "console_sessions", ["address"])
    op.create_table(
        "console_links",
        sa.Column("hash", sa.String, primary_key=True),
        sa.Column("address", sa.String, nullable=False),
        sa.Column("leads_to", sa.String, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("ends_at", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger),
    )
    op.create_index("console_links_address", "console_links", ["address", "created_at"])
    op.create_table(
        "console_sign_ins",
        sa.Column("hash", sa.String, primary_key=True),
        sa.Column("browser", sa.String, nullable=False),
        sa.Column("nonce", sa.String, nullable=False),
        sa.Column("verifier", sa.String, nullable=False),
        sa.Column("leads_to", sa.String, nullable=False),
        sa.Column("ends_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "console_choices",
        sa.Column("address", sa.String, primary_key=True),
        sa.Column("language", sa.String),
        sa.Column("theme", sa.String),
        sa.Column("timezone", sa.String),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "console_acts",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("roles", sa.String, nullable=False),
        sa.Column("act", sa.String, nullable=False),
        sa.Column("table_name", sa.String, nullable=False),
        sa.Column("row_id", sa.String, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
    )
    op.create_index("console_acts_at", "console_acts", ["at"])
    op.create_index("console_acts_row", "console_acts", ["table_name", "row_id"])


def downgrade() -> None:
    """Drop them."""
    for name in ("acts", "choices", "sign_ins", "links", "sessions"):
        op.drop_table(f"console_{name}")

"""Notes and promises that people write about accounts, and the forms that did their act."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "account_notes",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("account_id", sa.String, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_index("account_notes_account", "account_notes", ["account_id", "at"])
    op.create_table(
        "account_promises",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("account_id", sa.String, nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        sa.Column("due", sa.BigInteger, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("recorded_by", sa.String, nullable=False),
        sa.Column("kept_at", sa.BigInteger),
        sa.Column("kept_by", sa.String),
    )
    op.create_index("account_promises_account", "account_promises", ["account_id", "made_at"])
    op.create_table(
        "submitted_forms",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("act", sa.String, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for name in ("submitted_forms", "account_promises", "account_notes"):
        op.drop_table(name)

"""The library of problems: problems, fixes, their tickets, and how often words are in these."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

_TOKEN = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_TABLES = ("problem_events", "problem_tokens", "problem_tickets", "problem_fixes", "problems")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "problems",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("names", sa.JSON, nullable=False),
        sa.Column("cause", sa.Text),
        sa.Column("owner", sa.String),
        sa.Column("team", sa.String),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("topic_id", sa.String),
        sa.Column("merged_into", sa.String),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        sa.Column("made_by", sa.String, nullable=False),
        sa.Column("fixed_at", sa.BigInteger),
        sa.Column("reopened_at", sa.BigInteger),
        sa.Column("effect", sa.JSON(none_as_null=True)),
        sa.Column("first_seen", sa.BigInteger),
        sa.Column("last_seen", sa.BigInteger),
        sa.Column("tickets", sa.Integer, nullable=False, server_default="0"),
        sa.Column("accounts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("repeats", sa.Integer, nullable=False, server_default="0"),
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    )
    op.create_table(
        "problem_fixes",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("problem_id", sa.String, sa.ForeignKey("problems.id"), nullable=False),
        sa.Column("texts", sa.JSON, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("worked", sa.Integer, nullable=False, server_default="0"),
        sa.Column("failed", sa.Integer, nullable=False, server_default="0"),
    )
    op.create_index("problem_fixes_problem", "problem_fixes", ["problem_id", "since"])
    op.create_table(
        "problem_tickets",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("ticket_id", sa.String, nullable=False, unique=True),
        sa.Column("account_id", sa.String, nullable=False),
        sa.Column("opened_at", sa.BigInteger, nullable=False),
        sa.Column("resolved_at", sa.BigInteger),
        sa.Column("reopened", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("subject", sa.String, nullable=False, server_default=""),
        sa.Column("problem_id", sa.String),
        sa.Column("linked_by", sa.String),
        sa.Column("fix_id", sa.String),
        sa.Column("digest", sa.String, nullable=False),
    )
    op.create_index("problem_tickets_problem", "problem_tickets", ["problem_id", "opened_at"])
    op.create_index("problem_tickets_account", "problem_tickets", ["account_id", "opened_at"])
    op.create_index("problem_tickets_opened", "problem_tickets", ["opened_at"])
    op.create_table(
        "problem_tokens",
        sa.Column("token", _TOKEN, primary_key=True),
        sa.Column("problem_id", sa.String, primary_key=True),
        sa.Column("tickets", sa.Integer, nullable=False),
    )
    op.create_index("problem_tokens_problem", "problem_tokens", ["problem_id"])
    op.create_table(
        "problem_events",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("problem_id", sa.String, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("event", sa.String, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
    )
    op.create_index("problem_events_problem", "problem_events", ["problem_id", "at"])


def downgrade() -> None:
    """Drop them."""
    for name in _TABLES:
        op.drop_table(name)

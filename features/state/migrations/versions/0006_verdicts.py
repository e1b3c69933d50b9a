"""Verdicts on scored runs, people's decisions about them, messages about a run, and the steps of each night."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the tables run_verdicts, run_decisions and night_steps; let a message belong to a run."""
    op.create_table(
        "run_verdicts",
        sa.Column("run", sa.String, primary_key=True),
        sa.Column("as_of", sa.BigInteger, nullable=False),
        sa.Column("judged_at", sa.BigInteger, nullable=False),
        sa.Column("judged_until", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("reasons", sa.JSON, nullable=False),
        sa.Column("figures", sa.JSON, nullable=False),
        sa.Column("compared_with", sa.String),
        sa.Column("models", sa.JSON, nullable=False),
    )
    op.create_index("run_verdicts_as_of", "run_verdicts", ["as_of"])
    op.create_table(
        "run_decisions",
        sa.Column("run", sa.String, primary_key=True),
        sa.Column("decided_at", sa.BigInteger, primary_key=True),
        sa.Column("decision", sa.String, nullable=False),
        sa.Column("covers", sa.JSON, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("decided_by", sa.String, nullable=False),
    )
    op.create_table(
        "night_steps",
        sa.Column("night", sa.BigInteger, primary_key=True),
        sa.Column("step", sa.String, primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("summary", sa.String),
        sa.Column("figures", sa.JSON),
    )
    with op.batch_alter_table("outbox") as batch:
        batch.add_column(sa.Column("run", sa.String))
        batch.alter_column("episode_id", existing_type=sa.String, nullable=True)


def downgrade() -> None:
    """Drop them; messages about runs go with them."""
    op.execute("DELETE FROM outbox WHERE episode_id IS NULL")
    with op.batch_alter_table("outbox") as batch:
        batch.drop_column("run")
        batch.alter_column("episode_id", existing_type=sa.String, nullable=False)
    for table in ("night_steps", "run_decisions", "run_verdicts"):
        op.drop_table(table)

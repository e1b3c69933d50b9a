"""Experiments with the settings that they began with, and draws of more than the lottery: holdout, and plays."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_KEPT = "experiment, unit, account_id, as_of, treated, probability, rank, score, value, tier, owner, drawn_at"


def upgrade() -> None:
    """Make the table experiments, and give each draw its purpose; those so far were of the lottery."""
    op.create_table(
        "experiments",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("design", sa.JSON, nullable=False),
        sa.Column("started_as_of", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("stopped_at", sa.BigInteger),
        sa.Column("stopped_by", sa.String),
        sa.Column("stop_rule", sa.String),
        sa.Column("stop_reason", sa.String),
    )
    _make_draws(
        "experiment_draws_new",
        sa.Column("purpose", sa.String, primary_key=True),
        sa.Column("arm", sa.String),
        sa.Column("currency", sa.String),
    )
    op.execute(
        f"INSERT INTO experiment_draws_new ({_KEPT}, purpose) SELECT {_KEPT}, 'lottery' FROM experiment_draws"  # noqa: S608
    )
    _replace_draws()


def downgrade() -> None:
    """Drop the table experiments, and keep the draws of the lottery alone."""
    _make_draws("experiment_draws_new")
    op.execute(
        f"INSERT INTO experiment_draws_new ({_KEPT}) SELECT {_KEPT} FROM experiment_draws WHERE purpose = 'lottery'"  # noqa: S608
    )
    _replace_draws()
    op.drop_table("experiments")


def _make_draws(name: str, *more: sa.Column[object]) -> None:
    op.create_table(
        name,
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
        *more,
    )


def _replace_draws() -> None:
    op.drop_table("experiment_draws")
    op.rename_table("experiment_draws_new", "experiment_draws")

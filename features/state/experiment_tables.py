"""Define the table of experiments; what their lots drew is in `tables.EXPERIMENT_DRAWS`."""

from __future__ import annotations

import sqlalchemy as sa

from features.state.tables import METADATA

# Each experiment by its name: the settings that it began with, and how it ended.
EXPERIMENTS = sa.Table(
    "experiments",
    METADATA,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("design", sa.JSON, nullable=False),
    sa.Column("started_as_of", sa.BigInteger, nullable=False),
    sa.Column("started_at", sa.BigInteger, nullable=False),
    sa.Column("stopped_at", sa.BigInteger),
    sa.Column("stopped_by", sa.String),
    sa.Column("stop_rule", sa.String),
    sa.Column("stop_reason", sa.String),
)

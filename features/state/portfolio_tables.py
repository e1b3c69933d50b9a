"""Define the portfolio's tables of the state database: owners that people assign, and the views that they save.

Instants are whole microseconds since 1970, UTC.
"""

from __future__ import annotations

import sqlalchemy as sa

from features.state.tables import METADATA

# Owners that people assigned to accounts; rows are only added. The newest row of an account counts.
ASSIGNMENTS = sa.Table(
    "assignments",
    METADATA,
    sa.Column("account_id", sa.String, primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("owner", sa.String),  # null: the one that the accounts table names
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
)

# Views of the portfolio that people saved, by person.
CONSOLE_VIEWS = sa.Table(
    "console_views",
    METADATA,
    sa.Column("address", sa.String, primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("query", sa.String, nullable=False),  # of the page's address
    sa.Column("saved_at", sa.BigInteger, nullable=False),
)

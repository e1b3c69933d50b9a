"""Define the tables of what people write about accounts: notes, promises, and the forms that they sent.

Instants are whole microseconds since 1970, UTC.
"""

from __future__ import annotations

import sqlalchemy as sa

from features.state.tables import METADATA

# Notes; rows are only added.
ACCOUNT_NOTES = sa.Table(
    "account_notes",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("account_id", sa.String, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Index("account_notes_account", "account_id", "at"),
)

# Promises that people recorded, beside those of the company's own table; a row changes once, when it is kept.
ACCOUNT_PROMISES = sa.Table(
    "account_promises",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("account_id", sa.String, nullable=False),
    sa.Column("made_at", sa.BigInteger, nullable=False),
    sa.Column("due", sa.BigInteger, nullable=False),
    sa.Column("by", sa.String, nullable=False),  # who keeps it
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("recorded_by", sa.String, nullable=False),
    sa.Column("kept_at", sa.BigInteger),
    sa.Column("kept_by", sa.String),  # who recorded that
    sa.Index("account_promises_account", "account_id", "made_at"),
)

# Forms that did their act: one that comes twice, by a second click or a lost answer, does it once.
SUBMITTED_FORMS = sa.Table(
    "submitted_forms",
    METADATA,
    sa.Column("key", sa.String, primary_key=True),  # a random one of each form that is shown
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("act", sa.String, nullable=False),
)

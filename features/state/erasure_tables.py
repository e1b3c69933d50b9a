"""Define the table of erasures: who was erased, as a keyed hash alone, so that no import brings them back.

Instants are whole microseconds since 1970, UTC.
"""

from __future__ import annotations

import sqlalchemy as sa

from features.state.tables import METADATA

ERASURES = sa.Table(
    "erasures",
    METADATA,
    sa.Column("hash", sa.String, primary_key=True),  # of kind and id, by the company's own key
    sa.Column("kind", sa.String, nullable=False),  # account, person
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("done_at", sa.BigInteger),  # null while it was cut off
)

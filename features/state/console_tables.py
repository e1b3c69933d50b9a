"""Define the console's tables of the state database: sessions, one-time links, choices of people, and what they did.

Secrets are stored as hashes alone. Instants are whole microseconds since 1970, UTC.
"""

from __future__ import annotations

import sqlalchemy as sa

from features.state.tables import METADATA

CONSOLE_SESSIONS = sa.Table(
    "console_sessions",
    METADATA,
    sa.Column("hash", sa.String, primary_key=True),  # of the cookie's token
    sa.Column("address", sa.String, nullable=False),
    sa.Column("groups", sa.JSON, nullable=False),  # of the provider that the person signed in with
    sa.Column("method", sa.String, nullable=False),  # link, oidc
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("seen_at", sa.BigInteger, nullable=False),
    sa.Column("ends_at", sa.BigInteger, nullable=False),
    sa.Index("console_sessions_address", "address"),
)

# Links that sign in once.
CONSOLE_LINKS = sa.Table(
    "console_links",
    METADATA,
    sa.Column("hash", sa.String, primary_key=True),
    sa.Column("address", sa.String, nullable=False),
    sa.Column("leads_to", sa.String, nullable=False),  # a local path
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("ends_at", sa.BigInteger, nullable=False),
    sa.Column("used_at", sa.BigInteger),
    sa.Index("console_links_address", "address", "created_at"),
)

# Sign-ins that wait for the provider's answer, each bound to the browser that began it.
CONSOLE_SIGN_INS = sa.Table(
    "console_sign_ins",
    METADATA,
    sa.Column("hash", sa.String, primary_key=True),  # of the state parameter
    sa.Column("browser", sa.String, nullable=False),  # hash of a cookie
    sa.Column("nonce", sa.String, nullable=False),
    sa.Column("verifier", sa.String, nullable=False),  # of PKCE
    sa.Column("leads_to", sa.String, nullable=False),
    sa.Column("ends_at", sa.BigInteger, nullable=False),
)

# What people chose; a column without a value leaves it to the browser or the settings.
CONSOLE_CHOICES = sa.Table(
    "console_choices",
    METADATA,
    sa.Column("address", sa.String, primary_key=True),
    sa.Column("language", sa.String),
    sa.Column("theme", sa.String),  # light, dark
    sa.Column("timezone", sa.String),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
)

# Who did what to which row, when; rows are only added.
CONSOLE_ACTS = sa.Table(
    "console_acts",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("roles", sa.String, nullable=False),  # at that instant, joined by commas
    sa.Column("act", sa.String, nullable=False),
    sa.Column("table_name", sa.String, nullable=False),
    sa.Column("row_id", sa.String, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),
    sa.Index("console_acts_at", "at"),
    sa.Index("console_acts_row", "table_name", "row_id"),
)

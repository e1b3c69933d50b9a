"""Let each form act once: one that comes twice, by a second click or a lost answer, does nothing the second time."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from features.core.errors import GarrisonError
from features.core.timestamps import to_micros
from features.state.account_tables import SUBMITTED_FORMS

_LENGTH = 32


def make_key() -> str:
    """Make the key of a form that is shown."""
    return secrets.token_hex(_LENGTH // 2)


def claim_form(connection: sa.Connection, key: str, *, by: str, act: str) -> bool:
    """Claim a form for its act, in the transaction of the act; return False where it did the act before.

    Args:
        connection: A writing transaction.
        key: Of the form, as `make_key` made it.
        by: Who sent it.
        act: What it does.

    Raises:
        GarrisonError: The key is none of ours.
    """
    if len(key) != _LENGTH or not set(key) <= set("0123456789abcdef"):
        raise GarrisonError("this form can't be read", hint="Open its page again, and send it from there")
    insert = (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(SUBMITTED_FORMS)
    row = {"key": key, "at": to_micros(datetime.now(UTC)), "by": by, "act": act}
    # The number of rows that an INSERT writes is not told by every driver: what it returns is.
    return connection.execute(insert.on_conflict_do_nothing().returning(SUBMITTED_FORMS.c.key), row).first() is not None

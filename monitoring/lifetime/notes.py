"""Keep notes on accounts: what a person learned, for whoever answers for the account next. Rows are only added."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.safe_line import to_safe_line, to_safe_text
from features.core.timestamps import from_micros, to_micros
from features.state.account_tables import ACCOUNT_NOTES
from features.state.database import Store

_c = ACCOUNT_NOTES.c
# Built once: building a statement takes SQLAlchemy as long as asking it.
_NOTES = (
    sa.select(_c.id, _c.at, _c.by, _c.text)
    .where(_c.account_id == sa.bindparam("account"))
    .order_by(_c.at.desc(), _c.id)
    .limit(10_000)
)
# Characters of a note.
LONGEST = 10_000


@dataclass(frozen=True)
class Note:
    """A note.

    Args:
        id: Of the note.
        at: When it was written (µs).
        by: Address of its author.
        text: Of one or several lines.
    """

    id: str
    at: int
    by: str
    text: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self) | {"at": from_micros(self.at).isoformat()}


def write_note(  # noqa: PLR0913  # what a note is
    connection: sa.Connection, account_id: str, text: str, *, by: str, key: str, now: datetime | None = None
) -> Note:
    """Write a note, in the caller's transaction.

    Args:
        connection: A writing transaction.
        account_id: Of the account.
        text: At most 10,000 characters; control and direction marks are left out.
        by: Its author.
        key: Its id.
        now: The instant; by default the clock's.

    Raises:
        GarrisonError: There is no text, or too much.
    """
    note = Note(key, to_micros(now or datetime.now(UTC)), to_safe_line(by, 200), tidy_text(text, "a note"))
    connection.execute(sa.insert(ACCOUNT_NOTES), {"account_id": account_id, **asdict(note)})
    return note


def read_notes(store: Store, account_id: str) -> list[Note]:
    """Read the notes on an account, newest first."""
    with store.reading() as connection:
        return [Note(*row) for row in connection.execute(_NOTES, {"account": account_id})]


def tidy_text(text: str, name: str) -> str:
    """Return a text that a person wrote, without control and direction marks.

    Raises:
        GarrisonError: There is none, or too much.
    """
    clean = to_safe_text(text.replace("\r\n", "\n")).strip()
    if not clean:
        raise GarrisonError(f"{name} needs a text", hint="Write a few words")
    if len(clean) > LONGEST:
        raise GarrisonError(
            f"{name} is too long", found=f"{len(clean):,} characters", hint=f"Write at most {LONGEST:,}"
        )
    return clean

"""Define an entry of a timeline."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from features.core.language import ENGLISH, say
from features.core.timestamps import DAY, from_micros
from monitoring.letters.account_risk import Text

KINDS = ("ticket", "usage", "purchase", "touch", "score", "alert", "act", "note", "promise")
# Of the tables; the others are of the state database.
OF_TABLES = ("ticket", "usage", "purchase", "touch")


class Place(NamedTuple):
    """Where an entry stands: an order in which no two are equal, the newest first.

    Args:
        before: The instant, negative (µs).
        kind: Of `KINDS`.
        key: Unique within its kind and instant.
    """

    before: int
    kind: str
    key: str


@dataclass(frozen=True)
class Entry:
    """Something that happened.

    Args:
        at: When (µs).
        kind: Of `KINDS`.
        key: Unique within its kind and instant.
        title: What, in a few words.
        body: More about it; "" for nothing.
        known_at: When it was known (µs); None where that is not recorded, or the same.
        ends_at: When it had all happened, such as the end of a week (µs); None for `at`.
    """

    at: int
    kind: str
    key: str
    title: Text
    body: Text = ""
    known_at: int | None = None
    ends_at: int | None = None

    @property
    def place(self) -> Place:
        """Return where it stands in the timeline."""
        return Place(-self.at, self.kind, self.key)

    @property
    def known_later(self) -> datetime | None:
        """Return when it was known, where that is a day or more after it happened; else None."""
        happened = self.at if self.ends_at is None else self.ends_at
        if self.known_at is None or self.known_at - happened < DAY:
            return None
        return from_micros(self.known_at)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        later = self.known_later
        return {
            "at": from_micros(self.at).isoformat(),
            "kind": self.kind,
            "title": str(say(self.title, ENGLISH)),
            "text": str(say(self.body, ENGLISH)),
            "known_at": later and later.isoformat(),
        }

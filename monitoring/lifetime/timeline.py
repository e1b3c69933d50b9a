"""Build the timeline of an account: what happened, newest first, of any kind, a page at a time."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from features.core.errors import GarrisonError
from features.state.database import Store
from monitoring.lifetime import recorded_entries, table_entries
from monitoring.lifetime.account_tables import AccountTables
from monitoring.lifetime.entry import KINDS, Entry, Place
from monitoring.lifetime.notes import Note
from monitoring.lifetime.promises import Promise

__all__ = ["KINDS", "Entry", "TimelinePage", "read_timeline"]


@dataclass(frozen=True)
class TimelinePage:
    """Some entries, newest first.

    Args:
        entries: At most as many as asked for.
        after: What the next page begins after; None on the last one.
        counts: Of all entries on all pages, by kind.
    """

    entries: tuple[Entry, ...]
    after: str | None
    counts: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"after": self.after, "counts": self.counts, "entries": [e.as_dict() for e in self.entries]}


def read_timeline(  # noqa: PLR0913  # all but the first two named
    tables: AccountTables,
    store: Store,
    *,
    horizon: int,
    notes: Sequence[Note],
    promises: Sequence[Promise],
    kinds: Collection[str] = KINDS,
    after: str | None = None,
    limit: int = 30,
) -> TimelinePage:
    """Read a page of an account's timeline.

    Args:
        tables: The account's rows.
        store: The state database.
        horizon: Of the scores, in days.
        notes: On the account.
        promises: To it.
        kinds: Those wanted, of `KINDS`.
        after: `TimelinePage.after` of the page before; None for the first.
        limit: Entries of the page, at least 1.

    Raises:
        GarrisonError: There is no such kind or page.
    """
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise GarrisonError(f"a timeline has no entries of kind {unknown[0]}", hint=f"Name one of {', '.join(KINDS)}")
    place = _read_place(after)
    recorded = recorded_entries.read_entries(tables, store, horizon=horizon, notes=notes, promises=promises)
    counts = table_entries.count_entries(tables) | _count(recorded)
    found = [e for e in recorded if e.kind in kinds and (place is None or e.place > place)]
    for kind in kinds:
        found += table_entries.read_entries(tables, kind, place, limit + 1)
    found.sort(key=lambda entry: entry.place)
    page = tuple(found[:limit])
    following = _write_place(page[-1].place) if len(found) > limit else None
    return TimelinePage(page, following, {kind: counts.get(kind, 0) for kind in KINDS})


def _count(entries: Iterable[Entry]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in entries:
        counts[entry.kind] = counts.get(entry.kind, 0) + 1
    return counts


def _write_place(place: Place) -> str:
    return base64.urlsafe_b64encode(json.dumps(list(place)).encode()).decode().rstrip("=")


def _read_place(text: str | None) -> Place | None:
    if text is None:
        return None
    try:
        before, kind, key = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if abs(int(before)) < 2**63 and kind in KINDS:
            return Place(int(before), str(kind), str(key))
    except (ValueError, TypeError, binascii.Error):
        pass
    raise GarrisonError("the timeline has no such page", hint="Begin with its first page")

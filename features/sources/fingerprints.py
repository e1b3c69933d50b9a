"""From which day on each row could be seen: what tells whether an old snapshot would still come out the same."""

from __future__ import annotations

from collections.abc import Iterator

from features.core.contract import EVENTS, TABLES
from features.definitions.feature import DAY

# A number changes when an account of an earlier id comes; the others are of no snapshot.
_UNSEEN = {
    "accounts": "account_no, name, owner_email, owner_timezone, merged_into, merged_at",
    "usage": "account_no, event_id",
    "purchases": "account_no, event_id",
}
_COLUMNS = {
    "opened": ("ticket_id", "account_id", "opened_at", "known_at", "first_known_at", "priority", "topic", "channel"),
    "first_response_at": ("ticket_id", "account_id", "first_response_at"),
    "resolved_at": ("ticket_id", "account_id", "resolved_at", "csat", "reopened", "escalated"),
}


def days(table: str) -> Iterator[str]:
    """SQL queries of (source, day, hashes): of what could be seen from the midnight that ends a day on, a checksum.

    Days are counted from 1970, in UTC. What a row tells at several times is several facts, as in `definitions.streams`.
    """
    if table == "accounts":
        yield _query(table, "hash(r)", "created_at")
        yield _query(table, "hash(account_id, merged_at)", "merged_at - 1", source="merges")
    elif table == "tickets":
        yield _query(table, _hash("opened"), "greatest(opened_at, known_at - 1)")
        for later in ("first_response_at", "resolved_at"):
            own = later.replace("_at", "_known_at")
            told = f"greatest(known_at, coalesce({own}, {later} + coalesce(first_known_at, known_at) - opened_at))"
            when = f"{later} - {later} + greatest({later}, opened_at, {told} - 1)"  # null where it never came
            yield _query(table, _hash(later), when)
    elif table in EVENTS:
        yield _query(table, "hash(r)", f"greatest({TABLES[table].time}, known_at - 1)")


def _hash(which: str) -> str:
    return f"hash({', '.join(_COLUMNS[which])})"


def _query(table: str, hashes: str, when: str, *, source: str | None = None) -> str:
    # What never happened has no day, and is left out.
    day = f"({when}) // {DAY}"
    columns = "*" if source else f"* EXCLUDE ({_UNSEEN.get(table, 'account_no')})"
    rows = f"(SELECT {columns} FROM main.{table}) r"
    return f"SELECT '{source or table}', {day}, sum({hashes}) FROM {rows} WHERE {day} IS NOT NULL GROUP BY ALL"

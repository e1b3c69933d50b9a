"""From which day on each row could be seen: what tells whether an old snapshot would still come out the same."""

from __future__ import annotations

from collections.abc import Iterator

from features.contract import EVENTS, TABLES
from features.definition import DAY

_COLUMNS = {
    "opened": ("ticket_id", "account_id", "opened_at", "known_at", "priority", "topic", "channel"),
    "first_response_at": ("ticket_id", "account_id", "first_response_at"),
    "resolved_at": ("ticket_id", "account_id", "resolved_at", "csat", "reopened", "escalated"),
}


def days(table: str) -> Iterator[str]:
    """SQL queries of (source, day, hashes): of what could be seen from the midnight that ends a day on, a checksum.

    Days are counted from 1970, in UTC. What a row tells at several times is several facts, as in `features.streams`.
    """
    if table == "accounts":
        yield _query(table, "hash(r)", "created_at")
    elif table == "tickets":
        yield _query(table, _hash("opened"), "greatest(opened_at, known_at - 1)")
        for later in ("first_response_at", "resolved_at"):
            told = f"greatest(known_at, {later} + known_at - opened_at)"
            when = f"{later} - {later} + greatest({later}, opened_at, {told} - 1)"  # null where it never came
            yield _query(table, _hash(later), when)
    elif table in EVENTS:
        yield _query(table, "hash(r)", f"greatest({TABLES[table].time}, known_at - 1)")


def _hash(which: str) -> str:
    return f"hash({', '.join(_COLUMNS[which])})"


def _query(table: str, hashes: str, when: str) -> str:
    # What never happened has no day, and is left out.
    day = f"({when}) // {DAY}"
    return f"SELECT '{table}', {day}, sum({hashes}) FROM main.{table} r WHERE {day} IS NOT NULL GROUP BY ALL"

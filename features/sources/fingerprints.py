"""Checksums of the rows by the day they became visible: an old snapshot is valid while those before it agree."""

from __future__ import annotations

from collections.abc import Iterator

from features.core.contract import EVENTS, RECORDS, TABLES, VERSIONS
from features.core.sql_text import SqlText
from features.definitions.feature import DAY
from features.definitions.visibility_rule import (
    SQL,
    Opening,
    end_known_at,
    outcome_event_time,
    outcome_known_at,
    visible_from,
)

# account_no changes when an account with a smaller id arrives; no snapshot contains the other columns.
_UNSEEN = {
    # An older version ends when a newer one comes: only then is that to be seen.
    VERSIONS: "account_no, until, created_at, name, owner_email, owner_timezone, partner_id, merged_into, merged_at",
    "accounts": "account_no, name, owner_email, owner_timezone, partner_id, merged_into, merged_at",
    "usage": "account_no, event_id",
    "purchases": "account_no, event_id",
}
# Of records: what is seen of them as they begin, and the column that ends them.
_RECORDS = {
    "people": ("person_id, account_id, role, since", '"until"'),
    "contracts": ("contract_id, account_id, starts, known_at, notice_until", ""),
    "surveys": ('account_id, "at", kind, score', ""),
    "promises": ("account_id, made_at, due", "kept_at"),
}
_COLUMNS = {
    "opened": ("ticket_id", "account_id", "opened_at", "known_at", "first_known_at", "priority", "topic", "channel"),
    "first_response_at": ("ticket_id", "account_id", "first_response_at"),
    "resolved_at": ("ticket_id", "account_id", "resolved_at", "csat", "reopened", "escalated"),
}


def build_day_queries(table: str) -> Iterator[str]:
    """Yield SQL queries of (source, day, hashes): a checksum of the facts first visible at the midnight after each day.

    Days are counted from 1970, in UTC. A row with several dated facts counts once for each, as in
    `definitions.streams`.
    """
    if table == "accounts":
        # A dated account is described by its versions, each a fact of its own.
        yield _query(
            table, "CASE WHEN valid_from IS NULL THEN hash(r) ELSE hash(account_id, created_at) END", "created_at"
        )
        yield _query(VERSIONS, "hash(r)", "since - 1")
        yield _query(table, "hash(account_id, merged_at)", "merged_at - 1", source="merges")
    elif table == "tickets":
        yield _query(table, _hash("opened"), _last_hidden("opened_at", "known_at"))
        opening = Opening(*map(SqlText, ("opened_at", "known_at", "first_known_at")))
        for column in ("first_response_at", "resolved_at"):
            at, own_known_at = SqlText(column), SqlText(column.replace("_at", "_known_at"))
            known_at = outcome_known_at(opening, at, own_known_at, SQL)
            last_hidden = _last_hidden(outcome_event_time(opening, at, SQL), known_at)
            yield _query(table, _hash(column), f"{at} - {at} + {last_hidden}")  # null where it never came
    elif table in RECORDS:
        yield from _query_records(table)
    elif table in EVENTS:
        yield _query(table, "hash(r)", _last_hidden(TABLES[table].time, "known_at"))


def _query_records(table: str) -> Iterator[str]:
    """Yield the queries of records, which are seen to begin and, some of them, to end."""
    begun, ended = _RECORDS[table]
    began_at, known_at = SqlText(f'"{TABLES[table].time}"'), SqlText("known_at")
    yield _query(table, f"hash({begun})", _last_hidden(began_at, known_at))
    if ended:
        at = SqlText(f"greatest({ended}, {began_at})")
        last_hidden = _last_hidden(at, end_known_at(began_at, known_at, at, SQL))
        yield _query(table, f"hash({begun}, {ended})", f"{ended} - {ended} + {last_hidden}")


def _last_hidden(event_time: object, known_at: object) -> str:
    """Return SQL of the last instant at which an event is not visible yet."""
    return str(visible_from(SqlText(event_time), SqlText(known_at), SQL) - 1)


def _hash(which: str) -> str:
    return f"hash({', '.join(_COLUMNS[which])})"


def _query(table: str, hashes: str, when: str, *, source: str | None = None) -> str:
    # A fact that never happened has no day, and is left out.
    day = f"({when}) // {DAY}"
    columns = "*" if source else f"* EXCLUDE ({_UNSEEN.get(table, 'account_no')})"
    rows = f"(SELECT {columns} FROM main.{table}) r"
    return f"SELECT '{source or table}', {day}, sum({hashes}) FROM {rows} WHERE {day} IS NOT NULL GROUP BY ALL"

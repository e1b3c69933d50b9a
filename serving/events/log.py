"""Stores posted events in the event log: each once, and on disk before the answer.

Rows are only ever added. One writer at a time holds the log, so its places and its instants of receipt ascend in the
order in which writes become visible: a reader that has read up to a place misses nothing before it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, get_args

import sqlalchemy as sa

from features.core.contract import TABLES
from features.core.timestamps import from_micros, to_micros
from features.definitions.feature import DAY
from features.settings import Settings
from features.sources.posted_events import LATER, LOGGED, OUTCOME
from features.state.database import CHUNK, Store
from features.state.locks import Lock, lock_transaction
from features.state.tables import EVENT_LOG
from features.state.tombstones import Kind, Tombstones, make_pseudonyms, query_tombstones
from serving.events import rescoring
from serving.schemas.errors import ErrorBody, ErrorDetail
from serving.schemas.event_requests import Content, ParsedEvents, PostedEvent, RejectedEvent, reject_event
from serving.schemas.score_requests import MAX_DETAILS, summarize_details

# By table, the columns that name an account or a person.
_PERSONS: dict[str, dict[str, Kind]] = {
    table: {c: column.personal for c, column in TABLES[table].columns.items() if column.personal in get_args(Kind)}  # type: ignore[misc]
    for table in LOGGED
}
# An event that is posted so long after it happened is answered with what that means for scores.
_LATE = DAY
_LATE_NOTE = (
    "it happened more than a day before it was received, and counts from then on: no score of an earlier as_of "
    "changes; the account's next score looks from received_at, and moves as far as a window still reaches the event"
)


def store_events(
    settings: Settings, store: Store, events: ParsedEvents, *, now: datetime | None = None
) -> dict[str, Any]:
    """Add events to the log, all or none, and return the status of each.

    Args:
        settings: The company's settings.
        store: The state database.
        events: By table.
        now: The instant of receipt, by default that of the write; in any case it is later than any before.

    Returns:
        received_at (ISO), and by table, in the order of `events`, each event's status; the shape is `EventsResponse`.

    Raises:
        GarrisonError: The database is locked or can't be reached; nothing was written.
    """
    with store.writing() as connection:
        lock_transaction(connection, Lock.EVENT_LOG)
        last = connection.execute(
            sa.select(EVENT_LOG.c.seq, EVENT_LOG.c.received_at).order_by(EVENT_LOG.c.seq.desc()).limit(1)
        )
        seq, before = last.one_or_none() or (0, 0)
        received = max(to_micros(now or datetime.now(UTC)), before + 1)
        people = _People(query_tombstones(connection, settings), make_pseudonyms(settings))
        log = _EventLog(received, seq, _read_logged(connection, events), people)
        statuses = {table: [log.record(event) for event in rows] for table, rows in events.items()}
        if log.added:
            connection.execute(sa.insert(EVENT_LOG), log.added)
    # Even if nothing was new: the process that stored it first may have died before this.
    rescoring.notify_workers(settings)
    return {"received_at": from_micros(received).isoformat().replace("+00:00", "Z"), **statuses}


@dataclass(frozen=True)
class _People:
    """Who was erased, whose events are not stored, and the pseudonyms of users; None where ids stay."""

    gone: Tombstones
    pseudonyms: Callable[[str], str] | None

    def reject_erased(self, event: PostedEvent) -> RejectedEvent | None:
        """Reject an event of an account, or by a person, who was erased."""
        named = {c: str(event.content[c]) for c in _PERSONS[event.table] if event.content.get(c) is not None}
        gone = [c for c, kind in _PERSONS[event.table].items() if c in named and self.gone.find(kind, [named[c]])]
        details = [ErrorDetail(at=c, message="was erased here: nothing of it is stored") for c in gone]
        return reject_event(event.event_id, details) if details else None

    def rename(self, event: PostedEvent) -> PostedEvent:
        """Return the event with its user's pseudonym."""
        user = event.content.get("user_id")
        if self.pseudonyms is None or user is None:
            return event
        return replace(event, content=event.content | {"user_id": self.pseudonyms(str(user))})


class _EventLog:
    """The event log while rows are added to it.

    Args:
        received: The instant of receipt, in µs.
        seq: The last place.
        logged: By table and event id, the newest revision of each event that is in the log already.
        people: Who was erased, and what users are called.
    """

    def __init__(
        self, received: int, seq: int, logged: dict[tuple[str, str], tuple[int, Content]], people: _People
    ) -> None:
        self._received, self._seq, self._logged, self._people = received, seq, logged, people
        self.added: list[dict[str, Any]] = []

    def record(self, event: PostedEvent | RejectedEvent) -> dict[str, Any]:
        """Add what is new of an event, and return its status."""
        if isinstance(event, PostedEvent):
            event = self._reject_future(event) or self._people.reject_erased(event) or self._people.rename(event)
        if isinstance(event, RejectedEvent):
            why = event.error.model_dump(mode="json")
            return {"event_id": event.event_id, "fate": "rejected", "error": why, "note": None}
        logged = self._logged.get(event.key)
        if logged is None:
            return self._add(event, 0, event.content, "accepted")
        revision, content = logged
        merged, details = _merge(event, content)
        if details:
            message, first = summarize_details(details), tuple(details[:MAX_DETAILS])
            error = ErrorBody(code="conflict", message=message, details=first)
            return {
                "event_id": event.event_id,
                "fate": "conflict",
                "error": error.model_dump(mode="json"),
                "note": None,
            }
        if merged == content:
            return self._succeed(event, "duplicate")
        return self._add(event, revision + 1, merged, "updated")

    def _reject_future(self, event: PostedEvent) -> RejectedEvent | None:
        """Reject an event that has not happened yet; clocks may be a day off, as for tables."""
        times = event.happened | ({} if event.known_at is None else {"known_at": event.known_at})
        late = [ErrorDetail(at=c, message="is in the future") for c, t in times.items() if t > self._received + DAY]
        return reject_event(event.event_id, late) if late else None

    def _add(self, event: PostedEvent, revision: int, content: Content, status: str) -> dict[str, Any]:
        self._seq += 1
        self._logged[event.key] = (revision, content)
        self.added.append(
            {
                "seq": self._seq,
                "source": event.table,
                "event_id": event.event_id,
                "revision": revision,
                "account_id": content["account_id"],
                "at": content[str(TABLES[event.table].time)],
                "known_at": max(self._received, event.known_at or self._received),
                "received_at": self._received,
                "content": json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")),
            }
        )
        return self._succeed(event, status)

    def _succeed(self, event: PostedEvent, status: str) -> dict[str, Any]:
        is_late = status != "duplicate" and self._received - max(event.happened.values()) > _LATE
        return {"event_id": event.event_id, "fate": status, "error": None, "note": _LATE_NOTE if is_late else None}


def _merge(event: PostedEvent, known: Content) -> tuple[Content, list[ErrorDetail]]:
    """Return the content of an event that was posted again, and its contradictions to what was posted before.

    A ticket may add its later course. Once it is resolved its outcome stands: a part that came later would change
    what was known of the resolution before.
    """
    changeable = {*LATER, *OUTCOME} if event.table == "tickets" else set()
    if "first_response_at" in known:
        changeable.discard("first_response_at")
    if "resolved_at" in known:
        changeable -= {"resolved_at", *OUTCOME}
    # What a later posting of a ticket leaves out stays as it was.
    posted = event.content if event.table == "tickets" else dict.fromkeys(known) | event.content
    changed = sorted(c for c, value in posted.items() if known.get(c) != value and c not in changeable)
    return {**known, **event.content}, [ErrorDetail(at=c, message="is not what was posted before") for c in changed]


def _read_logged(connection: sa.Connection, events: ParsedEvents) -> dict[tuple[str, str], tuple[int, Content]]:
    """Read, by table and event id, the newest revision and content of the events that are in the log already."""
    logged = {}
    for table, rows in events.items():
        ids = sorted({row.event_id for row in rows if isinstance(row, PostedEvent)})
        for start in range(0, len(ids), CHUNK):
            some = EVENT_LOG.c.event_id.in_(ids[start : start + CHUNK])
            query = sa.select(EVENT_LOG).where(EVENT_LOG.c.source == table, some).order_by(EVENT_LOG.c.revision)
            for row in connection.execute(query):
                logged[table, row.event_id] = (row.revision, json.loads(row.content))
    return logged

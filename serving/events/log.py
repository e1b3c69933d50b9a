"""The log of posted events: each is taken once, and is on disk before the answer.

It is only added to. Whoever writes holds it alone, so its places and its instants of receipt ascend in the order in
which writes become visible: who has read up to a place misses nothing before it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from features.core.contract import TABLES
from features.core.timestamps import from_micros, to_micros
from features.definitions.feature import DAY
from features.settings import Settings
from features.sources.posted_events import LATER, OUTCOME
from features.state.database import CHUNK, Store
from features.state.locks import Lock, lock_transaction
from features.state.tables import EVENT_LOG
from serving.events import rescoring
from serving.schemas.errors import ErrorBody, ErrorDetail
from serving.schemas.event_requests import Content, ParsedEvents, PostedEvent, RejectedEvent, reject_event
from serving.schemas.score_requests import MAX_DETAILS, summarize_details


def store_events(
    settings: Settings, opened: Store, events: ParsedEvents, *, now: datetime | None = None
) -> dict[str, Any]:
    """Write events to the log, all or none, and tell each one's fate.

    Args:
        settings: The company's.
        opened: Its state database.
        events: As read.
        now: The instant of receipt; by default that at which it is this request's turn to write. It is later than
            any before in any case.

    Returns:
        received_at (ISO), and by table, in the order sent, event_id, fate (accepted, duplicate, updated, conflict or
        rejected) and error (code, message and details; None for the first three).

    Raises:
        GarrisonError: The database is locked or can't be reached; nothing was written.
    """
    with opened.writing() as connection:
        lock_transaction(connection, Lock.EVENT_LOG)
        last = connection.execute(
            sa.select(EVENT_LOG.c.seq, EVENT_LOG.c.received_at).order_by(EVENT_LOG.c.seq.desc()).limit(1)
        )
        seq, before = last.one_or_none() or (0, 0)
        received = max(to_micros(now or datetime.now(UTC)), before + 1)
        log = _Log(received, seq, _known(connection, events))
        fates = {table: [log.record(event) for event in rows] for table, rows in events.items()}
        if log.added:
            connection.execute(sa.insert(EVENT_LOG), log.added)
    # Even where nothing was new: whoever wrote it first may have died before this.
    rescoring.notify_workers(settings)
    return {"received_at": from_micros(received).isoformat().replace("+00:00", "Z"), **fates}


class _Log:
    """The log while it is being added to."""

    def __init__(self, received: int, seq: int, known: dict[tuple[str, str], tuple[int, Content]]) -> None:
        self._received, self._seq, self._known = received, seq, known
        self.added: list[dict[str, Any]] = []

    def record(self, event: PostedEvent | RejectedEvent) -> dict[str, Any]:
        """What becomes of an event; what is new is added."""
        if isinstance(event, PostedEvent):
            event = self._ahead(event) or event
        if isinstance(event, RejectedEvent):
            return {"event_id": event.event_id, "fate": "rejected", "error": event.error.model_dump(mode="json")}
        known = self._known.get(event.key)
        if known is None:
            return self._add(event, 0, event.content, "accepted")
        revision, content = known
        more, faults = _more(event, content)
        if faults:
            error = ErrorBody(code="conflict", message=summarize_details(faults), details=tuple(faults[:MAX_DETAILS]))
            return {"event_id": event.event_id, "fate": "conflict", "error": error.model_dump(mode="json")}
        if more == content:
            return _told(event, "duplicate")
        return self._add(event, revision + 1, more, "updated")

    def _ahead(self, event: PostedEvent) -> RejectedEvent | None:
        """The event refused, where it says that it has not happened yet; a day's grace for clocks, as for tables."""
        told = event.happened | ({} if event.known_at is None else {"known_at": event.known_at})
        late = [ErrorDetail(at=c, message="is in the future") for c, t in told.items() if t > self._received + DAY]
        return reject_event(event.event_id, late) if late else None

    def _add(self, event: PostedEvent, revision: int, content: Content, fate: str) -> dict[str, Any]:
        self._seq += 1
        self._known[event.key] = (revision, content)
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
        return _told(event, fate)


def _told(event: PostedEvent, fate: str) -> dict[str, Any]:
    return {"event_id": event.event_id, "fate": fate, "error": None}


def _more(event: PostedEvent, known: Content) -> tuple[Content, list[ErrorDetail]]:
    """What is known of an event once it was posted again, and what contradicts what was known.

    A ticket may tell more of its later course. Once it is resolved its outcome stands: a part that came later would
    change what was known of the resolution before.
    """
    open_yet = {*LATER, *OUTCOME} if event.table == "tickets" else set()
    if "first_response_at" in known:
        open_yet.discard("first_response_at")
    if "resolved_at" in known:
        open_yet -= {"resolved_at", *OUTCOME}
    # Of a ticket, what a later posting leaves out stays known.
    given = event.content if event.table == "tickets" else dict.fromkeys(known) | event.content
    other = [c for c, value in given.items() if known.get(c) != value and c not in open_yet]
    return {**known, **event.content}, [
        ErrorDetail(at=c, message="is not what was posted before") for c in sorted(other)
    ]


def _known(connection: sa.Connection, events: ParsedEvents) -> dict[tuple[str, str], tuple[int, Content]]:
    """The newest revision and content of those events that are in the log."""
    found = {}
    for table, rows in events.items():
        ids = sorted({row.event_id for row in rows if isinstance(row, PostedEvent)})
        for start in range(0, len(ids), CHUNK):
            some = EVENT_LOG.c.event_id.in_(ids[start : start + CHUNK])
            query = sa.select(EVENT_LOG).where(EVENT_LOG.c.source == table, some).order_by(EVENT_LOG.c.revision)
            for row in connection.execute(query):
                found[table, row.event_id] = (row.revision, json.loads(row.content))
    return found

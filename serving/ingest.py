"""`POST /v1/events`: tickets, usage and purchases as they happen, each taken once, and on disk before the answer.

The log of events is only added to. Whoever writes holds it alone, so its places and its instants of receipt ascend
in the order in which writes become visible: who has read up to a place misses nothing before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated, Any, NotRequired

import sqlalchemy as sa
from pydantic import Field, TypeAdapter, ValidationError

from features.contract import TABLES
from features.definition import DAY
from features.ingested import LATER, OUTCOME, SOURCES
from features.instants import instant, micros
from features.quality import ORDERED
from features.settings import Settings
from serving import fresh
from serving.refusal import Error, Fault, Refusal
from serving.schema import FAULTS, fault, row_type, sentence, typed_dict
from serving.store import CHUNK, METADATA, Store

ROWS = 1_000  # in one request, all tables together
# Any number, the same in all processes: names the lock under which PostgreSQL's log is written.
_LOCK = 5_401_978

EVENTS = sa.Table(
    "events",
    METADATA,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("event_id", sa.String, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("account_id", sa.String, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("known_at", sa.BigInteger, nullable=False),
    sa.Column("received_at", sa.BigInteger, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.UniqueConstraint("source", "event_id", "revision", name="events_revision"),
    sa.Index("events_account", "account_id", "seq"),
)

Content = dict[str, Any]
_Id = Annotated[str, Field(min_length=1, max_length=200)]


@dataclass(frozen=True)
class Event:
    """A row that was posted.

    Args:
        table: Its table.
        event_id: Its own, or its ticket's.
        known_at: What the sender says, in µs; None where nothing.
        content: The rest by column: instants in µs, decimals as text of four places, nothing that is null.
    """

    table: str
    event_id: str
    known_at: int | None
    content: Content

    @property
    def key(self) -> tuple[str, str]:
        """What the log knows it by."""
        return self.table, self.event_id

    @property
    def happened(self) -> dict[str, int]:
        """When it did, in µs, by column: its later course as well."""
        return {c: self.content[c] for c in (str(TABLES[self.table].time), *LATER) if c in self.content}


@dataclass(frozen=True)
class Refused:
    """A row that can't be taken as it was sent."""

    event_id: str | None
    error: Error


# By table, in the order sent.
Events = Mapping[str, Sequence[Event | Refused]]


class Reader:
    """Reads the postings of one company."""

    def __init__(self, settings: Settings) -> None:
        self._mapped = frozenset(settings.tables)
        parts: dict[str, Any] = {}
        for table in SOURCES:
            columns = TABLES[table].columns
            row: Any = row_type(f"Posted{table.title()}", columns)
            ids = {"account_id": _Id} | ({"ticket_id": _Id} if table == "tickets" else {"event_id": _Id})
            # A class of the contract's cells, with ids that are short enough for any database's index.
            row = typed_dict(row.__name__, {**row.__annotations__, **ids})
            parts[table] = NotRequired[list[row]]
        self._whole: TypeAdapter[dict[str, Any]] = TypeAdapter(typed_dict("EventsRequest", parts))

    @property
    def request(self) -> TypeAdapter[dict[str, Any]]:
        """The type of a request, for those who describe it."""
        return self._whole

    def read(self, body: bytes) -> Events:
        """Read a request; what is wrong with one row stays with that row.

        Raises:
            Refusal: It is no JSON (400), or wrong as a whole (422).
        """
        faults: dict[tuple[str, int], list[Fault]] = {}
        try:
            good = self._whole.validate_json(body)
        except ValidationError as error:
            faults = _by_row(error)
            # Numbers as text, which decimals are read from to the last place; other columns' rows are out already.
            raw = json.loads(body, parse_float=str)
            left = {t: [row for i, row in enumerate(rows) if (t, i) not in faults] for t, rows in raw.items()}
            good = self._whole.validate_json(json.dumps(left))
        else:
            raw = good
        if sum(map(len, raw.values())) > ROWS:
            why = f"a request may have {ROWS:,} rows: send fewer at a time"
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "too_many_rows", why)
        return {table: list(self._rows(table, raw[table], good[table], faults)) for table in SOURCES if table in raw}

    def _rows(
        self, table: str, raw: Sequence[Any], good: Sequence[Content], faults: Mapping[tuple[str, int], list[Fault]]
    ) -> Iterator[Event | Refused]:
        rest = iter(good)
        for i, sent in enumerate(raw):
            if (table, i) in faults:
                yield refused(_named(table, sent), faults[table, i])
                continue
            row = next(rest)
            event = _event(table, row)
            found = list(_contradictions(event))
            if table not in self._mapped:
                found = [Fault(at="", message=f"the settings map no table of {table}: there is nothing to add it to")]
            yield refused(event.event_id, found) if found else event


def refused(event_id: str | None, faults: Sequence[Fault]) -> Refused:
    """A row and what is wrong with it."""
    return Refused(event_id, Error(code="invalid", message=sentence(list(faults)), details=tuple(faults[:FAULTS])))


def _by_row(error: ValidationError) -> dict[tuple[str, int], list[Fault]]:
    """The rows that are wrong.

    Raises:
        Refusal: Something else is wrong as well.
    """
    rows: dict[tuple[str, int], list[Fault]] = {}
    whole = []
    for found in error.errors(include_url=False, include_input=False, include_context=False):
        if found["type"] == "json_invalid":
            raise Refusal(HTTPStatus.BAD_REQUEST, "no_json", found["msg"])
        table, *where = found["loc"] or ("",)
        if where:
            rows.setdefault((str(table), int(where[0])), []).append(fault(tuple(where[1:]), found))
        else:
            whole.append(fault(found["loc"], found))
    if whole:
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", sentence(whole), details=whole[:FAULTS])
    return rows


def _named(table: str, row: Any) -> str | None:
    """The id that a wrong row gives, if it gives one."""
    name = row.get(_id(table)) if isinstance(row, dict) else None
    return name if isinstance(name, str) and 1 <= len(name) <= 200 else None


def _id(table: str) -> str:
    return "ticket_id" if table == "tickets" else "event_id"


def _event(table: str, row: Content) -> Event:
    content = {
        column: f"{value:.4f}" if isinstance(value, Decimal) else value
        for column, value in row.items()
        if value is not None and column not in {"event_id", "known_at"}
    }
    return Event(table, row[_id(table)], row.get("known_at"), content)


def _contradictions(event: Event) -> Iterator[Fault]:
    """What the contract's checks of whole tables say of a row."""
    for column, value in ({_id(event.table): event.event_id} | event.content).items():
        if isinstance(value, str) and "\0" in value:
            yield Fault(at=column, message="has the character NUL, which databases don't take")
    for later, earlier in ORDERED:
        if later in event.content and event.content[later] < event.content.get(earlier, event.content[later]):
            yield Fault(at=later, message=f"is before {earlier}")


def store_events(settings: Settings, opened: Store, events: Events, *, now: datetime | None = None) -> dict[str, Any]:
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
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        last = connection.execute(sa.select(EVENTS.c.seq, EVENTS.c.received_at).order_by(EVENTS.c.seq.desc()).limit(1))
        seq, before = last.one_or_none() or (0, 0)
        received = max(micros(now or datetime.now(UTC)), before + 1)
        log = _Log(received, seq, _known(connection, events))
        fates = {table: [log.fate(event) for event in rows] for table, rows in events.items()}
        if log.added:
            connection.execute(sa.insert(EVENTS), log.added)
    # Even where nothing was new: whoever wrote it first may have died before this.
    fresh.tell(settings)
    return {"received_at": instant(received).isoformat().replace("+00:00", "Z"), **fates}


class _Log:
    """The log while it is being added to."""

    def __init__(self, received: int, seq: int, known: dict[tuple[str, str], tuple[int, Content]]) -> None:
        self._received, self._seq, self._known = received, seq, known
        self.added: list[dict[str, Any]] = []

    def fate(self, event: Event | Refused) -> dict[str, Any]:
        """What becomes of an event; what is new is added."""
        if isinstance(event, Event):
            event = self._ahead(event) or event
        if isinstance(event, Refused):
            return {"event_id": event.event_id, "fate": "rejected", "error": event.error.model_dump(mode="json")}
        known = self._known.get(event.key)
        if known is None:
            return self._add(event, 0, event.content, "accepted")
        revision, content = known
        more, faults = _more(event, content)
        if faults:
            error = Error(code="conflict", message=sentence(faults), details=tuple(faults[:FAULTS]))
            return {"event_id": event.event_id, "fate": "conflict", "error": error.model_dump(mode="json")}
        if more == content:
            return _told(event, "duplicate")
        return self._add(event, revision + 1, more, "updated")

    def _ahead(self, event: Event) -> Refused | None:
        """The event refused, where it says that it has not happened yet; a day's grace for clocks, as for tables."""
        told = event.happened | ({} if event.known_at is None else {"known_at": event.known_at})
        late = [Fault(at=c, message="is in the future") for c, t in told.items() if t > self._received + DAY]
        return refused(event.event_id, late) if late else None

    def _add(self, event: Event, revision: int, content: Content, fate: str) -> dict[str, Any]:
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


def _told(event: Event, fate: str) -> dict[str, Any]:
    return {"event_id": event.event_id, "fate": fate, "error": None}


def _more(event: Event, known: Content) -> tuple[Content, list[Fault]]:
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
    return {**known, **event.content}, [Fault(at=c, message="is not what was posted before") for c in sorted(other)]


def _known(connection: sa.Connection, events: Events) -> dict[tuple[str, str], tuple[int, Content]]:
    """The newest revision and content of those events that are in the log."""
    found = {}
    for table, rows in events.items():
        ids = sorted({row.event_id for row in rows if isinstance(row, Event)})
        for start in range(0, len(ids), CHUNK):
            some = EVENTS.c.event_id.in_(ids[start : start + CHUNK])
            query = sa.select(EVENTS).where(EVENTS.c.source == table, some).order_by(EVENTS.c.revision)
            for row in connection.execute(query):
                found[table, row.event_id] = (row.revision, json.loads(row.content))
    return found

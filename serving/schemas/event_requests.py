"""What `POST /v1/events` takes: tickets, usage and purchases as they happen, read strictly."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated, Any, NotRequired

from pydantic import Field, TypeAdapter, ValidationError

from features.core.contract import TABLES
from features.settings import Settings
from features.sources.posted_events import LATER, SOURCES
from features.sources.validation import ORDERED
from serving.schemas.errors import ApiError, ErrorBody, ErrorDetail
from serving.schemas.score_requests import (
    MAX_DETAILS,
    make_row_type,
    make_strict_dict,
    summarize_details,
    to_error_detail,
)

MAX_EVENTS = 1_000  # in one request, all tables together
Content = dict[str, Any]
_Id = Annotated[str, Field(min_length=1, max_length=200)]


@dataclass(frozen=True)
class PostedEvent:
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
class RejectedEvent:
    """A row that can't be taken as it was sent."""

    event_id: str | None
    error: ErrorBody


# By table, in the order sent.
ParsedEvents = Mapping[str, Sequence[PostedEvent | RejectedEvent]]


class EventRequestReader:
    """Reads the postings of one company."""

    def __init__(self, settings: Settings) -> None:
        self._mapped = frozenset(settings.tables)
        parts: dict[str, Any] = {}
        for table in SOURCES:
            columns = TABLES[table].columns
            row: Any = make_row_type(f"Posted{table.title()}", columns)
            ids = {"account_id": _Id} | ({"ticket_id": _Id} if table == "tickets" else {"event_id": _Id})
            # A class of the contract's cells, with ids that are short enough for any database's index.
            row = make_strict_dict(row.__name__, {**row.__annotations__, **ids})
            parts[table] = NotRequired[list[row]]
        self._whole: TypeAdapter[dict[str, Any]] = TypeAdapter(make_strict_dict("EventsRequest", parts))

    @property
    def request(self) -> TypeAdapter[dict[str, Any]]:
        """The type of a request, for those who describe it."""
        return self._whole

    def read(self, body: bytes) -> ParsedEvents:
        """Read a request; what is wrong with one row stays with that row.

        Raises:
            Refusal: It is no JSON (400), or wrong as a whole (422).
        """
        faults: dict[tuple[str, int], list[ErrorDetail]] = {}
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
        if sum(map(len, raw.values())) > MAX_EVENTS:
            why = f"a request may have {MAX_EVENTS:,} rows: send fewer at a time"
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "too_many_rows", why)
        return {table: list(self._rows(table, raw[table], good[table], faults)) for table in SOURCES if table in raw}

    def _rows(
        self,
        table: str,
        raw: Sequence[Any],
        good: Sequence[Content],
        faults: Mapping[tuple[str, int], list[ErrorDetail]],
    ) -> Iterator[PostedEvent | RejectedEvent]:
        rest = iter(good)
        for i, sent in enumerate(raw):
            if (table, i) in faults:
                yield reject_event(_named(table, sent), faults[table, i])
                continue
            row = next(rest)
            event = _event(table, row)
            found = list(_contradictions(event))
            if table not in self._mapped:
                found = [
                    ErrorDetail(at="", message=f"the settings map no table of {table}: there is nothing to add it to")
                ]
            yield reject_event(event.event_id, found) if found else event


def reject_event(event_id: str | None, faults: Sequence[ErrorDetail]) -> RejectedEvent:
    """A row and what is wrong with it."""
    return RejectedEvent(
        event_id,
        ErrorBody(code="invalid", message=summarize_details(list(faults)), details=tuple(faults[:MAX_DETAILS])),
    )


def _by_row(error: ValidationError) -> dict[tuple[str, int], list[ErrorDetail]]:
    """The rows that are wrong.

    Raises:
        Refusal: Something else is wrong as well.
    """
    rows: dict[tuple[str, int], list[ErrorDetail]] = {}
    whole = []
    for found in error.errors(include_url=False, include_input=False, include_context=False):
        if found["type"] == "json_invalid":
            raise ApiError(HTTPStatus.BAD_REQUEST, "no_json", found["msg"])
        table, *where = found["loc"] or ("",)
        if where:
            rows.setdefault((str(table), int(where[0])), []).append(to_error_detail(tuple(where[1:]), found))
        else:
            whole.append(to_error_detail(found["loc"], found))
    if whole:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", summarize_details(whole), details=whole[:MAX_DETAILS]
        )
    return rows


def _named(table: str, row: Any) -> str | None:
    """The id that a wrong row gives, if it gives one."""
    name = row.get(_id(table)) if isinstance(row, dict) else None
    return name if isinstance(name, str) and 1 <= len(name) <= 200 else None


def _id(table: str) -> str:
    return "ticket_id" if table == "tickets" else "event_id"


def _event(table: str, row: Content) -> PostedEvent:
    content = {
        column: f"{value:.4f}" if isinstance(value, Decimal) else value
        for column, value in row.items()
        if value is not None and column not in {"event_id", "known_at"}
    }
    return PostedEvent(table, row[_id(table)], row.get("known_at"), content)


def _contradictions(event: PostedEvent) -> Iterator[ErrorDetail]:
    """What the contract's checks of whole tables say of a row."""
    for column, value in ({_id(event.table): event.event_id} | event.content).items():
        if isinstance(value, str) and "\0" in value:
            yield ErrorDetail(at=column, message="has the character NUL, which databases don't take")
    for later, earlier in ORDERED:
        if later in event.content and event.content[later] < event.content.get(earlier, event.content[later]):
            yield ErrorDetail(at=later, message=f"is before {earlier}")

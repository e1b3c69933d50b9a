"""Reads posted events strictly: tickets, usage and purchases as they happen."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from typing import Any, NotRequired

from pydantic import TypeAdapter, ValidationError

from features.core.contract import TABLES
from features.core.redaction import make_redaction
from features.settings import Settings
from features.sources.posted_events import LATER, SOURCES
from features.sources.staging import ORDERED
from serving.schemas.body_limits import check_body
from serving.schemas.errors import ApiError, ErrorBody, ErrorDetail
from serving.schemas.score_requests import (
    MAX_DETAILS,
    AccountId,
    check_number_of_faults,
    find_foreign_money,
    make_row_type,
    make_strict_dict,
    summarize_details,
    to_error_detail,
)

MAX_EVENTS = 1_000  # in one request, all tables together
Content = dict[str, Any]
_Id = AccountId


@dataclass(frozen=True)
class PostedEvent:
    """A row that was posted.

    Args:
        table: Its table.
        event_id: Its own id, or its ticket's.
        known_at: As sent, in µs; None if it was not sent.
        content: The rest by column: instants in µs, decimals as text of four places, no nulls.
    """

    table: str
    event_id: str
    known_at: int | None
    content: Content

    @property
    def key(self) -> tuple[str, str]:
        """Return its key in the event log."""
        return self.table, self.event_id

    @property
    def happened(self) -> dict[str, int]:
        """Return its instants in µs by column, those of its later course as well."""
        return {c: self.content[c] for c in (str(TABLES[self.table].time), *LATER) if c in self.content}


@dataclass(frozen=True)
class RejectedEvent:
    """A row that can't be stored as it was sent."""

    event_id: str | None
    error: ErrorBody


# By table, in the order sent.
ParsedEvents = Mapping[str, Sequence[PostedEvent | RejectedEvent]]


class EventRequestReader:
    """Reads the posted events of one company."""

    def __init__(self, settings: Settings) -> None:
        self._mapped, self._currency = frozenset(settings.tables), settings.company.currency
        self._texts, self._redact = settings.texts, make_redaction(settings.texts.hide)
        parts: dict[str, Any] = {}
        for table in SOURCES:
            columns = TABLES[table].columns
            row: Any = make_row_type(f"Posted{table.title()}", columns)
            ids = {"account_id": _Id} | ({"ticket_id": _Id} if table == "tickets" else {"event_id": _Id})
            # The contract's columns, with ids that are short enough for any database's index.
            row = make_strict_dict(row.__name__, {**row.__annotations__, **ids})
            parts[table] = NotRequired[list[row]]
        self._whole: TypeAdapter[dict[str, Any]] = TypeAdapter(make_strict_dict("EventsRequest", parts))

    @property
    def request(self) -> TypeAdapter[dict[str, Any]]:
        """Return the type of a request, for its description in the OpenAPI document."""
        return self._whole

    def read(self, body: bytes) -> ParsedEvents:
        """Read a request; a wrong row is rejected, and does not fail the others.

        Raises:
            ApiError: It is no JSON (400), or wrong as a whole (422).
        """
        check_body(body, rows=MAX_EVENTS)
        details: dict[tuple[str, int], list[ErrorDetail]] = {}
        try:
            valid = self._whole.validate_json(body)
        except ValidationError as error:
            check_number_of_faults(error)
            details = _group_by_row(error)
            # Numbers become text, from which decimals are read exactly. Rows with text for other numbers are rejected
            # already.
            raw = json.loads(body, parse_float=str)
            left = {t: [row for i, row in enumerate(rows) if (t, i) not in details] for t, rows in raw.items()}
            valid = self._whole.validate_json(json.dumps(left))
        else:
            raw = valid
        if sum(map(len, raw.values())) > MAX_EVENTS:
            message = f"a request may have {MAX_EVENTS:,} rows: send fewer at a time"
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "too_many_rows", message)
        return {
            table: list(self._read_rows(table, raw[table], valid[table], details)) for table in SOURCES if table in raw
        }

    def _read_rows(
        self,
        table: str,
        raw: Sequence[Any],
        valid: Sequence[Content],
        details: Mapping[tuple[str, int], list[ErrorDetail]],
    ) -> Iterator[PostedEvent | RejectedEvent]:
        rest = iter(valid)
        for i, sent in enumerate(raw):
            if (table, i) in details:
                yield reject_event(_read_event_id(table, sent), details[table, i])
                continue
            row = next(rest)
            event = _to_event(table, self._redact_prose(table, row))
            row_details = [*_find_contradictions(event), *find_foreign_money(event.content, self._currency)]
            if table not in self._mapped:
                message = f"the settings map no table of {table}: there is nothing to add it to"
                row_details = [ErrorDetail(at="", message=message)]
            yield reject_event(event.event_id, row_details) if row_details else event

    def _redact_prose(self, table: str, row: Content) -> Content:
        """Return a row with its prose redacted, or left out where no text is kept: nothing else sees it as it came."""
        prose = {c for c, column in TABLES[table].columns.items() if column.prose and row.get(c) is not None}
        if not prose:
            return row
        if not self._texts.keep:
            return {c: value for c, value in row.items() if c not in prose}
        return {c: self._redact(value) if c in prose else value for c, value in row.items()}


def reject_event(event_id: str | None, details: Sequence[ErrorDetail]) -> RejectedEvent:
    """Return a rejected row with what is wrong with it."""
    message, first = summarize_details(list(details)), tuple(details[:MAX_DETAILS])
    return RejectedEvent(event_id, ErrorBody(code="invalid", message=message, details=first))


def _group_by_row(error: ValidationError) -> dict[tuple[str, int], list[ErrorDetail]]:
    """Return what is wrong with each row, by table and place.

    Raises:
        ApiError: Something else is wrong as well.
    """
    rows: dict[tuple[str, int], list[ErrorDetail]] = {}
    whole = []
    for line in error.errors(include_url=False, include_input=False, include_context=False):
        if line["type"] == "json_invalid":
            raise ApiError(HTTPStatus.BAD_REQUEST, "no_json", line["msg"])
        table, *path = line["loc"] or ("",)
        if path:
            rows.setdefault((str(table), int(path[0])), []).append(to_error_detail(tuple(path[1:]), line))
        else:
            whole.append(to_error_detail(line["loc"], line))
    if whole:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", summarize_details(whole), details=whole[:MAX_DETAILS]
        )
    return rows


def _read_event_id(table: str, row: Any) -> str | None:
    """Return the id of a wrong row, if it has a valid one."""
    event_id = row.get(_id_column(table)) if isinstance(row, dict) else None
    return event_id if isinstance(event_id, str) and 1 <= len(event_id) <= 200 else None


def _id_column(table: str) -> str:
    return "ticket_id" if table == "tickets" else "event_id"


def _to_event(table: str, row: Content) -> PostedEvent:
    content = {
        column: f"{value:.4f}" if isinstance(value, Decimal) else value
        for column, value in row.items()
        if value is not None and column not in {"event_id", "known_at"}
    }
    return PostedEvent(table, row[_id_column(table)], row.get("known_at"), content)


def _find_contradictions(event: PostedEvent) -> Iterator[ErrorDetail]:
    """Yield what the contract's checks of whole tables find in a row."""
    for column, value in ({_id_column(event.table): event.event_id} | event.content).items():
        if isinstance(value, str) and "\0" in value:
            yield ErrorDetail(at=column, message="has the character NUL, which databases don't take")
    for later, earlier in ORDERED:
        if later in event.content and event.content[later] < event.content.get(earlier, event.content[later]):
            yield ErrorDetail(at=later, message=f"is before {earlier}")

"""Reads score requests strictly, by types made from the data contract."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated, Any, Literal, NotRequired

from pydantic import (
    AfterValidator,
    ConfigDict,
    FailFast,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    with_config,
)
from pydantic_core import from_json, to_json
from typing_extensions import TypedDict

from features.core.contract import EVENTS, TABLES, Column
from features.core.timestamps import to_micros
from features.settings import Settings, parse_instant
from serving.schemas.body_limits import check_body
from serving.schemas.errors import ApiError, ErrorBody, ErrorDetail
from serving.schemas.responses import Detail

MAX_ACCOUNTS = 100
MAX_EVENT_ROWS = 10_000  # in one table of one account
MAX_ROWS = 30_000  # of all tables and accounts of a request
_MAX_FAULTS = 20_000  # that are looked at one by one
MAX_DETAILS = 10  # listed for one item; more would only repeat them

_POSTED = "PostedAccount"
_STRICT = ConfigDict(extra="forbid", strict=True)
# Columns of accounts that can't be posted: a merged account is sent with its whole history as its own.
_MERGES = frozenset({"merged_into", "merged_at"})


def _instant(text: str) -> datetime:
    try:
        return parse_instant(text)
    except OverflowError:
        message = f"{text!r} is outside the years 1 to 9999"
        raise ValueError(message) from None


def _micros(text: str) -> int:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    # The usual form in the fewest steps: a posted history has hundreds.
    return to_micros(instant if instant is not None and instant.tzinfo is UTC else _instant(text))


# The documented form of instants; a few other ISO forms are read as well.
_ISO = WithJsonSchema(
    {
        "type": "string",
        "maxLength": 40,
        "pattern": r"^[0-9]{4}(-[0-9]{2}){2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2}))?$",
        "anyOf": [{"format": "date"}, {"format": "date-time"}],
    }
)
Instant = Annotated[str, Field(max_length=40), AfterValidator(_instant), _ISO]
Micros = Annotated[str, Field(max_length=40), AfterValidator(_micros), _ISO]
# What is written around a text means nothing: tables are read so too, by DuckDB's trim(), which takes these spaces.
_SPACES = " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"


def trim_text(text: str) -> str:
    """Return a text without the spaces at its ends, as the same cell of a table would be read.

    Raises:
        ValueError: Nothing is left.
    """
    trimmed = text.strip(_SPACES)
    if not trimmed:
        message = "is empty"
        raise ValueError(message)
    return trimmed


AccountId = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(trim_text)]


@dataclass(frozen=True)
class RejectedAccount:
    """An item of a request that can't be scored as it was sent."""

    account_id: str | None
    error: ErrorBody


# A posted account: its canonical row under "account", event rows by table; instants are whole µs.
PostedAccount = dict[str, Any]


@dataclass(frozen=True)
class ScoreRequest:
    """A request that has been read.

    Args:
        as_of: The instant to look from; None for the default.
        detail: How much the answer holds.
        items: In the order of the request: an account id, a posted account, or what is wrong with it.
    """

    as_of: datetime | None
    detail: Detail
    items: tuple[str | PostedAccount | RejectedAccount, ...]


class ScoreRequestReader:
    """Reads the score requests of one company, whose accounts may have attributes of their own."""

    def __init__(self, settings: Settings) -> None:
        mapped, self._currency = settings.tables["accounts"].columns, settings.company.currency
        own = {c: Column(mapped[c].kind) for c in settings.attributes()}
        parts: dict[str, Any] = {"account": make_row_type("Account", own | dict(TABLES["accounts"].columns))}
        for table in EVENTS:
            columns = {c: x for c, x in TABLES[table].columns.items() if c != "account_id"}
            row: Any = make_row_type(table.title(), columns)
            # A table is wrong by its first wrong row: thousands more would only repeat it.
            parts[table] = NotRequired[Annotated[list[row], FailFast(), Field(max_length=MAX_EVENT_ROWS)]]
        posted: Any = make_strict_dict(_POSTED, parts)
        item: Any = Annotated[AccountId | posted, Field(union_mode="left_to_right")]
        request = {
            "as_of": NotRequired[Instant | None],
            "detail": NotRequired[Detail],
            "accounts": Annotated[list[item], Field(min_length=1, max_length=MAX_ACCOUNTS)],
        }
        self._whole: TypeAdapter[dict[str, Any]] = TypeAdapter(make_strict_dict("ScoreRequest", request))

    @property
    def request(self) -> TypeAdapter[dict[str, Any]]:
        """Return the type of a request, for its description in the OpenAPI document."""
        return self._whole

    def read(self, body: bytes) -> ScoreRequest:
        """Read a request; a wrong item is rejected, and does not fail the others.

        Raises:
            ApiError: It is no JSON (400), or wrong as a whole (422).
        """
        check_body(body, rows=MAX_ROWS)
        rejected: dict[int, RejectedAccount] = {}
        try:
            request = self._whole.validate_json(body)
        except ValidationError as error:
            check_number_of_faults(error)
            rejected = _reject_items(error, body)
            request = self._read_valid_items(body, rejected)
        valid = iter(request["accounts"])
        count = len(request["accounts"]) + len(rejected)
        items = [rejected[i] if i in rejected else next(valid) for i in range(count)]
        accepted = tuple(_reject_contradictions(items, self._currency))
        return ScoreRequest(request.get("as_of"), request.get("detail", "drivers"), accepted)

    def _read_valid_items(self, body: bytes, rejected: Mapping[int, RejectedAccount]) -> dict[str, Any]:
        """Read a request without the items that were rejected."""
        raw = from_json(body)
        valid = [item for i, item in enumerate(raw["accounts"]) if i not in rejected]
        # One id more, so that a request whose items are all wrong is not wrong as a whole for having none.
        request = self._whole.validate_json(to_json(raw | {"accounts": [*valid, "-"]}))
        request["accounts"].pop()
        return request


def check_number_of_faults(error: ValidationError) -> None:
    """Check that a request does not have more faults than anybody would read.

    Raises:
        ApiError: It has (422).
    """
    count = error.error_count()
    if count > _MAX_FAULTS:
        message = f"there are {count:,} faults: see what a request looks like at /openapi.json"
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", message)


def make_strict_dict(name: str, fields: Mapping[str, Any]) -> Any:
    """Make a TypedDict that pydantic reads strictly and without unknown keys."""
    made = TypedDict(name, dict(fields))  # type: ignore[misc]  # noqa: UP013  # its fields are the contract's
    return with_config(_STRICT)(made)


def make_row_type(name: str, columns: Mapping[str, Column]) -> Any:
    """Make the type of one posted row from the contract's columns."""
    cells = {c: _cell(column) for c, column in columns.items() if not column.made and c not in _MERGES}
    return make_strict_dict(name, {c: t if columns[c].needed else NotRequired[t | None] for c, t in cells.items()})


def _cell(column: Column) -> Any:
    if column.among:
        return Literal[column.among]
    least = None if column.least is None else int(column.least)
    match column.kind:
        case "text":
            longest = 20_000 if column.prose else 1_000
            return Annotated[str, Field(min_length=1, max_length=longest), AfterValidator(trim_text)]
        case "time":
            return Micros
        case "decimal":
            return Annotated[Decimal, Field(max_digits=18, decimal_places=4, ge=least)]
        case "whole":
            return Annotated[int, Field(ge=-(2**63) if least is None else least, lt=2**63)]
        case "flag":
            return bool


def _reject_items(error: ValidationError, body: bytes) -> dict[int, RejectedAccount]:
    """Return the items that are wrong, by their place.

    Raises:
        ApiError: Something else is wrong as well.
    """
    by_item: dict[int, list[ErrorDetail]] = {}
    whole: list[ErrorDetail] = []
    raw: Any = None
    for line in error.errors(include_url=False, include_input=False, include_context=False):
        if line["type"] == "json_invalid":
            raise ApiError(HTTPStatus.BAD_REQUEST, "no_json", line["msg"])
        raw = from_json(body) if raw is None else raw
        path = line["loc"]
        if len(path) < 2 or path[0] != "accounts":
            whole.append(to_error_detail(path, line))
            continue
        item = raw["accounts"][int(path[1])]
        details = by_item.setdefault(int(path[1]), [])
        # Both sides of the union report errors: only those of the side that was meant are kept.
        if isinstance(item, dict | str):
            if isinstance(item, dict) == (path[2] == _POSTED):
                details.append(to_error_detail(path[3:], line))
        elif not details:
            details.append(ErrorDetail(at="", message="it is neither an account id nor an account with its history"))
    if whole:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", summarize_details(whole), details=whole[:MAX_DETAILS]
        )
    return {i: reject_account(_read_account_id(raw["accounts"][i]), "invalid", f) for i, f in by_item.items()}


def to_error_detail(path: tuple[int | str, ...], error: Any) -> ErrorDetail:
    """Return one of pydantic's errors as a detail, in our words.

    Args:
        path: To the value.
        error: As `ValidationError.errors` lists it.
    """
    is_unknown = error["type"] == "extra_forbidden"
    message = "this key is unknown" if is_unknown else error["msg"].removeprefix("Value error, ")
    return ErrorDetail(at=".".join(str(part) for part in path), message=message)


def summarize_details(details: list[ErrorDetail]) -> str:
    """Return a message with the first detail and how many more there are."""
    first = f"{details[0].at}: {details[0].message}" if details[0].at else details[0].message
    return first if len(details) == 1 else f"{first}; and {len(details) - 1} more"


def reject_account(account_id: str | None, code: str, details: list[ErrorDetail]) -> RejectedAccount:
    """Return a rejected item with what is wrong with it."""
    message, first = summarize_details(details), tuple(details[:MAX_DETAILS])
    return RejectedAccount(account_id, ErrorBody(code=code, message=message, details=first))


def _read_account_id(item: Any) -> str | None:
    """Return the account id of a wrong item, if it has a valid one."""
    account = item.get("account") if isinstance(item, dict) else None
    account_id = account.get("account_id") if isinstance(account, dict) else item
    return account_id if isinstance(account_id, str) and 1 <= len(account_id) <= 200 else None


def _reject_contradictions(
    items: list[str | PostedAccount | RejectedAccount], currency: str
) -> Iterator[str | PostedAccount | RejectedAccount]:
    """Yield the items, rejecting those that contradict themselves or each other, and money of another currency."""
    posted = Counter(item["account"]["account_id"] for item in items if isinstance(item, dict))
    for item in items:
        if isinstance(item, dict):
            account_id = item["account"]["account_id"]
            details = list(_find_contradictions(item))
            for i, row in enumerate(item.get("purchases", ())):
                details += find_foreign_money(row, currency, f"purchases.{i}.")
            if posted[account_id] > 1:
                details.append(ErrorDetail(at="account.account_id", message="is posted more than once"))
            yield reject_account(account_id, "invalid", details) if details else item
        else:
            yield item


def find_foreign_money(row: Mapping[str, Any], currency: str, place: str = "") -> Iterator[ErrorDetail]:
    """Yield the fault of a posted purchase whose money is in another currency: rates are a matter of tables."""
    given = row.get("currency")
    if given is not None and given.upper() != currency.upper():
        yield ErrorDetail(at=f"{place}currency", message=f"is not {currency}: convert the amounts before you post them")


def _find_contradictions(item: PostedAccount) -> Iterator[ErrorDetail]:
    """Yield what the contract's checks of whole tables find in posted rows."""
    for table in (t for t in EVENTS if t in item):
        seen: set[tuple[Any, ...]] = set()
        for i, row in enumerate(item[table]):
            key = tuple(row[column] for column in TABLES[table].key)
            if key and key in seen:
                yield ErrorDetail(at=f"{table}.{i}", message=f"there is an earlier row of {TABLES[table].key[0]}")
            seen.add(key)
    for i, row in enumerate(item.get("tickets", ())):
        resolved = row.get("resolved_at")
        if resolved is not None and resolved < row["opened_at"]:
            yield ErrorDetail(at=f"tickets.{i}.resolved_at", message="is before opened_at")

"""What the HTTP service takes: requests, made from the data contract and read strictly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated, Any, Literal, NotRequired

from pydantic import (
    AfterValidator,
    ConfigDict,
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
from features.settings import Settings, instant
from serving.schemas.errors import ApiError, ErrorBody, ErrorDetail
from serving.schemas.responses import Detail

MAX_ACCOUNTS = 100
MAX_EVENT_ROWS = 10_000  # in one table of one account
MAX_DETAILS = 10  # told of one item; the rest would say the same

_POSTED = "PostedAccount"
_STRICT = ConfigDict(extra="forbid", strict=True)
# Columns of accounts that can't be posted: who sends a survivor sends the whole history as its own.
_MERGES = frozenset({"merged_into", "merged_at"})


def _instant(text: str) -> datetime:
    try:
        return instant(text)
    except OverflowError:
        message = f"{text!r} is outside the years 1 to 9999"
        raise ValueError(message) from None


# What is told of instants; a few other ways to write them that ISO has are read as well.
_ISO = WithJsonSchema(
    {
        "type": "string",
        "maxLength": 40,
        "pattern": r"^[0-9]{4}(-[0-9]{2}){2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2}))?$",
        "anyOf": [{"format": "date"}, {"format": "date-time"}],
    }
)
Instant = Annotated[str, Field(max_length=40), AfterValidator(_instant), _ISO]
Micros = Annotated[str, Field(max_length=40), AfterValidator(lambda text: to_micros(_instant(text))), _ISO]
AccountId = Annotated[str, Field(min_length=1, max_length=200)]


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
        as_of: Where to look from, None for the default.
        detail: How much to tell: the probabilities alone, what they mean besides, or why as well.
        items: In the order sent: an account id, a posted account, or what is wrong with it.
    """

    as_of: datetime | None
    detail: Detail
    items: tuple[str | PostedAccount | RejectedAccount, ...]


class ScoreRequestReader:
    """Reads the requests of one company, whose accounts may have attributes of their own."""

    def __init__(self, settings: Settings) -> None:
        mapped = settings.tables["accounts"].columns
        own = {c: Column(mapped[c].kind) for c in settings.attributes()}
        parts: dict[str, Any] = {"account": make_row_type("Account", own | dict(TABLES["accounts"].columns))}
        for table in EVENTS:
            columns = {c: x for c, x in TABLES[table].columns.items() if c != "account_id"}
            row: Any = make_row_type(table.title(), columns)
            parts[table] = NotRequired[Annotated[list[row], Field(max_length=MAX_EVENT_ROWS)]]
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
        """The type of a request, for those who describe it."""
        return self._whole

    def read(self, body: bytes) -> ScoreRequest:
        """Read a request; what is wrong with one item stays with that item.

        Raises:
            Refusal: It is no JSON (400), or wrong as a whole (422).
        """
        rejected: dict[int, RejectedAccount] = {}
        try:
            asked = self._whole.validate_json(body)
        except ValidationError as error:
            rejected = _by_item(error, body)
            asked = self._rest(body, rejected)
        good = iter(asked["accounts"])
        count = len(asked["accounts"]) + len(rejected)
        items = [rejected[i] if i in rejected else next(good) for i in range(count)]
        return ScoreRequest(asked.get("as_of"), asked.get("detail", "drivers"), tuple(_settled(items)))

    def _rest(self, body: bytes, rejected: Mapping[int, RejectedAccount]) -> dict[str, Any]:
        """The request without the items that were rejected."""
        raw = from_json(body)
        kept = [item for i, item in enumerate(raw["accounts"]) if i not in rejected]
        # An id more keeps a request whose items are all wrong from being wrong as a whole.
        asked = self._whole.validate_json(to_json(raw | {"accounts": [*kept, "-"]}))
        asked["accounts"].pop()
        return asked


def make_strict_dict(name: str, fields: Mapping[str, Any]) -> Any:
    """A TypedDict that pydantic reads strictly, without a key beyond its own."""
    made = TypedDict(name, dict(fields))  # type: ignore[misc]  # noqa: UP013  # its fields are the contract's
    return with_config(_STRICT)(made)


def make_row_type(name: str, columns: Mapping[str, Column]) -> Any:
    """The type of one posted row, out of the contract."""
    cells = {c: _cell(column) for c, column in columns.items() if not column.made and c not in _MERGES}
    return make_strict_dict(name, {c: t if columns[c].needed else NotRequired[t | None] for c, t in cells.items()})


def _cell(column: Column) -> Any:
    if column.among:
        return Literal[column.among]
    least = None if column.least is None else int(column.least)
    match column.kind:
        case "text":
            return Annotated[str, Field(min_length=1, max_length=1_000)]
        case "time":
            return Micros
        case "decimal":
            return Annotated[Decimal, Field(max_digits=18, decimal_places=4, ge=least)]
        case "whole":
            return Annotated[int, Field(ge=-(2**63) if least is None else least, lt=2**63)]
        case "flag":
            return bool


def _by_item(error: ValidationError, body: bytes) -> dict[int, RejectedAccount]:
    """The items that are wrong.

    Raises:
        Refusal: Something else is wrong as well.
    """
    faults: dict[int, list[ErrorDetail]] = {}
    whole: list[ErrorDetail] = []
    raw: Any = None
    for found in error.errors(include_url=False, include_input=False, include_context=False):
        if found["type"] == "json_invalid":
            raise ApiError(HTTPStatus.BAD_REQUEST, "no_json", found["msg"])
        raw = from_json(body) if raw is None else raw
        where = found["loc"]
        if len(where) < 2 or where[0] != "accounts":
            whole.append(to_error_detail(where, found))
            continue
        item = raw["accounts"][int(where[1])]
        about = faults.setdefault(int(where[1]), [])
        # Both sides of the union complain: only the one that was meant is told.
        if isinstance(item, dict | str):
            if isinstance(item, dict) == (where[2] == _POSTED):
                about.append(to_error_detail(where[3:], found))
        elif not about:
            about.append(ErrorDetail(at="", message="it is neither an account id nor an account with its history"))
    if whole:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", summarize_details(whole), details=whole[:MAX_DETAILS]
        )
    return {i: reject_account(_named(raw["accounts"][i]), "invalid", f) for i, f in faults.items()}


def to_error_detail(where: tuple[int | str, ...], found: Any) -> ErrorDetail:
    """One of pydantic's errors in our words, and where it is."""
    unknown = found["type"] == "extra_forbidden"
    message = "this key is unknown" if unknown else found["msg"].removeprefix("Value error, ")
    return ErrorDetail(at=".".join(str(part) for part in where), message=message)


def summarize_details(faults: list[ErrorDetail]) -> str:
    """The first fault, and how many more there are."""
    first = f"{faults[0].at}: {faults[0].message}" if faults[0].at else faults[0].message
    return first if len(faults) == 1 else f"{first}; and {len(faults) - 1} more"


def reject_account(account_id: str | None, code: str, faults: list[ErrorDetail]) -> RejectedAccount:
    """An item and what is wrong with it."""
    return RejectedAccount(
        account_id, ErrorBody(code=code, message=summarize_details(faults), details=tuple(faults[:MAX_DETAILS]))
    )


def _named(item: Any) -> str | None:
    """The account id that a wrong item gives, if it gives one."""
    account = item.get("account") if isinstance(item, dict) else None
    name = account.get("account_id") if isinstance(account, dict) else item
    return name if isinstance(name, str) and 1 <= len(name) <= 200 else None


def _settled(items: list[str | PostedAccount | RejectedAccount]) -> Iterator[str | PostedAccount | RejectedAccount]:
    """The items, those rejected that contradict themselves or each other."""
    posted = Counter(item["account"]["account_id"] for item in items if isinstance(item, dict))
    for item in items:
        if isinstance(item, dict):
            account_id = item["account"]["account_id"]
            faults = list(_contradictions(item))
            if posted[account_id] > 1:
                faults.append(ErrorDetail(at="account.account_id", message="is posted more than once"))
            yield reject_account(account_id, "invalid", faults) if faults else item
        else:
            yield item


def _contradictions(item: PostedAccount) -> Iterator[ErrorDetail]:
    """What the contract's checks of whole tables say of posted rows."""
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

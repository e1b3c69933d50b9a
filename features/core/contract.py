"""Define the data contract: the canonical tables, their columns and types.

Times are instants, stored as whole microseconds since 1970 in UTC: they compare and subtract exactly on any
engine. Money and other measured quantities are fixed-point decimals, never floats,
so that a sum has one value whatever the order of its rows: in batch and over HTTP alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["text", "time", "decimal", "whole", "flag"]
TEXT, TIME, DECIMAL, WHOLE, FLAG = get_args(Kind)
# Of rates alone; no attribute has it.
RATE: Literal["rate"] = "rate"
# Kind to its types in Ibis, DuckDB and PostgreSQL.
_TYPES: MappingProxyType[Kind | Literal["rate"], tuple[str, str, str]] = MappingProxyType(
    {
        "text": ("string", "VARCHAR", "text"),
        "time": ("int64", "BIGINT", "bigint"),
        "decimal": ("decimal(18, 4)", "DECIMAL(18, 4)", "numeric(18, 4)"),
        "whole": ("int64", "BIGINT", "bigint"),
        "flag": ("boolean", "BOOLEAN", "boolean"),
        # More digits than money: a yen is some 0.006 euros.
        "rate": ("decimal(18, 10)", "DECIMAL(18, 10)", "numeric(18, 10)"),
    }
)

# What was done first about a ticket, from the cheapest on.
FIRST_ACTIONS = ("self_service", "answer", "call", "escalation", "visit")
SURVEYS = ("nps", "csat", "ces")
PRIORITIES = ("low", "normal", "high", "urgent")
KINDS = ("new", "renewal", "expansion", "contraction", "refund")


@dataclass(frozen=True)
class Column:
    """A column of a canonical table: its kind and its allowed values.

    Args:
        kind: The kind of its values; `ibis_type` and its siblings give the type it is stored as.
        needed: Whether every row must have it.
        among: The values allowed; () where any value is.
        least: The smallest number allowed.
        made: Whether Garrison fills it, so that no company maps it.
        names: Whether it is the id of something, so that 100000.0 is the same as 100000.
        vital: Whether a value that can't be read costs the row, as in a needed column, and not its cell alone.
        mappable: Whether a company may map it although Garrison fills it.
        prose: Whether people wrote it in words of their own: it is redacted before it is stored, and no feature reads
            it.
        personal: What makes it personal: the id of an account, a person's id or address, or a name. This is the one map
            of personal columns, beside `prose`.
    """

    kind: Kind | Literal["rate"]
    needed: bool = False
    among: tuple[str, ...] = ()
    least: float | None = None
    made: bool = False
    names: bool = False
    vital: bool = False
    mappable: bool = False
    prose: bool = False
    personal: Literal["account", "person", "name"] | None = None


@dataclass(frozen=True)
class Table:
    """A canonical table.

    Args:
        columns: By name; the needed ones first.
        time: The column that dates an event, None where rows are not events.
        key: The columns that no two rows may share.
        open: Whether columns beyond these may be mapped, as attributes.
        answer: Whether labels are made of the table, so that no feature may read it.
    """

    columns: MappingProxyType[str, Column]
    time: str | None = None
    key: tuple[str, ...] = ()
    open: bool = False
    answer: bool = False


def _table(columns: dict[str, Column], **rest: object) -> Table:
    return Table(MappingProxyType(columns), **rest)  # type: ignore[arg-type]  # passed through by name


_ID, _REFERENCE = Column(TEXT, needed=True, names=True), Column(TEXT, names=True)
_ACCOUNT = Column(TEXT, needed=True, names=True, personal="account")
_OTHER_ACCOUNT = Column(TEXT, names=True, personal="account")
_PERSON = Column(TEXT, names=True, personal="person")
_ADDRESS, _NAME = Column(TEXT, personal="person"), Column(TEXT, personal="name")
_WORD, _WHEN = Column(TEXT, needed=True), Column(TIME, needed=True)
# Of the copy that the survivor of a merge has of an event: when the event was known at all, its own known_at being
# the merge at the earliest. Null in all other rows.
_FIRST = Column(TIME, made=True)
# The id of an event: of one that came over HTTP its id there, of a table's own rows what is mapped.
_EVENT = Column(TEXT, made=True, names=True, mappable=True)
_VERSION = Column(TIME, vital=True, made=True, mappable=True)
# Without it an event would count as known too early.
_KNOWN = Column(TIME, vital=True)
_PROSE = Column(TEXT, prose=True)

TABLES: MappingProxyType[str, Table] = MappingProxyType(
    {
        "accounts": _table(
            {
                "account_id": _ACCOUNT,
                "created_at": _WHEN,
                "name": _NAME,
                "owner_email": _ADDRESS,
                "owner_timezone": Column(TEXT),
                "parent_id": _OTHER_ACCOUNT,
                "partner_id": _OTHER_ACCOUNT,  # the company's partner through whom the account is served
                "merged_into": _OTHER_ACCOUNT,  # the account that it became a part of
                "merged_at": Column(TIME, vital=True),
                "region": Column(TEXT),
                "industry": Column(TEXT),
                "size": Column(TEXT),
                "plan": Column(TEXT),
                "seats": Column(WHOLE, least=0),
                "cost_to_serve": Column(DECIMAL),
                # Where a row is one version of its account: since when its values hold, and since when that is known.
                "valid_from": _VERSION,
                "known_at": _VERSION,
            },
            key=("account_id",),
            open=True,
        ),
        "identities": _table(
            # Valid in [valid_from, valid_until), without bounds where they are null.
            {
                "system": _WORD,
                "external_id": _ACCOUNT,
                "account_id": _ACCOUNT,
                "valid_from": Column(TIME, vital=True),
                "valid_until": Column(TIME, vital=True),
            },
            key=("system", "external_id", "account_id", "valid_from", "valid_until"),
        ),
        # What a unit of a currency is worth in the company's, from its day until the next one of the currency.
        "rates": _table(
            {"currency": _WORD, "day": _WHEN, "per_unit": Column(RATE, needed=True, least=1e-10)},
            time="day",
            key=("currency", "day"),
        ),
        "tickets": _table(
            {
                "ticket_id": _ID,
                "account_id": _ACCOUNT,
                "opened_at": _WHEN,
                "known_at": _KNOWN,
                "first_known_at": _FIRST,
                "first_response_at": Column(TIME),
                "resolved_at": Column(TIME),
                # Of what came over HTTP: when the two became known. Null where the lag of the opening tells.
                "first_response_known_at": Column(TIME, made=True),
                "resolved_known_at": Column(TIME, made=True),
                "priority": Column(TEXT, among=PRIORITIES),
                "topic": Column(TEXT),
                "channel": Column(TEXT),
                "csat": Column(DECIMAL),
                "reopened": Column(FLAG),
                "escalated": Column(FLAG),
                "subject": _PROSE,
                "body": _PROSE,
                "language": Column(TEXT),  # of the two: a code such as en or zh
                "handled_by": _ADDRESS,  # the address in `staff` of who worked on it most
                "minutes": Column(DECIMAL, least=0),  # of work on it, by everyone; known with its resolution
                "first_contact_resolved": Column(FLAG),
                "first_action": Column(TEXT, among=FIRST_ACTIONS),
            },
            time="opened_at",
            key=("ticket_id",),
        ),
        "usage": _table(
            {
                "account_id": _ACCOUNT,
                "used_at": _WHEN,
                "known_at": _KNOWN,
                "first_known_at": _FIRST,
                "event_id": _EVENT,
                "user_id": _PERSON,
                "feature": Column(TEXT),
                "count": Column(WHOLE, least=0, vital=True),
                "duration_s": Column(DECIMAL, least=0),
                "errors": Column(WHOLE, least=0),
            },
            time="used_at",
        ),
        "purchases": _table(
            {
                "account_id": _ACCOUNT,
                "purchased_at": _WHEN,
                "amount": Column(DECIMAL, needed=True),
                "known_at": _KNOWN,
                "first_known_at": _FIRST,
                "event_id": _EVENT,
                "order_id": _REFERENCE,
                "kind": Column(TEXT, among=KINDS, vital=True),
                "product": Column(TEXT),
                "quantity": Column(DECIMAL),
                "currency": Column(TEXT),
                "margin": Column(DECIMAL),
                "term_starts_at": Column(TIME),
                "term_ends_at": Column(TIME),
                "billing_months": Column(WHOLE, least=0),
                "list_price": Column(DECIMAL),  # of the whole row, as `amount` is
                "paid": Column(FLAG),
            },
            time="purchased_at",
        ),
        "touches": _table(
            {"account_id": _ACCOUNT, "touched_at": _WHEN, "kind": _WORD, "known_at": _KNOWN, "first_known_at": _FIRST},
            time="touched_at",
        ),
        # Who speaks for an account: each from `since` on, until they left.
        "people": _table(
            {
                "person_id": Column(TEXT, needed=True, names=True, personal="person"),
                "account_id": _ACCOUNT,
                "since": _WHEN,
                "known_at": _KNOWN,
                "name": _NAME,
                "email": _ADDRESS,
                "role": Column(TEXT),
                "until": Column(TIME, vital=True),
            },
            time="since",
            key=("person_id", "account_id", "since"),
        ),
        # The company's own people who serve accounts, known by their address, which `tickets.handled_by` names.
        "staff": _table(
            {
                "email": Column(TEXT, needed=True, personal="person"),
                "team": Column(TEXT),
                "role": Column(TEXT),
                "manager": _ADDRESS,
                "timezone": Column(TEXT),
                "country": Column(TEXT),
                "rate_per_hour": Column(DECIMAL, least=0),
                "currency": Column(TEXT),  # of the rate
                "until": Column(TIME, vital=True),
            },
            key=("email",),
        ),
        "contracts": _table(
            {
                "contract_id": _ID,
                "account_id": _ACCOUNT,
                "starts": _WHEN,
                "known_at": _KNOWN,
                "ends": Column(TIME, vital=True),
                "notice_until": Column(TIME, vital=True),  # until when notice may be given that it ends
                "auto_renew": Column(FLAG),
                "value": Column(DECIMAL),  # of the whole contract
                "currency": Column(TEXT),
                "replaces": _REFERENCE,  # the contract that it follows
            },
            time="starts",
            key=("contract_id",),
        ),
        "surveys": _table(
            {
                "account_id": _ACCOUNT,
                "at": _WHEN,
                "kind": Column(TEXT, needed=True, among=SURVEYS),
                "known_at": _KNOWN,
                "person_id": _PERSON,
                "score": Column(DECIMAL),
                "text": _PROSE,
            },
            time="at",
        ),
        # What was promised to an account, and until when.
        "promises": _table(
            {
                "account_id": _ACCOUNT,
                "made_at": _WHEN,
                "due": _WHEN,
                "known_at": _KNOWN,
                "by": _ADDRESS,
                "text": _PROSE,
                "kept_at": Column(TIME, vital=True),
            },
            time="made_at",
        ),
        # Where a company records directly who left and when: for cohorts and labels alone.
        "lifetimes": _table(
            {"account_id": _ACCOUNT, "started_at": _WHEN, "ended_at": Column(TIME, vital=True)},
            time="started_at",
            answer=True,
        ),
    }
)

EVENTS = ("tickets", "usage", "purchases", "touches")
# Dated records of accounts that are no sign of life: where they begin and end says nothing of how far the data reach.
RECORDS = ("people", "contracts", "surveys", "promises")
# Columns of accounts that say who to speak to and when it holds, not what the account is like.
CONTACT = (
    "account_id",
    "created_at",
    "name",
    "owner_email",
    "owner_timezone",
    "parent_id",
    "partner_id",
    "merged_into",
    "merged_at",
    "valid_from",
    "known_at",
)
# The versions of accounts by time, where a company maps `valid_from`; no company maps the table itself.
VERSIONS = "account_versions"


def describe_kind(column: Column) -> str:
    """Return the kind of a column's values in words."""
    return {"time": "time", "decimal": "number", "rate": "number", "whole": "whole number", "flag": "yes or no"}.get(
        column.kind, "text"
    )


def ibis_type(column: Column) -> str:
    """Return the name of the Ibis type that a column is stored as."""
    return _TYPES[column.kind][0]


def duckdb_type(column: Column) -> str:
    """Return the DuckDB type that a column is stored as."""
    return _TYPES[column.kind][1]


def postgres_type(ibis_name: str, collation: str) -> str:
    """Return the PostgreSQL type for the name of an Ibis type.

    Args:
        ibis_name: As `ibis_type` returns it.
        collation: The collation of text.
    """
    name = next(postgres for ibis, _, postgres in _TYPES.values() if ibis == ibis_name)
    return f'{name} COLLATE "{collation}"' if name == "text" else name


def arrow_type(column: Column) -> pa.DataType:
    """Return the Arrow type that a column is stored as."""
    return arrow_type_of(ibis_type(column))


def arrow_type_of(ibis_name: str) -> pa.DataType:
    """Return the Arrow type for the name of an Ibis type, as `ibis_type` returns it."""
    import pyarrow as pa  # slow to import, and most readers of the contract need no Arrow

    types = {"string": pa.string(), "int64": pa.int64(), "decimal(18, 4)": pa.decimal128(18, 4), "boolean": pa.bool_()}
    return types[ibis_name]

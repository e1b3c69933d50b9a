"""Hindsight: what of a history could be known at an instant, and the same history with another future."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from features.core.contract import DECIMAL, FLAG, TABLES, TIME, WHOLE, Column
from features.definitions import visibility_rule
from features.definitions.feature import DAY
from features.definitions.visibility_rule import ROWS, Opening

Row = dict[str, Any]
Tables = dict[str, list[Row]]

_LATER_DAYS = 3
# What a ticket tells later than its opening: when, and what comes with it.
LATER = MappingProxyType({"first_response_at": (), "resolved_at": ("csat", "reopened", "escalated")})


def is_visible(table: str, row: Row, as_of: int) -> bool:
    """Return whether a row's event can be seen at `as_of`."""
    return bool(visibility_rule.is_visible(row[str(TABLES[table].time)], row["known_at"], as_of))


def is_outcome_visible(ticket: Row, when: int, as_of: int, own: int | None = None) -> bool:
    """Return whether a ticket's response or resolution can be seen.

    Args:
        ticket: A row.
        when: When the response or resolution came.
        as_of: Where is looked from.
        own: When it became known, where that is recorded.
    """
    opening = Opening(ticket["opened_at"], ticket["known_at"], ticket.get("first_known_at"))
    return bool(visibility_rule.is_outcome_visible(opening, when, own, as_of, ROWS))


def truncate_future(tables: Tables, as_of: int) -> Tables:
    """The history as it could be known then."""
    return _altered(tables, as_of, lambda table, row: None, lambda row, when: None)  # noqa: ARG005  # all is forgotten


def perturb_future(tables: Tables, as_of: int) -> Tables:
    """The history with another future: later and other values."""
    later = as_of + _LATER_DAYS * DAY
    return _altered(
        tables, as_of, _strange, lambda row, column: later if column in LATER else _other("tickets", row, column)
    )


def _altered(
    tables: Tables, as_of: int, unseen: Callable[[str, Row], Row | None], untold: Callable[[Row, str], Any]
) -> Tables:
    """The history with each row that can't be seen as `unseen` makes it, and each later fact as `untold` does."""
    found: Tables = {"accounts": tables["accounts"]}
    for table in (t for t in tables if t != "accounts"):
        found[table] = []
        for row in tables[table]:
            kept: Row | None = row
            if not is_visible(table, row, as_of):
                kept = unseen(table, row)
            elif table == "tickets":
                kept = row | {column: untold(row, column) for column in _untold(row, as_of)}
            found[table] += [kept] if kept else []
    return found


def _untold(ticket: Row, as_of: int) -> Iterator[str]:
    for when, outcome in LATER.items():
        if ticket[when] is None or not is_outcome_visible(
            ticket, ticket[when], as_of, ticket.get(when.replace("_at", "_known_at"))
        ):
            yield from (when, *outcome)


def _strange(table: str, row: Row) -> Row:
    return row | {column: _other(table, row, column) for column in TABLES[table].columns if column != "account_id"}


def _other(table: str, row: Row, column: str) -> Any:
    """Another value than the row has there; times are later."""
    spec: Column = TABLES[table].columns[column]
    value = row[column]
    if spec.kind == TIME:
        return None if value is None else value + _LATER_DAYS * DAY
    if spec.kind in {DECIMAL, WHOLE}:
        seven = Decimal(7) if spec.kind == DECIMAL else 7
        return seven if value is None else value + seven
    if spec.kind == FLAG:
        return not value
    return next(other for other in (*spec.among, f"other {value}") if other != value)

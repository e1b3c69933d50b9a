"""Perturbations of a history for the leak tests: its future removed or changed."""

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
# Facts of a ticket after its opening: the time, and the values that come with it.
LATER = MappingProxyType({"first_response_at": (), "resolved_at": ("csat", "reopened", "escalated")})


def is_visible(table: str, row: Row, as_of: int) -> bool:
    """Return whether a row's event can be seen at `as_of`."""
    return bool(visibility_rule.is_visible(row[str(TABLES[table].time)], row["known_at"], as_of))


def is_outcome_visible(ticket: Row, when: int, as_of: int, own: int | None = None) -> bool:
    """Return whether a ticket's response or resolution can be seen.

    Args:
        ticket: A row.
        when: When the response or resolution came.
        as_of: The instant of the snapshot.
        own: When it became known, where that is recorded.
    """
    opening = Opening(ticket["opened_at"], ticket["known_at"], ticket.get("first_known_at"))
    return bool(visibility_rule.is_outcome_visible(opening, when, own, as_of, ROWS))


def truncate_future(tables: Tables, as_of: int) -> Tables:
    """Return the history as it was known at `as_of`."""
    return _replace_invisible(tables, as_of, lambda table, row: None, lambda row, when: None)  # noqa: ARG005  # all is forgotten


def perturb_future(tables: Tables, as_of: int) -> Tables:
    """Return the history with another future: later times and other values."""
    later = as_of + _LATER_DAYS * DAY
    return _replace_invisible(
        tables,
        as_of,
        _change_row,
        lambda row, column: later if column in LATER else _change_value("tickets", row, column),
    )


def _replace_invisible(
    tables: Tables, as_of: int, replace_row: Callable[[str, Row], Row | None], replace_value: Callable[[Row, str], Any]
) -> Tables:
    """Return the history with what is not visible at `as_of` replaced: whole rows, and later facts of tickets."""
    altered: Tables = {"accounts": tables["accounts"]}
    for table in (t for t in tables if t != "accounts"):
        altered[table] = []
        for row in tables[table]:
            changed: Row | None = row
            if not is_visible(table, row, as_of):
                changed = replace_row(table, row)
            elif table == "tickets":
                changed = row | {column: replace_value(row, column) for column in _list_invisible_columns(row, as_of)}
            altered[table] += [changed] if changed else []
    return altered


def _list_invisible_columns(ticket: Row, as_of: int) -> Iterator[str]:
    for when, outcome in LATER.items():
        if ticket[when] is None or not is_outcome_visible(
            ticket, ticket[when], as_of, ticket.get(when.replace("_at", "_known_at"))
        ):
            yield from (when, *outcome)


def _change_row(table: str, row: Row) -> Row:
    return row | {
        column: _change_value(table, row, column) for column in TABLES[table].columns if column != "account_id"
    }


def _change_value(table: str, row: Row, column: str) -> Any:
    """Return a value other than the row's; a time moves later."""
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

"""Read all purchases of an account at once, and put them together: orders, terms, products bought."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NamedTuple

from features.core.timestamps import DAY


class PurchaseLine(NamedTuple):
    """A row of the purchases, as the canonical table has it; instants are µs."""

    purchased_at: int
    order_id: str | None
    kind: str | None
    product: str | None
    amount: Decimal
    quantity: Decimal | None
    term_starts_at: int | None
    term_ends_at: int | None
    known_at: int


COLUMNS = PurchaseLine._fields


class Order(NamedTuple):
    """The lines of one order: sums, products in order, the whole of their terms."""

    at: int
    order_id: str
    kind: str | None
    amount: float
    quantity: float | None
    products: tuple[str, ...]
    term_ends_at: int | None
    known_at: int


class Term(NamedTuple):
    """The lines with one begin and end."""

    starts_at: int | None
    ends_at: int
    amount: float
    quantity: float | None
    products: tuple[str, ...]


def list_orders(lines: Iterable[PurchaseLine]) -> list[Order]:
    """List the orders: what was bought at one instant, by one order and in one kind."""
    groups: dict[Any, list[PurchaseLine]] = {}
    for line in lines:
        groups.setdefault((line.purchased_at, line.order_id, line.kind), []).append(line)
    orders = []
    for (at, order_id, kind), own in groups.items():
        quantities = [line.quantity for line in own if line.quantity is not None]
        orders.append(
            Order(
                at,
                order_id or "",
                kind,
                float(sum(line.amount for line in own)),
                float(sum(quantities)) if quantities else None,
                _list_names(own),
                max((line.term_ends_at for line in own if line.term_ends_at is not None), default=None),
                max(line.known_at for line in own),
            )
        )
    return orders


def list_terms(lines: Iterable[PurchaseLine], most: int = 30) -> list[Term]:
    """List the terms, the last to end first."""
    groups: dict[tuple[int | None, int], list[PurchaseLine]] = {}
    for line in lines:
        if line.term_ends_at is not None:
            groups.setdefault((line.term_starts_at, line.term_ends_at), []).append(line)
    terms = []
    for (starts_at, ends_at), own in groups.items():
        quantities = [line.quantity for line in own if line.quantity is not None]
        most_of = float(max(quantities)) if quantities else None
        terms.append(Term(starts_at, ends_at, float(sum(line.amount for line in own)), most_of, _list_names(own)))
    # Those without a begin come last of those that end together.
    ordered = sorted(terms, key=lambda t: (-t.ends_at, t.starts_at is None, -(t.starts_at or 0)))
    return ordered[:most]


def list_products(lines: Iterable[PurchaseLine], at: int, days: int) -> tuple[str, ...]:
    """List what was bought in the days before an instant, or has a term in force, by name."""
    since = at - days * DAY
    return _list_names(
        line
        for line in lines
        if line.amount > 0
        and (line.purchased_at >= since or (line.term_ends_at is not None and line.term_ends_at >= at))
    )


def _list_names(lines: Iterable[PurchaseLine]) -> tuple[str, ...]:
    return tuple(sorted({line.product for line in lines if line.product is not None}))

"""Build purchase rows: term starts, monthly charges, added and returned seats, one row per product bought."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.core.timestamps import DAY
from features.samples.causes import Floats
from features.samples.parts import Rows, number_ids, to_timestamps
from features.samples.population import Population
from features.samples.terms import Ints, find_day, split_days

KINDS = ("new", "renewal", "expansion", "contraction")
CHARGE = -1  # a plain charge inside a longer term has no kind
PRODUCTS = ("platform", "insights", "care")
_PRICE = np.array([18.0, 32.0, 55.0])[:, None] * np.array([1.0, 0.3, 0.2])  # a seat a month, by plan and product
RISE = 1.08  # factor on the price at each anniversary of an indexed contract


def find_term_start(people: Population, who: Ints, day: int | Ints) -> tuple[Ints, Ints]:
    """Return the first day of the terms running on a day, and the month since 1970 of each."""
    terms = people.traits.terms
    month, dom = terms.month[who], terms.dom[who]
    today = np.broadcast_to(np.asarray(day, dtype=np.int64), who.shape)
    now = split_days(today)[0]
    now = now - (find_day(now, dom) > today)
    running = now - (now - month) % terms.length[who]
    return find_day(running, dom), running


def buy(  # noqa: PLR0913  one array for each fact of a purchase
    people: Population, who: Ints, *, at: Ints, kind: Ints, seats: Ints, rise: Floats
) -> Rows:
    """Return one platform row for each account; for whole terms and charges also one for each of its add-ons.

    Args:
        people: The chunk.
        who: Accounts that buy, each once.
        at: Microseconds since 1970 of each purchase.
        kind: Index in `KINDS`, or `CHARGE`.
        seats: Seats charged; those added, or as a negative number returned, for expansion and contraction.
        rise: What price rises have come to, as a factor.
    """
    whole = (kind != KINDS.index("expansion")) & (kind != KINDS.index("contraction"))
    has = np.column_stack([np.ones(len(who), bool), people.addons[who] & whole[:, None]])
    row, product = np.nonzero(has)
    account = who[row]
    begin, month = find_term_start(people, account, at[row] // DAY)
    length = people.traits.terms.length[account]
    billing = np.where(people.prepaid[account], length, 1)
    cents = np.rint(_PRICE[people.traits.plan[account], product] * rise[row] * 100).astype(np.int64)
    return {
        "account": account,
        "at": at[row],
        "cents": np.rint(cents * seats[row] * billing * (1 - people.discount[account])).astype(np.int64),
        "kind": kind[row],
        "product": product,
        "seats": seats[row],
        "begin": begin,
        "end": find_day(month + length, people.traits.terms.dom[account]),
        "billing": billing,
        "list_cents": cents,
    }


def build_table(rows: Rows, ids: pa.Array, *, chunk: int) -> pa.Table:
    """Build rows in the form of the data contract. Returned seats have a negative quantity and amount."""
    kind = rows["kind"]
    return pa.table(
        {
            "order_id": number_ids("P", chunk, len(kind)),
            "account_id": ids.take(pa.array(rows["account"])),
            "purchased_at": to_timestamps(rows["at"]),
            "amount": _money(rows["cents"]),
            "kind": pa.array(KINDS).take(pa.array(kind, mask=kind == CHARGE)),
            "product": pa.array(PRODUCTS).take(pa.array(rows["product"])),
            "quantity": rows["seats"],
            "term_starts_at": to_timestamps(rows["begin"] * DAY),
            "term_ends_at": to_timestamps(rows["end"] * DAY),
            "billing_months": rows["billing"],
            "list_price": _money(rows["list_cents"]),
        }
    )


def _money(cents: Ints) -> pa.Array:
    return pc.multiply(pc.cast(pa.array(cents), pa.decimal128(19, 0)), pa.scalar(Decimal("0.01")))

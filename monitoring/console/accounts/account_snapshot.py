"""Answer from the accounts of one run: which match, which page of them, and their sums. It never changes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.core.sorted_ids import SortedIds
from features.core.timestamps import DAY, to_micros
from monitoring.console.accounts.account_conditions import RENEWAL_DAYS, WORSE, Condition, build_conditions
from monitoring.console.accounts.account_sums import AccountSums
from monitoring.console.accounts.account_table import AccountTable, replace_owners
from serving.scoring.account_order import COLUMNS, ColumnOrder, Places, parse_order

if TYPE_CHECKING:
    from monitoring.console.sign_in.access import RowFilter

Mask = npt.NDArray[np.bool_]
# A mask with eight accounts a byte.
Bits = npt.NDArray[np.uint8]
Key = tuple[Any, ...]
# Answers to conditions that are kept: a bit an account each; and sums.
_KEPT, _KEPT_SUMS = 512, 256
# The same of long lists of accounts, and how long one is before all accounts are looked through for it.
_KEPT_PLACES, _LOOKED_UP = 8, 1_000
# Places looked at before the next block of them, while a page fills.
_BLOCK = 4_096
# What conditions are asked of, beside an account's place and its name in lower case.
_ASKED = (
    "account_id",
    "owner",
    "parent_id",
    "region",
    "tier",
    "recommendation",
    "change",
    "next_renewal",
    "last_touch",
    "is_customer",
)


class AccountSnapshot:
    """The accounts of one run, with the owners that people assigned.

    Args:
        about: The run's.
        owners: Assigned, by account.
    """

    def __init__(self, about: AccountTable, owners: Mapping[str, str]) -> None:
        self.about = about
        self.table = replace_owners(about.table, owners)
        self._ids = self.read_column("account_id")
        self._sorted = SortedIds(self._ids)
        # Several requests ask at once: each in its own thread, which is all that it takes.
        self._database = duckdb.connect(config={"memory_limit": "1GB", "threads": 1})
        # DuckDB reads the table's own memory: a copy of it would be as fast, and as large.
        asked = self.table.select(_ASKED).append_column("name_lower", pc.utf8_lower(self.read_column("name")))
        self._asked = asked.append_column("place", pa.array(np.arange(len(self.table), dtype=np.int32)))
        self._places = OrderedDict[tuple[str, ...], Places]()
        self._masks, self._sums = OrderedDict[Key, Bits](), OrderedDict[Key, AccountSums]()
        self._weights = self._build_weights()
        self._keys: dict[str, list[str | None]] = {}
        tiers, of_owners = self._build_codes("tier"), self._build_codes("owner")
        self._cells = of_owners * np.int32(len(self._keys["tier"])) + tiers
        self.orders = {name: ColumnOrder(self.read_column(name), self._ids) for name in COLUMNS}
        for order in self.orders.values():  # made now, so that nobody waits for it
            _ = order.ascending

    def read_visible(self, rows: RowFilter) -> Mask:
        """Return which accounts a reader may see; shape (n,)."""
        return self._unpack(self._ask_rows(rows))

    def list_seen(self, rows: RowFilter, places: Sequence[int | None]) -> list[int]:
        """Return those of some few places whose accounts a reader may see; None, of no account, is left out."""
        bits = self._ask_rows(rows)
        return [place for place in places if place is not None and bits[place >> 3] >> (7 - (place & 7)) & 1]

    def list_visible(self, rows: RowFilter, most: int) -> list[str] | None:
        """List the ids of the accounts that a reader may see; None where they are more than `most`."""
        places = np.flatnonzero(self.read_visible(rows))
        return self._ids.take(pa.array(places)).to_pylist() if len(places) <= most else None

    def find_matches(self, rows: RowFilter, search: str, filters: Mapping[str, Any]) -> Mask:
        """Return which accounts a reader may see and the filters let pass; shape (n,)."""
        bits = self._ask_rows(rows)
        for condition in build_conditions(filters, search, self.about.as_of):
            bits = bits & self._ask(condition)
        mask = self._unpack(bits)
        if filters.get("accounts") is not None:
            named, places = np.zeros(len(mask), np.bool_), self.find_places(filters["accounts"])
            named[places[places >= 0]] = True
            mask &= named
        return mask

    def find_place(self, account_id: str) -> int | None:
        """Return the place of an account by its id; None where there is none."""
        return self._sorted.find(account_id)

    def find_places(self, account_ids: tuple[str, ...]) -> Places:
        """Return the place of each account, -1 where there is none; the last few answers are kept. Don't change it."""
        kept = self._places.get(account_ids)
        if kept is None:
            if len(account_ids) > _LOOKED_UP:
                kept = self._sorted.find_all(list(account_ids))
            else:
                found = (self._sorted.find(account) for account in account_ids)
                kept = np.array([-1 if place is None else place for place in found], np.int32)
            self._places[account_ids] = kept
            while len(self._places) > _KEPT_PLACES:
                self._places.popitem(last=False)
        return kept

    def select_page(self, mask: Mask, order: str, after: str | None, limit: int) -> tuple[list[int], str | None]:
        """Return the places of a page's accounts, and the key that the next page begins after, if there is one.

        Raises:
            GarrisonError: There is no such order, or the key is not one of it.
        """
        column, descending = parse_order(order)
        chosen = self.orders[column]
        places: Places = chosen.read(descending=descending)
        start = chosen.find_start(after, descending=descending) if after else 0
        page: list[int] = []
        block = _BLOCK
        while start < len(places) and len(page) <= limit:
            part = places[start : start + block]
            page += part[mask[part]].tolist()
            start, block = start + block, block * 4
        more = len(page) > limit
        return page[:limit], chosen.build_key(page[limit - 1]) if more else None

    def sum_matches(self, rows: RowFilter, search: str, filters: Mapping[str, Any]) -> AccountSums:
        """Sum the matching accounts by tier and by owner."""
        parts = build_conditions(filters, search, self.about.as_of)
        key = (_build_key(Condition(rows.sql, rows.parameters)), *map(_build_key, parts), filters.get("accounts"))
        groups = self._sums.get(key)
        if groups is None:
            groups = self._sum_places(np.flatnonzero(self.find_matches(rows, search, filters)))
            self._sums[key] = groups
            while len(self._sums) > _KEPT_SUMS:
                self._sums.popitem(last=False)
        return groups

    def _sum_places(self, places: npt.NDArray[np.int64]) -> AccountSums:
        """Sum some accounts by tier and by owner in one pass over them."""
        shape = len(self._keys["owner"]), len(self._keys["tier"])
        codes = self._cells[places]
        cells = {name: np.bincount(codes, w[places], shape[0] * shape[1]) for name, w in self._weights.items()}
        cells["accounts"] = np.bincount(codes, minlength=shape[0] * shape[1]).astype(np.float64)
        by_group = {
            by: {name: cell.reshape(shape).sum(axis=axis) for name, cell in cells.items()}
            for axis, by in enumerate(("tier", "owner"))
        }
        return AccountSums(self._keys, by_group)

    def _build_weights(self) -> dict[str, npt.NDArray[np.float64]]:
        """Build what sums add up, by name; shape (n,)."""
        risk, renewal, at = self._floats("risk"), self._floats("next_renewal"), to_micros(self.about.as_of)
        weights = {
            "value": np.nan_to_num(self._floats("value")),
            "value_at_risk": np.nan_to_num(self._floats("value_at_risk")),
            "risk": np.nan_to_num(risk),
            "scored": ~np.isnan(risk),
            "worse": self._floats("change") >= WORSE,
            "renewals": (renewal >= at) & (renewal <= at + RENEWAL_DAYS * DAY),
        }
        return {name: values.astype(np.float64) for name, values in weights.items()}

    def _build_codes(self, name: str) -> npt.NDArray[np.int32]:
        """Build each account's place among a column's values, ascending, and the place after the last without one."""
        column = self.read_column(name)
        order = pc.sort_indices(column.dictionary)
        self._keys[name] = [*column.dictionary.take(order).to_pylist(), None]
        ranks = np.empty(len(order) + 1, np.int32)
        ranks[order.to_numpy()], ranks[len(order)] = np.arange(len(order)), len(order)
        codes: npt.NDArray[np.int32] = ranks[pc.fill_null(column.indices, len(order)).to_numpy()]
        return codes

    def list_values(self, column: Literal["owner", "region"]) -> list[str]:
        """List the values of a column, ascending."""
        return sorted(v for v in self.read_column(column).dictionary.to_pylist() if v)

    def read_column(self, name: str) -> pa.Array:
        """Return a column of the table in one piece; shape (n,)."""
        column = self.table[name]
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()

    def _floats(self, name: str) -> npt.NDArray[np.float64]:
        values: npt.NDArray[np.float64] = self.read_column(name).to_numpy(zero_copy_only=False)
        return values.astype(np.float64, copy=False)

    def _ask_rows(self, rows: RowFilter) -> Bits:
        """Return which accounts a reader may see; the caller must not change it."""
        return self._ask(Condition(rows.sql, tuple(rows.parameters)))

    def _ask(self, condition: Condition) -> Bits:
        """Return which accounts a condition holds for; the caller must not change it."""
        key = _build_key(condition)
        kept = self._masks.get(key)
        if kept is None:
            with self._database.cursor() as cursor:
                cursor.register("accounts", self._asked)
                query = f"SELECT place FROM accounts WHERE {condition.sql}"  # noqa: S608  # our own conditions
                places = cursor.execute(query, _as_parameters(condition.parameters)).fetchnumpy()["place"]
            mask = np.zeros(len(self.table), dtype=np.bool_)
            mask[places] = True
            kept = self._masks[key] = np.packbits(mask)
            while len(self._masks) > _KEPT:
                self._masks.popitem(last=False)
        return kept

    def _unpack(self, bits: Bits) -> Mask:
        return np.unpackbits(bits, count=len(self.table)).view(np.bool_)


def _as_parameters(values: Sequence[Any]) -> list[Any]:
    return [list(value) if isinstance(value, (tuple, set, frozenset)) else value for value in values]


def _build_key(condition: Condition) -> Key:
    """Build what a condition's answer is kept under: equal for equal conditions."""
    return condition.sql, *(tuple(p) if isinstance(p, list) else p for p in condition.parameters)

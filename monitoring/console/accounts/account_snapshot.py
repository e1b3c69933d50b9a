"""Answer from the accounts of one run: which match, which page of them, and their sums. It never changes."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.core.timestamps import DAY, to_micros
from monitoring.console.accounts.account_conditions import RENEWAL_DAYS, WORSE, Condition, build_conditions
from monitoring.console.accounts.account_table import AccountTable, replace_owners
from serving.scoring.account_order import COLUMNS, ColumnOrder, Places, parse_order

if TYPE_CHECKING:
    from monitoring.console.sign_in.access import RowFilter

Mask = npt.NDArray[np.bool_]
Key = tuple[Any, ...]
# Answers to conditions that are kept: a byte an account each.
_KEPT = 64
# Places looked at before the next block of them, while a page fills.
_BLOCK = 4_096
# What conditions are asked of.
_CREATE = """
CREATE TABLE accounts AS SELECT
    place, account_id, lower(name) AS name_lower, owner, parent_id, region, tier, recommendation, change, next_renewal,
    last_touch, is_customer
FROM given
"""


@dataclass(frozen=True)
class AccountSum:
    """Figures of some accounts.

    Args:
        key: Tier or owner; None for those without.
        accounts: Their number.
        value: Money that they bring in `value_days`.
        value_at_risk: Money.
        risk: Mean of those that have one; None where none has.
        scored: Number of those.
        worse: Those whose risk rose by `account_conditions.WORSE` or more.
        renewals: Those whose term ends in the next `RENEWAL_DAYS`.
    """

    key: str | None
    accounts: int
    value: float
    value_at_risk: float
    risk: float | None
    scored: int
    worse: int
    renewals: int

    @classmethod
    def add(cls, groups: Sequence[AccountSum]) -> AccountSum:
        """Add groups that share no account up."""
        scored = sum(g.scored for g in groups)
        risk = sum((g.risk or 0.0) * g.scored for g in groups) / scored if scored else None
        value, at_risk = sum(g.value for g in groups), sum(g.value_at_risk for g in groups)
        numbers = (sum(g.worse for g in groups), sum(g.renewals for g in groups))
        return cls(None, sum(g.accounts for g in groups), value, at_risk, risk, scored, *numbers)


class AccountSnapshot:
    """The accounts of one run, with the owners that people assigned.

    Args:
        about: The run's.
        owners: Assigned, by account.
    """

    def __init__(self, about: AccountTable, owners: Mapping[str, str]) -> None:
        self.about = about
        self.table = replace_owners(about.table, owners)
        self._ids = self._read("account_id")
        self._database = duckdb.connect(config={"memory_limit": "1GB"})
        places = pa.array(np.arange(len(self.table), dtype=np.int32))
        self._database.register("given", self.table.append_column("place", places))
        self._database.execute(_CREATE)
        self._database.unregister("given")
        self._masks, self._sums = OrderedDict[Key, Mask](), OrderedDict[Key, list[AccountSum]]()
        self._weights = self._build_weights()
        self._codes = {name: self._build_codes(name) for name in ("tier", "owner")}
        self.orders = {name: ColumnOrder(self._read(name), self._ids) for name in COLUMNS}
        for order in self.orders.values():  # made now, so that nobody waits for it
            _ = order.ascending

    def find_visible(self, rows: RowFilter) -> Mask:
        """Return which accounts a reader may see; shape (n,)."""
        return self._ask(Condition(rows.sql, tuple(rows.parameters)))

    def list_visible(self, rows: RowFilter, most: int) -> list[str] | None:
        """List the ids of the accounts that a reader may see; None where they are more than `most`."""
        places = np.flatnonzero(self.find_visible(rows))
        return self._ids.take(pa.array(places)).to_pylist() if len(places) <= most else None

    def find_matches(self, rows: RowFilter, search: str, filters: Mapping[str, Any]) -> Mask:
        """Return which accounts a reader may see and the filters let pass; shape (n,)."""
        mask = self.find_visible(rows)
        for condition in build_conditions(filters, search, self.about.as_of):
            mask &= self._ask(condition)
        return mask

    def find_place(self, account_id: str) -> int | None:
        """Return the place of an account by its id; None where there is none."""
        place = bisect_left(range(len(self._ids)), account_id, key=lambda n: self._ids[n].as_py())
        return place if place < len(self._ids) and self._ids[place].as_py() == account_id else None

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

    def sum_matches(
        self, rows: RowFilter, search: str, filters: Mapping[str, Any], by: Literal["tier", "owner"]
    ) -> list[AccountSum]:
        """Sum the matching accounts: by tier in their order, or by owner with the most at risk first."""
        parts = build_conditions(filters, search, self.about.as_of)
        key = (by, _build_key(Condition(rows.sql, rows.parameters)), *map(_build_key, parts))
        groups = self._sums.get(key)
        if groups is None:
            groups = self._sum_places(np.flatnonzero(self.find_matches(rows, search, filters)), by)
            self._sums[key] = groups
            while len(self._sums) > _KEPT:
                self._sums.popitem(last=False)
        return groups

    def _sum_places(self, places: npt.NDArray[np.int64], by: Literal["tier", "owner"]) -> list[AccountSum]:
        column = self._read(by)
        keys = [*column.dictionary.to_pylist(), None]
        codes = self._codes[by][places]
        sums = {name: np.bincount(codes, w[places], minlength=len(keys)) for name, w in self._weights.items()}
        numbers = np.bincount(codes, minlength=len(keys))
        groups = [
            AccountSum(
                key,
                int(numbers[n]),
                float(sums["value"][n]),
                float(sums["value_at_risk"][n]),
                float(sums["risk"][n] / sums["scored"][n]) if sums["scored"][n] else None,
                int(sums["scored"][n]),
                int(sums["worse"][n]),
                int(sums["renewals"][n]),
            )
            for n, key in enumerate(keys)
            if numbers[n]
        ]
        return sorted(groups, key=lambda g: (g.key is None, g.key) if by == "tier" else (-g.value_at_risk, g.key or ""))

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
        """Build each account's place in a column's dictionary, and the place after the last for those without."""
        column = self._read(name)
        codes: npt.NDArray[np.int32] = pc.fill_null(column.indices, len(column.dictionary)).to_numpy()
        return codes

    def list_values(self, column: Literal["owner", "region"]) -> list[str]:
        """List the values of a column, ascending."""
        return sorted(v for v in self._read(column).dictionary.to_pylist() if v)

    def _read(self, name: str) -> pa.Array:
        column = self.table[name]
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()

    def _floats(self, name: str) -> npt.NDArray[np.float64]:
        values: npt.NDArray[np.float64] = self._read(name).to_numpy(zero_copy_only=False)
        return values.astype(np.float64, copy=False)

    def _ask(self, condition: Condition) -> Mask:
        """Return which accounts a condition holds for; a copy that the caller may change."""
        key = _build_key(condition)
        kept = self._masks.get(key)
        if kept is None:
            with self._database.cursor() as cursor:
                query = f"SELECT place FROM accounts WHERE {condition.sql}"  # noqa: S608  # our own conditions
                places = cursor.execute(query, _as_parameters(condition.parameters)).fetchnumpy()["place"]
            kept = np.zeros(len(self.table), dtype=np.bool_)
            kept[places] = True
            self._masks[key] = kept
            while len(self._masks) > _KEPT:
                self._masks.popitem(last=False)
        return kept.copy()


def _as_parameters(values: Sequence[Any]) -> list[Any]:
    return [list(value) if isinstance(value, (tuple, set, frozenset)) else value for value in values]


def _build_key(condition: Condition) -> Key:
    """Build what a condition's answer is kept under: equal for equal conditions."""
    return condition.sql, *(tuple(p) if isinstance(p, list) else p for p in condition.parameters)

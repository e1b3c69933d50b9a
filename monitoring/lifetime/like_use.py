"""Measure what the accounts that are like one use and buy."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from features.core.timestamps import DAY
from monitoring.lifetime.like_accounts import LikeAccountFinder, LikeAccounts

if TYPE_CHECKING:
    from monitoring.lifetime.account_tables import AccountTables

USED_DAYS, BOUGHT_DAYS = 90, 365
# Accounts whose measures are kept.
_MOST = 5_000


@dataclass(frozen=True)
class LikeUse:
    """What like accounts use and buy.

    Args:
        like: The accounts; None where nothing is known of that.
        of: Their number.
        shares: By feature of the product, its share of their use in 90 days.
        features: By feature, how many of them used it in 90 days.
        products: By product, how many of them bought it in a year, or have a term of it in force.
    """

    like: LikeAccounts | None = None
    of: int = 0
    shares: Mapping[str, float] = field(default_factory=dict)
    features: Mapping[str, int] = field(default_factory=dict)
    products: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Amounts:
    """What each account used or bought, by name.

    Args:
        accounts: (n,) `account_no`, ascending.
        codes: (n,) places of names.
        amounts: (n,) how much of it.
        names: Ascending.
    """

    accounts: npt.NDArray[np.int64]
    codes: npt.NDArray[np.int64]
    amounts: npt.NDArray[np.float64]
    names: tuple[str, ...]

    @classmethod
    def read(cls, tables: AccountTables, sql: str) -> Self:
        """Read the rows of a query that returns `account_no`, `name` and `amount` by account, then name."""
        rows = tables.cursor.sql(sql).to_arrow_table().combine_chunks()
        names = pc.unique(rows["name"]).sort()
        codes = pc.index_in(rows["name"], names).to_numpy().astype(np.int64)
        return cls(rows["account_no"].to_numpy(), codes, rows["amount"].to_numpy(), tuple(names.to_pylist()))

    def sum_of(self, numbers: Sequence[int]) -> tuple[dict[str, float], dict[str, int]]:
        """Sum the amounts of some accounts, and count these accounts, by each name that any of them has."""
        firsts, lasts = np.searchsorted(self.accounts, numbers), np.searchsorted(self.accounts, numbers, "right")
        places = np.concatenate([np.arange(first, last) for first, last in zip(firsts, lasts, strict=True)])
        counts = np.bincount(self.codes[places], minlength=len(self.names))
        sums = np.bincount(self.codes[places], self.amounts[places], len(self.names))
        had = np.flatnonzero(counts).tolist()
        return {self.names[n]: float(sums[n]) for n in had}, {self.names[n]: int(counts[n]) for n in had}


@dataclass(frozen=True)
class _CompanyUse:
    """What all accounts used and bought at an instant.

    Args:
        numbers: `account_no` of those that accounts are compared with, by id.
        used: Features of the product; None where use is not known.
        bought: Products; None without purchases.
    """

    numbers: Mapping[str, int]
    used: _Amounts | None
    bought: _Amounts | None

    @classmethod
    def read(cls, tables: AccountTables, account_ids: list[str], at: int) -> Self:
        """Read it from the tables of all accounts."""
        numbers = tables.run.lookup.find_numbers(account_ids)
        return cls(numbers, _read_used(tables, at), _read_bought(tables, at))

    def sum_of(self, like: LikeAccounts | None) -> LikeUse:
        """Sum what like accounts used and bought."""
        numbers = (
            sorted(self.numbers[account] for account in like.account_ids if account in self.numbers) if like else []
        )
        if not numbers:
            return LikeUse(like)
        amounts, features = self.used.sum_of(numbers) if self.used else ({}, {})
        total = sum(amounts.values()) or 1.0
        shares = {feature: amount / total for feature, amount in amounts.items()}
        return LikeUse(like, len(numbers), shares, features, self.bought.sum_of(numbers)[1] if self.bought else {})


class LikeAccountUse:
    """Measures the use of like accounts of a run, once for each account; several threads may ask at once.

    What all accounts used and bought is read when it is first asked for: fifty accounts' rows lie all over the tables,
    so that a query for them looks through most of these.

    Args:
        finder: Of the run; None where nothing is known of what accounts are like.
    """

    def __init__(self, finder: LikeAccountFinder | None) -> None:
        self._finder, self._lock = finder, threading.Lock()
        self._kept: OrderedDict[tuple[str, int], LikeUse] = OrderedDict()
        self._read: tuple[int, _CompanyUse] | None = None

    def measure(self, tables: AccountTables, at: int) -> LikeUse:
        """Measure what the accounts that are most like one use and buy.

        Args:
            tables: The account's rows.
            at: The instant to look back from (µs), that of the newest scores.
        """
        key = (tables.account_id, at)
        with self._lock:
            if (kept := self._kept.get(key)) is not None:
                return kept
            if self._finder is None:
                return LikeUse()
            if self._read is None or self._read[0] != at:
                self._read = at, _CompanyUse.read(tables, self._finder.list_compared(), at)
            of_company = self._read[1]
        use = of_company.sum_of(self._finder.find(tables.account_id))
        with self._lock:
            self._kept[key] = use
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return use


def _read_used(tables: AccountTables, at: int) -> _Amounts | None:
    """Read how much each account used each feature of the product; None where use is not known."""
    if "usage" not in tables.tables:
        return None
    sql = f"""
        SELECT account_no, feature AS name, sum(coalesce("count", 1))::DOUBLE AS amount FROM usage
        WHERE feature IS NOT NULL AND used_at < {at} AND used_at >= {at - USED_DAYS * DAY}
        GROUP BY account_no, feature ORDER BY account_no, feature
    """  # noqa: S608  # numbers
    return _Amounts.read(tables, sql)


def _read_bought(tables: AccountTables, at: int) -> _Amounts | None:
    """Read which products each account bought in a year, or has a term of in force; None without purchases."""
    if "purchases" not in tables.tables:
        return None
    sql = f"""
        SELECT account_no, product AS name, 1.0::DOUBLE AS amount FROM purchases
        WHERE product IS NOT NULL AND amount > 0 AND purchased_at < {at}
            AND (purchased_at >= {at - BOUGHT_DAYS * DAY} OR term_ends_at >= {at})
        GROUP BY account_no, product ORDER BY account_no, product
    """  # noqa: S608  # numbers
    return _Amounts.read(tables, sql)

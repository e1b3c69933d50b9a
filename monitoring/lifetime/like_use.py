"""Measure what the accounts that are like one use and buy."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

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


class LikeAccountUse:
    """Measures the use of like accounts of a run, once for each account; several threads may ask at once.

    Args:
        finder: Of the run; None where nothing is known of what accounts are like.
    """

    def __init__(self, finder: LikeAccountFinder | None) -> None:
        self._finder, self._lock = finder, threading.Lock()
        self._kept: OrderedDict[tuple[str, int], LikeUse] = OrderedDict()

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
        use = _measure(tables, self._finder.find(tables.account_id) if self._finder else None, at)
        with self._lock:
            self._kept[key] = use
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return use


def _measure(tables: AccountTables, like: LikeAccounts | None, at: int) -> LikeUse:
    numbers = _find_numbers(tables, like)
    if not numbers:
        return LikeUse(like)
    shares, features = _measure_use(tables, numbers, at) if "usage" in tables.tables else ({}, {})
    products = _count_products(tables, numbers, at) if "purchases" in tables.tables else {}
    return LikeUse(like, len(numbers), shares, features, products)


def _find_numbers(tables: AccountTables, like: LikeAccounts | None) -> list[int]:
    """Find the places of the like accounts in the tables."""
    if like is None or not like.account_ids:
        return []
    found = (tables.run.lookup.find_number(account) for account in like.account_ids)
    return sorted(number for number in found if number is not None)


def _measure_use(tables: AccountTables, numbers: Sequence[int], at: int) -> tuple[dict[str, float], dict[str, int]]:
    """Measure which share of like accounts' use each feature is, and how many of them use it."""
    sql = f"""
        SELECT feature, sum(coalesce("count", 1))::DOUBLE AS n, count(DISTINCT account_no) AS accounts FROM usage
        WHERE account_no IN ({_list(numbers)}) AND feature IS NOT NULL AND used_at < $at
            AND used_at >= $at - {USED_DAYS * DAY} GROUP BY feature ORDER BY feature
    """  # noqa: S608  # numbers
    rows = tables.query_company(sql, at=at)
    total = sum(row["n"] for row in rows) or 1.0
    return {row["feature"]: row["n"] / total for row in rows}, {row["feature"]: row["accounts"] for row in rows}


def _count_products(tables: AccountTables, numbers: Sequence[int], at: int) -> dict[str, int]:
    """Count how many of the like accounts bought each product in a year, or have a term of it in force."""
    sql = f"""
        SELECT product, count(DISTINCT account_no) AS accounts FROM purchases
        WHERE account_no IN ({_list(numbers)}) AND product IS NOT NULL AND amount > 0 AND purchased_at < $at
            AND (purchased_at >= $at - {BOUGHT_DAYS * DAY} OR term_ends_at >= $at) GROUP BY product ORDER BY product
    """  # noqa: S608  # numbers
    return {row["product"]: row["accounts"] for row in tables.query_company(sql, at=at)}


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))

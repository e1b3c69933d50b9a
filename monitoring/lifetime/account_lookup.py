"""Find accounts of the company's tables by their ids, their parents and their children, without a query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.core.sorted_ids import SortedIds

Places = npt.NDArray[np.int32]
_SQL = "SELECT account_id, account_no, parent_id, merged_into FROM accounts ORDER BY account_id"
# A chain of merges or parents is followed so far: a longer one, or one that bites its tail, is a fault of the data.
_LONGEST = 20


@dataclass(frozen=True)
class AccountLookup:
    """All accounts of the tables, in the order of their ids.

    Args:
        ids: Of the accounts.
        numbers: (n,) `account_no`.
        parents: (n,) place of the parent; -1 without one, or where it is no account.
        survivors: (n,) place of the account that this one became a part of; -1 where it did not.
        by_parent: Places of accounts with a parent that were not merged, by that parent and then by id.
        of_parents: Their parents' places, ascending.
    """

    ids: SortedIds
    numbers: Places
    parents: Places
    survivors: Places
    by_parent: Places
    of_parents: Places

    @classmethod
    def read(cls, cursor: duckdb.DuckDBPyConnection) -> Self:
        """Read them: a second or less for 1,000,000."""
        table = cursor.sql(_SQL).to_arrow_table().combine_chunks()
        ids = SortedIds(table["account_id"].combine_chunks())
        parents, survivors = (_find(ids, table[name].combine_chunks()) for name in ("parent_id", "merged_into"))
        children = np.flatnonzero((parents >= 0) & table["merged_into"].is_null().to_numpy()).astype(np.int32)
        by_parent = children[np.argsort(parents[children], kind="stable")]
        numbers = table["account_no"].to_numpy().astype(np.int32)
        return cls(ids, numbers, parents, survivors, by_parent, parents[by_parent])

    def find_number(self, account_id: str) -> int | None:
        """Return the `account_no` of an account; None where there is none."""
        place = self.ids.find(account_id)
        return None if place is None else int(self.numbers[place])

    def find_numbers(self, account_ids: list[str]) -> dict[str, int]:
        """Return the `account_no` of each of many accounts; those that are none are left out."""
        places = self.ids.find_all(account_ids)
        found = zip(account_ids, places.tolist(), self.numbers[places].tolist(), strict=True)
        return {account: number for account, place, number in found if place >= 0}

    def list_parents(self, account_id: str, most: int) -> list[int]:
        """Return the `account_no` of the parent, of its parent, and so on."""
        found, place = list[int](), self.ids.find(account_id)
        while place is not None and len(found) < most and (place := int(self.parents[place])) >= 0:
            if place in found:
                break
            found.append(place)
        return self.numbers[found].tolist()

    def list_children(self, account_id: str, most: int) -> list[int]:
        """Return the `account_no` of the accounts whose parent this one is, by id."""
        place = self.ids.find(account_id)
        if place is None:
            return []
        first, last = np.searchsorted(self.of_parents, np.array([place, place + 1], np.int32))
        return self.numbers[self.by_parent[first : min(last, first + most)]].tolist()

    def find_survivor(self, account_id: str) -> str | None:
        """Return the account that another one became a part of, or else the account itself; None if it is none."""
        place = self.ids.find(account_id)
        if place is None:
            return None
        seen = [place]
        while (following := int(self.survivors[seen[-1]])) >= 0 and following not in seen and len(seen) <= _LONGEST:
            seen.append(following)
        return str(self.ids.ids[seen[-1]].as_py())


def _find(ids: SortedIds, names: pa.Array) -> Places:
    """Return the place of each named account; -1 where none is named, or there is no such account; shape (n,)."""
    places = np.full(len(names), -1, np.int32)
    named = np.flatnonzero(names.is_valid().to_numpy(zero_copy_only=False))
    if len(named):
        places[named] = ids.find_all(names.take(pa.array(named)).to_pylist())
    return places

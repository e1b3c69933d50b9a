"""Attributes of accounts at several instants: of each account the version in force, or its one undated record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from features.sources.history import History


@dataclass(frozen=True)
class AttributeVersions:
    """The attributes of n accounts at k instants.

    Args:
        rows: The records that are looked up: versions, or the accounts themselves where nothing is dated.
        places: (k, n) the row of each account at each instant, -1 where none is in force; None where every account
            has its own row at all instants.
    """

    rows: pa.Table
    places: np.ndarray | None

    @classmethod
    def read(cls, history: History, accounts: pa.Table, as_ofs: np.ndarray, first: int) -> Self:
        """Read the attributes of some accounts.

        Args:
            history: Of the company.
            accounts: n of them, in the order of their numbers.
            as_ofs: (k,) instants in µs.
            first: The number of the first account.
        """
        if not history.dated:
            return cls(accounts, None)
        rows = history.read_versions(first, first + accounts.num_rows - 1)
        account, since, until = (rows[name].to_numpy() for name in ("account_no", "since", "until"))
        places = np.full((len(as_ofs), accounts.num_rows), -1)
        for k, as_of in enumerate(as_ofs):
            in_force = np.flatnonzero((since <= as_of) & (until > as_of))
            places[k, account[in_force] - first] = in_force
        return cls(rows, places)

    def numbers(self, name: str) -> np.ndarray:
        """Return a numeric attribute: (k, n) float64, or (1, n) where nothing is dated; NaN where it is not known."""
        values = to_floats(self.rows[name])
        # The place of none in force, -1, is that of the NaN behind the others.
        return values[None, :] if self.places is None else np.append(values, np.nan)[self.places]

    def texts(self, name: str, k: int) -> pa.ChunkedArray:
        """Return a text attribute at the instant with the index `k`: n values, null where it is not known."""
        if self.places is None:
            return self.rows[name]
        return self.rows[name].take(pa.array(self.places[k], mask=self.places[k] < 0))


def to_floats(column: pa.ChunkedArray) -> np.ndarray:
    """Convert a column of numbers or flags to float64, nulls to NaN."""
    return column.cast(pa.float64(), safe=False).to_numpy()

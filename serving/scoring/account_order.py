"""Put accounts in the order of any column, and find the place of a key in it: pages begin there, never at a number."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.core.errors import GarrisonError

Places = npt.NDArray[np.int32]
# Columns that accounts can be put in the order of.
COLUMNS = (
    "name",
    "account_id",
    "tier",
    "owner",
    "region",
    "risk",
    "change",
    "value",
    "value_at_risk",
    "next_renewal",
    "last_touch",
    "recommendation",
    "upsell",
)


class ColumnOrder:
    """The order of accounts by one column: its values ascending, accounts of the same value by id, those without last.

    Descending is that order backwards, but for the accounts without a value, which stay last.

    Args:
        values: Of the column, in the order of ids; text is compared in lower case.
        ids: Of the accounts, ascending.
    """

    def __init__(self, values: pa.Array, ids: pa.Array) -> None:
        self._values, self._is_text = values, True
        if pa.types.is_dictionary(values.type):
            self._values = pa.DictionaryArray.from_arrays(values.indices, pc.utf8_lower(values.dictionary))
        elif pa.types.is_string(values.type):
            self._values = pc.utf8_lower(values)
        else:
            self._is_text = False
        self._ids = ids
        self.known = len(values) - values.null_count

    @cached_property
    def ascending(self) -> Places:
        """Return the places of the accounts in ascending order; shape (n,)."""
        values = self._values
        if self._is_text:  # sorts each text once
            values = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
            ranks = pc.rank(values.dictionary, tiebreaker="dense").cast(pa.int64())
            values = ranks.take(values.indices)
        return pc.sort_indices(values).to_numpy().astype(np.int32)

    @cached_property
    def descending(self) -> Places:
        """Return the places of the accounts in descending order; shape (n,)."""
        return np.concatenate([self.ascending[: self.known][::-1], self.ascending[self.known :]])

    def read(self, *, descending: bool) -> Places:
        """Return the places of the accounts in one direction; shape (n,)."""
        return self.descending if descending else self.ascending

    def build_key(self, place: int) -> str:
        """Return the key of the account at a place: its value and its id, as text for an address."""
        plain = json.dumps([self._values[place].as_py(), self._ids[place].as_py()], ensure_ascii=False)
        return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")

    def find_start(self, key: str, *, descending: bool) -> int:
        """Find how many accounts come no later than a key, whether or not there still is an account with it.

        Raises:
            GarrisonError: It is no key of this order.
        """
        value, account_id = self._read_key(key)
        first, last = (self.known, len(self._ids)) if value is None else (0, self.known)
        is_backward = descending and value is not None
        places = self.ascending[first:last][::-1] if is_backward else self.ascending[first:last]
        low, high = 0, len(places)
        while low < high:
            middle = (low + high) // 2
            place = int(places[middle])
            other = (self._values[place].as_py(), self._ids[place].as_py())
            if value is None:
                is_later = other[1] > account_id
            else:
                is_later = other < (value, account_id) if is_backward else other > (value, account_id)
            low, high = (low, middle) if is_later else (middle + 1, high)
        return first + low

    def _read_key(self, key: str) -> tuple[Any, str]:
        try:
            value, account_id = json.loads(base64.urlsafe_b64decode(key + "=" * (-len(key) % 4)))
            is_right = value is None or isinstance(value, str) == self._is_text
            if not is_right or not isinstance(account_id, str) or not isinstance(value, (str, int, float, type(None))):
                raise ValueError  # noqa: TRY301  # as if it could not be decoded
        except (ValueError, TypeError):
            raise GarrisonError("this is not where a page begins", hint="Begin at the first page") from None
        return value, account_id


def parse_order(order: str, columns: Sequence[str] = COLUMNS) -> tuple[str, bool]:
    """Return the column of an order, and whether it is descending: `-risk` is.

    Args:
        order: A column, with - in front for descending.
        columns: That accounts can be put in the order of.

    Raises:
        GarrisonError: There is no such column.
    """
    column = order.removeprefix("-")
    if column not in columns:
        hint = f"One of {', '.join(columns)}; with - in front for descending"
        raise GarrisonError(f"accounts have no order {order[:40]!r}", hint=hint)
    return column, order.startswith("-")

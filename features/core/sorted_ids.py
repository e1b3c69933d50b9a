"""Find the place of an id among many that are sorted, in microseconds and without a dictionary of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


class SortedIds:
    """Ids in ascending order of their UTF-8 bytes, which is that of their characters.

    Args:
        ids: (n,) text, without nulls, sorted.

    Examples:
        >>> ids = SortedIds(pa.array(["A1", "A2", "B"]))
        >>> ids.find("B"), ids.find("A3")
        (2, None)
        >>> ids.find_all(["B", "nobody", "A1"]).tolist()
        [2, -1, 0]
    """

    def __init__(self, ids: pa.Array) -> None:
        self.ids = ids.cast(pa.large_string())
        _, offsets, text = self.ids.buffers()
        self._offsets = memoryview(offsets).cast("q")[self.ids.offset : self.ids.offset + len(ids) + 1]
        self._text = memoryview(text if text is not None else b"").cast("B")

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, account_id: str) -> int | None:
        """Return the place of an id; None where there is none."""
        wanted, offsets, text = account_id.encode("utf-8", "replace"), self._offsets, self._text
        low, high = 0, len(self.ids)
        while low < high:
            middle = (low + high) // 2
            if bytes(text[offsets[middle] : offsets[middle + 1]]) < wanted:
                low = middle + 1
            else:
                high = middle
        is_found = low < len(self.ids) and bytes(text[offsets[low] : offsets[low + 1]]) == wanted
        return low if is_found else None

    def find_all(self, account_ids: list[str]) -> npt.NDArray[np.int32]:
        """Return the place of each id, -1 where there is none; they may repeat."""
        # The few are hashed, and the many looked up among them, in Arrow's own code.
        wanted = pa.array(account_ids, pa.large_string())
        few = wanted.unique()
        among = pc.index_in(self.ids, value_set=few)
        places = np.flatnonzero(among.is_valid().to_numpy(zero_copy_only=False))
        found = np.full(len(few), -1, np.int32)
        found[among.take(pa.array(places)).to_numpy()] = places
        of_wanted: npt.NDArray[np.int32] = found[pc.index_in(wanted, value_set=few).to_numpy(zero_copy_only=False)]
        return of_wanted

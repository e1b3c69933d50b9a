"""Find accounts that are like one: by tier, by what describes them, and by their size and use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from features.core.sorted_ids import SortedIds
from features.settings import Settings
from serving.scoring import score_table, snapshot_store
from serving.scoring.snapshot_store import StoredSnapshot

# Of a snapshot: what accounts are compared by, as far as it has them, and in which words.
TEXTS: Mapping[str, str] = {"industry": "industry", "size": "size", "plan": "plan"}
NUMBERS: Mapping[str, str] = {
    "seats": "seats",
    "recurring_revenue_year": "revenue",
    "spend_365d": "spend",
    "usage_events_90d": "usage",
    "users_90d": "people",
    "tenure_days": "time with us",
}
NEAREST = 50
# The nearest are sought among so many customers, spread evenly over all: what it costs does not grow with a company.
MOST_COMPARED = 50_000


@dataclass(frozen=True)
class LikeAccounts:
    """The accounts that are most like one.

    Args:
        account_ids: The nearest first, at most fifty.
        among: Customers that they were chosen from.
        compared_by: English words for what was compared.
    """

    account_ids: tuple[str, ...]
    among: int
    compared_by: tuple[str, ...]


@dataclass(frozen=True)
class LikeAccountFinder:
    """All accounts of a run as points: a standard deviation of a number counts as 1, and so does a text that differs.

    Args:
        account_ids: (n,) ascending.
        numbers: Columns of (n,) float32, standardised logarithms; 0 where not known.
        codes: Columns of (n,) int32.
        compared: (m,) places of the customers that accounts are compared with, ascending.
        compared_by: English words.
    """

    account_ids: SortedIds
    numbers: Sequence[npt.NDArray[np.float32]]
    codes: Sequence[npt.NDArray[np.int32]]
    compared: npt.NDArray[np.int64]
    compared_by: tuple[str, ...]

    @cached_property
    def _columns_compared(self) -> tuple[list[npt.NDArray[np.float32]], list[npt.NDArray[np.int32]]]:
        """Return numbers and codes of those alone, each in one piece."""
        return [column[self.compared] for column in self.numbers], [column[self.compared] for column in self.codes]

    @classmethod
    def read(cls, settings: Settings, file: Path) -> Self | None:
        """Read the snapshot and the tiers of a run; None where it is gone, or nothing describes accounts.

        Args:
            settings: The company's.
            file: The run's score table.

        Raises:
            GarrisonError: The snapshot can't be read.
        """
        snapshot_file = snapshot_store.find_stored(settings, score_table.parse_instant(file))
        if snapshot_file is None:
            return None
        snapshot = StoredSnapshot.read(snapshot_file, {*TEXTS, *NUMBERS})
        frame, customers = snapshot.frame, snapshot.in_cohort.get("churn", np.ones(len(snapshot.frame), bool))
        if not frame["account_id"].is_monotonic_increasing:
            order = np.argsort(frame["account_id"].to_numpy(dtype=object), kind="stable")
            frame, customers = frame.iloc[order], np.asarray(customers)[order]
        ids = frame["account_id"].to_numpy(dtype=object)
        numbers, texts, words = list[npt.NDArray[np.float32]](), list[npt.NDArray[np.int32]](), list[str]()
        tiers = _read_tiers(file, ids)
        if tiers is not None:
            texts.append(tiers)
            words.append("tier")
        for name, word in TEXTS.items():
            if name in frame:
                texts.append(np.unique(frame[name].astype(str), return_inverse=True)[1].astype(np.int32))
                words.append(word)
        for name, word in NUMBERS.items():
            if name in frame and frame[name].notna().any():
                numbers.append(_standardise(frame[name].to_numpy(dtype="float64", na_value=np.nan)))
                words.append(word)
        if not numbers and not texts:
            return None
        compared = np.flatnonzero(customers)
        if len(compared) > MOST_COMPARED:
            compared = compared[np.arange(MOST_COMPARED) * len(compared) // MOST_COMPARED]
        return cls(SortedIds(pa.array(ids, pa.string())), numbers, texts, compared, tuple(words))

    def list_compared(self) -> list[str]:
        """Return the ids of all that accounts are compared with."""
        ids: list[str] = self.account_ids.ids.take(pa.array(self.compared)).to_pylist()
        return ids

    def find(self, account_id: str) -> LikeAccounts | None:
        """Find the accounts that are most like one; None where the snapshot does not have it."""
        own = self.account_ids.find(account_id)
        if own is None:
            return None
        # Column by column: sums along rows of a few cells take several times as long.
        numbers, codes = self._columns_compared
        distances = np.zeros(len(self.compared), np.float32)
        for of_all, column in zip(self.numbers, numbers, strict=True):
            distances += (column - of_all[own]) ** 2
        for all_codes, some in zip(self.codes, codes, strict=True):
            distances += some != all_codes[own]
        distances[self.compared == own] = np.inf
        among = int(np.isfinite(distances).sum())
        most = min(NEAREST, among)
        # Ties are broken by place, so that the same accounts are found each time.
        nearest = np.argpartition(distances, most - 1)[:most] if most else np.array([], int)
        order = nearest[np.lexsort((nearest, distances[nearest]))]
        chosen = self.account_ids.ids.take(pa.array(self.compared[order]))
        return LikeAccounts(tuple(chosen.to_pylist()), among, self.compared_by)


def _standardise(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    logarithms = np.log1p(np.clip(values, 0, None))
    spread = np.nanstd(logarithms) or 1.0
    scaled: npt.NDArray[np.float32] = np.nan_to_num((logarithms - np.nanmean(logarithms)) / spread).astype(np.float32)
    return scaled


def _read_tiers(file: Path, account_ids: npt.NDArray[np.object_]) -> npt.NDArray[np.int32] | None:
    """Return each account's tier as a number; None where the run has no tiers."""
    if "tier" not in pq.read_schema(file).names:
        return None
    rows = pq.read_table(file, columns=["account_id", "tier"], partitioning=None).to_pandas()
    tiers = rows.set_index("account_id")["tier"].reindex(account_ids).astype(str)
    codes: npt.NDArray[np.int32] = np.unique(tiers, return_inverse=True)[1].astype(np.int32)
    return codes

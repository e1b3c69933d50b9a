"""Measures how many accounts two rankings share at their top: the twenty first, and the first tenth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TOP = 20  # as many as one looks through at once
_TENTH = 10


@dataclass(frozen=True)
class TopOverlap:
    """The accounts that the tops of two rankings of the same accounts share.

    Args:
        accounts: In both rankings.
        top: Length of the top list: 20, or all accounts if there are fewer.
        shared: Of these in both.
        tenth: Number of accounts in the highest tenth, at least one.
        tenth_shared: Of these in both.
    """

    accounts: int
    top: int
    shared: int
    tenth: int
    tenth_shared: int

    @property
    def share(self) -> float:
        """Return the share of the top list that is in both, 0 to 1."""
        return self.shared / self.top

    @property
    def tenth_share(self) -> float:
        """Return the share of the highest tenth that is in both, 0 to 1."""
        return self.tenth_shared / self.tenth

    def as_dict(self) -> dict[str, float]:
        """Return the JSON fields."""
        return {**vars(self), "share": self.share, "tenth_share": self.tenth_share}


def compute_top_overlap(accounts: np.ndarray, a: np.ndarray, b: np.ndarray) -> TopOverlap:
    """Compare the tops of two rankings.

    Args:
        accounts: (n,) ids, n > 0, each once; they decide between equal scores.
        a: (n,) scores.
        b: (n,) scores.

    Examples:
        >>> compute_top_overlap(np.arange(40), np.arange(40.0), np.roll(np.arange(40.0), 5)).share
        0.75
    """
    top, tenth = min(TOP, len(accounts)), max(1, len(accounts) // _TENTH)
    orders = [np.lexsort((accounts, -scores)) for scores in (a, b)]
    shared, tenth_shared = (len(set(orders[0][:n]) & set(orders[1][:n])) for n in (top, tenth))
    return TopOverlap(len(accounts), top, shared, tenth, tenth_shared)

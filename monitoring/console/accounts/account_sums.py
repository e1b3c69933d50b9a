"""Hold the sums of some accounts by tier and by owner: figures are built of the groups that are asked for alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

By = Literal["tier", "owner"]


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


@dataclass(frozen=True)
class AccountSums:
    """Sums of some accounts.

    Args:
        keys: Tiers and owners that there are, ascending, and None at last, by kind of group.
        sums: (k,) of each figure of `AccountSum`, by kind of group and by its name.
    """

    keys: Mapping[str, Sequence[str | None]]
    sums: Mapping[str, Mapping[str, npt.NDArray[np.float64]]]

    def count_groups(self, by: By) -> int:
        """Return how many groups have an account."""
        return int(np.count_nonzero(self.sums[by]["accounts"]))

    def list_groups(self, by: By, most: int | None = None) -> list[AccountSum]:
        """List the groups that have an account: tiers in their order, owners with the most at risk first.

        Args:
            by: What is summed by.
            most: Of the first; None for all.
        """
        places = np.flatnonzero(self.sums[by]["accounts"])
        if by == "owner":
            places = places[np.argsort(-self.sums[by]["value_at_risk"][places], kind="stable")]
        return [self._build(by, n) for n in places[:most].tolist()]

    def _build(self, by: By, place: int) -> AccountSum:
        sums = {name: float(values[place]) for name, values in self.sums[by].items()}
        return AccountSum(
            self.keys[by][place],
            int(sums["accounts"]),
            sums["value"],
            sums["value_at_risk"],
            sums["risk"] / sums["scored"] if sums["scored"] else None,
            int(sums["scored"]),
            int(sums["worse"]),
            int(sums["renewals"]),
        )

"""The standing holdout: leave some accounts without alerts by lot, and estimate with an interval what alerts saved."""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from scipy.stats import binomtest

from features.core.errors import GarrisonError

Group = Literal["treated", "holdout"]


def assign_group(account_id: str, *, experiment: str, share: float) -> Group:
    """Assign the account to a group by a keyed hash, so that it is the same in every run and on every machine.

    A larger share only adds accounts to the holdout, and another experiment draws anew.

    Args:
        account_id: Of the account.
        experiment: Name of the experiment, the key of the hash.
        share: Of accounts held out, 0 <= share <= 1.
    """
    if not 0 <= share <= 1:
        raise GarrisonError("the holdout's share must lie between 0 and 1", found=str(share), hint="Give e.g. 0.1")
    digest = hashlib.blake2b(account_id.encode(), key=hashlib.sha256(experiment.encode()).digest(), digest_size=8)
    return "holdout" if int.from_bytes(digest.digest(), "big") < share * 2**64 else "treated"


@dataclass(frozen=True)
class HoldoutEffect:
    """The effect of alerts on retention, over episodes of accounts that were drawn by lot.

    Args:
        treated: Accounts alerted on, and of these retained.
        holdout: Accounts left without alerts, and of these retained.
        difference: Retention of the treated less that of the holdout, -1 to 1; None with an empty group.
        low: Lower end of its interval.
        high: Upper end.
        confidence: Of the interval.
    """

    treated: tuple[int, int]
    holdout: tuple[int, int]
    difference: float | None
    low: float | None
    high: float | None
    confidence: float

    @property
    def saved(self) -> tuple[float, float, float] | None:
        """Return the treated accounts that stayed because of the alerts: low, best guess, high."""
        if self.difference is None or self.low is None or self.high is None:
            return None
        return self.low * self.treated[0], self.difference * self.treated[0], self.high * self.treated[0]

    def lines(self) -> tuple[str, ...]:
        """Return the lines for the terminal."""
        groups = [
            f"{name} {kept:,} of {of:,} stayed"
            for name, (of, kept) in (("alerted", self.treated), ("held out", self.holdout))
        ]
        if self.saved is None:
            return (*groups, "Whether the alerts saved accounts can't be told: one of the groups is empty.")
        low, guess, high = self.saved
        if low > 0:
            verdict = "the alerts saved accounts"
        elif high < 0:
            verdict = "the alerts lost accounts"
        else:
            verdict = "whether the alerts saved accounts can't be told yet"
        return (*groups, f"At {self.confidence:.0%} confidence {verdict}: {guess:.0f} ({low:.0f} to {high:.0f}).")

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self) | {"saved": self.saved}


def estimate_effect(treated: tuple[int, int], holdout: tuple[int, int], *, confidence: float = 0.95) -> HoldoutEffect:
    """Estimate the difference of two retention rates, with Newcombe's hybrid score interval.

    With rate `p` and Wilson interval `(l, u)` of each group, the difference `d = p1 - p2` lies between
    `d - sqrt((p1 - l1)^2 + (u2 - p2)^2)` and `d + sqrt((u1 - p1)^2 + (p2 - l2)^2)`: it keeps its coverage in small
    groups and near 0 and 1, where the textbook interval does not.

    Source: Newcombe, Interval estimation for the difference between independent proportions, Statistics in
    Medicine 17, 1998, method 10; Wilson, Probable inference, JASA 22, 1927.

    Args:
        treated: Accounts, and of these retained.
        holdout: The same.
        confidence: 0 < confidence < 1.
    """
    if not all(0 <= kept <= of for of, kept in (treated, holdout)):
        raise GarrisonError("more accounts stayed than there were", found=f"{treated}, {holdout}")
    if not treated[0] or not holdout[0]:
        return HoldoutEffect(treated, holdout, None, None, None, confidence)
    rates, ends = [], []
    for of, kept in (treated, holdout):
        interval = binomtest(kept, of).proportion_ci(confidence, method="wilson")
        rates.append(kept / of)
        ends.append((float(interval.low), float(interval.high)))
    (p1, p2), ((l1, u1), (l2, u2)) = rates, ends
    difference = p1 - p2
    low = difference - math.hypot(p1 - l1, u2 - p2)
    high = difference + math.hypot(u1 - p1, p2 - l2)
    return HoldoutEffect(treated, holdout, difference, low, high, confidence)

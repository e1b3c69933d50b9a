"""Classify accounts into tiers A to E under the 5A rule: how much each is worth keeping, from five sides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

TIERS = ("A", "B", "C", "D", "E")
# Columns of a snapshot that are read.
WANTED = (
    "recurring_revenue_year",
    "spend_365d",
    "margin_365d",
    "cost_to_serve",
    "tickets_365d",
    "urgent_tickets_90d",
    "escalated_tickets_90d",
    "reopened_tickets_90d",
    "paid_share_365d",
    "returns_share_365d",
)
_REVENUE = ("recurring_revenue_year", "spend_365d")
_HARD = ("urgent_tickets_90d", "escalated_tickets_90d", "reopened_tickets_90d")


@dataclass(frozen=True)
class TierTable:
    """Each account's tier, and the sides it was computed from.

    Args:
        table: account_id, tier (A to E; missing where no side of the account is known), worth (the mean of the ranks, 0
            to 1), then a column a side with the account's rank in it, 0 (worst) to 1 (best).
        left_out: Side to why it was left out, for all accounts.
    """

    table: pd.DataFrame
    left_out: Mapping[str, str]

    def lines(self) -> Iterator[str]:
        """Yield the counts for people, line by line."""
        counts = self.table["tier"].value_counts()
        yield "Accounts by tier: " + ", ".join(f"{tier} {counts.get(tier, 0):,}" for tier in TIERS)
        for side, why in self.left_out.items():
            yield f"  without {side}: {why}"

    def as_dict(self) -> dict[str, Any]:
        """Return the tiers for machines, ready for JSON."""
        known = self.table.dropna(subset=["tier"])
        return {
            "tiers": dict(zip(known["account_id"], known["tier"], strict=True)),
            "left_out": dict(self.left_out),
        }


def classify(frame: pd.DataFrame) -> TierTable:
    """Classify accounts into tiers.

    The five sides, each ranked among the accounts given, the best last:

    - revenue: the larger of spend in 365 days and the recurring revenue in force, by the year;
    - profit: the margin of 365 days (`margin_365d`), or else revenue less `cost_to_serve`;
    - return on effort: revenue for each ticket of 365 days, one added so that none divides by zero;
    - difficulty: urgent, escalated and reopened tickets of 90 days for each unit of revenue, the fewer the better;
    - integrity: the mean of the share of purchases paid (`paid_share_365d`) and the share not returned.

    An account's worth is the mean of its ranks; the best fifth of the accounts by worth is A, the next B, and so on. A
    side whose columns the frame lacks, or where no account has a value, is left out and named; where only some accounts
    have none, their worth is the mean of their other sides.

    Args:
        frame: Snapshots at one `as_of`, a row an account; `margin_365d` and `paid_share_365d` may be added.
    """
    ranks, left_out = {}, {}
    for side, measure in _SIDES.items():
        try:
            values = measure(frame)
        except KeyError as lacking:
            left_out[side] = f"there is no column {lacking.args[0]}"
            continue
        if values.notna().any():
            ranks[side] = (values.rank() - 0.5) / values.notna().sum()
        else:
            left_out[side] = "no account has a value"
    table = pd.DataFrame(ranks, index=frame.index)
    worth = table.mean(axis=1) if ranks else pd.Series(float("nan"), index=frame.index)
    table.insert(0, "worth", worth)
    table.insert(0, "tier", _classes(worth))
    table.insert(0, "account_id", frame["account_id"])
    return TierTable(table.reset_index(drop=True), left_out)


def _classes(worth: pd.Series) -> pd.Series:
    """Return the fifth of each account whose worth is known; equal worths share a tier."""
    above = (worth.rank(ascending=False, method="min") - 1) / max(1, worth.notna().sum())
    return above.map(lambda share: None if pd.isna(share) else TIERS[int(share * len(TIERS))]).astype(object)


def _revenue(frame: pd.DataFrame) -> pd.Series:
    columns = [column for column in _REVENUE if column in frame]
    if not columns:
        raise KeyError(" or ".join(_REVENUE))
    return frame[columns].astype("float64").max(axis=1)


def _profit(frame: pd.DataFrame) -> pd.Series:
    if "margin_365d" in frame and frame["margin_365d"].notna().any():
        return frame["margin_365d"].astype("float64")
    return _revenue(frame) - frame["cost_to_serve"].astype("float64")


def _return_on_effort(frame: pd.DataFrame) -> pd.Series:
    return _revenue(frame) / (1 + frame["tickets_365d"].fillna(0))


def _difficulty(frame: pd.DataFrame) -> pd.Series:
    columns = [column for column in _HARD if column in frame]
    if not columns:
        raise KeyError(" or ".join(_HARD))
    hard = frame[columns].fillna(0).sum(axis=1)
    # Without revenue any hard ticket is the worst there is, and none is as good as none elsewhere.
    return -(hard / _revenue(frame).clip(lower=0)).where(hard > 0, 0.0)


def _integrity(frame: pd.DataFrame) -> pd.Series:
    parts = [frame["paid_share_365d"]] if "paid_share_365d" in frame else []
    if "returns_share_365d" in frame:
        parts.append(1 - frame["returns_share_365d"])
    if not parts:
        raise KeyError("paid_share_365d or returns_share_365d")
    return pd.concat([part.astype("float64") for part in parts], axis=1).mean(axis=1)


_SIDES: Mapping[str, Callable[[pd.DataFrame], pd.Series]] = {
    "revenue": _revenue,
    "profit": _profit,
    "return on effort": _return_on_effort,
    "difficulty": _difficulty,
    "integrity": _integrity,
}

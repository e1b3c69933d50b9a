"""Measure the five sides of accounts under the 5A rule: how much each is worth keeping."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from features.settings.tiers import SIDES

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


def measure_sides(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """Measure each account from five sides; more is better.

    - revenue: the larger of spend in 365 days and the recurring revenue in force, by the year;
    - profit: the margin of 365 days (`margin_365d`), or else revenue less `cost_to_serve`;
    - return_on_effort: revenue for each ticket of 365 days, one added so that none divides by zero;
    - difficulty: urgent, escalated and reopened tickets of 90 days for each unit of revenue, as a number below zero;
    - integrity: the mean of the share of purchases paid (`paid_share_365d`) and the share not returned.

    Args:
        frame: Snapshots at one `as_of`, a row an account; `margin_365d` and `paid_share_365d` may be added.

    Returns:
        A column a side, NaN where an account has no value; and why each other side is left out. A side is left out
        where the frame lacks its columns, or no account has a value.
    """
    sides, left_out = {}, {}
    for side in SIDES:
        try:
            values = _MEASURES[side](frame)
        except KeyError as lacking:
            left_out[side] = f"there is no column {lacking.args[0]}"
            continue
        if values.notna().any():
            sides[side] = values
        else:
            left_out[side] = "no account has a value"
    return pd.DataFrame(sides, index=frame.index), left_out


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


_MEASURES: Mapping[str, Callable[[pd.DataFrame], pd.Series]] = {
    "revenue": _revenue,
    "profit": _profit,
    "return_on_effort": _return_on_effort,
    "difficulty": _difficulty,
    "integrity": _integrity,
}

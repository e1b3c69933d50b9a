"""Define features that hold an account's latest spend against its own earlier windows of the same length."""

from __future__ import annotations

from typing import Any

import ibis

from features.catalog.purchases import FIRST, SPEND
from features.catalog.series import PARTS, split_window
from features.definitions.feature import FeatureContext, feature

WINDOWS = (28, 56, 60, 90)
_MUCH_MORE = 1.5
# The share of a single window more, so that that of a new account is no extreme.
_USUALLY = 0.2


class _OwnWindows:
    """Spend in the last `w` days, and in each earlier window of `w` days in which the account was a customer.

    Earlier windows begin at each twelfth of 84 days (of 360 where a week does not divide `w`). An account is a
    customer in those whose middle is after its first order.

    Args:
        at: Of the formula.
        w: Days of a window.
    """

    def __init__(self, at: FeatureContext, w: int) -> None:
        whole = 84 if w % 7 == 0 else 360
        days = whole // PARTS
        size = w // days
        parts, age = split_window(at, SPEND, whole), at.age_days(FIRST)
        sums, places = [sum(parts[i : i + size]) for i in range(PARTS - size + 1)], range(1, PARTS - size + 1)
        self.now = sums[0]
        # 1 or 0, to multiply by: fewer steps than a condition for each use.
        self.is_customer = [(age > (i + size / 2) * days).ifelse(1.0, 0.0) for i in places]
        self.spend = [sums[i] * flag for i, flag in zip(places, self.is_customer, strict=True)]
        self.count = sum(self.is_customer)

    def compare(self, usual: Any) -> Any:
        """Return the latest spend as a share of what is usual, 1 added to both, so that 0 is a value like others."""
        return (self.now + 1.0) / (usual + 1.0)


@feature(
    windows=WINDOWS,
    unit="share of earlier windows",
    family="spend against own windows",
    says="in {value:.0%} of its earlier {w} days it spent half as much again as in the last {w} days, or more",
    play="win_back_purchase",
)
def windows_with_more(at: FeatureContext, w: int) -> Any:
    """Share of the account's own earlier windows of {w} days with over 1.5 times the spend of the last {w} days."""
    own = _OwnWindows(at, w)
    more = sum((spend > _MUCH_MORE * own.now).ifelse(1.0, 0.0) for spend in own.spend)
    return (more + _USUALLY) / (own.count + 1.0)


@feature(
    windows=WINDOWS,
    unit="times the highest",
    family="spend against own windows",
    says="spend of the last {w} days is {value:.0%} of its own highest in as many days",
    play="win_back_purchase",
)
def spend_against_highest(at: FeatureContext, w: int) -> Any:
    """Spend of the last {w} days against the highest of the account's own earlier windows, 1 added to both."""
    own = _OwnWindows(at, w)
    return own.compare(ibis.greatest(*own.spend))


@feature(
    windows=WINDOWS,
    unit="times the mean",
    family="spend against own windows",
    says="spend of the last {w} days is {value:.0%} of its own mean in as many days",
    play="win_back_purchase",
)
def spend_against_own_mean(at: FeatureContext, w: int) -> Any:
    """Spend of the last {w} days against the mean of the account's own earlier windows, 1 added to both."""
    own = _OwnWindows(at, w)
    return own.compare(sum(own.spend) / ibis.greatest(own.count, 1.0))


@feature(
    windows=WINDOWS,
    unit="times the typical",
    family="spend against own windows",
    says="spend of the last {w} days is {value:.0%} of its own typical spend in as many days",
    play="win_back_purchase",
)
def spend_against_typical(at: FeatureContext, w: int) -> Any:
    """Spend of the last {w} days against the square of the mean root of its own earlier windows', 1 added to both."""
    own = _OwnWindows(at, w)
    root = sum(spend.sqrt() for spend in own.spend) / ibis.greatest(own.count, 1.0)
    return own.compare(root * root)


FEATURES = (
    *windows_with_more,
    *spend_against_highest,
    *spend_against_own_mean,
    *spend_against_typical,
)

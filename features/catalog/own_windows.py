"""Define features that hold an account's latest spend against its own earlier windows of the same length."""

from __future__ import annotations

from typing import Any

import ibis

from features.catalog.purchases import FIRST, SPEND
from features.catalog.series import PARTS, split_window
from features.definitions.feature import FeatureContext, feature

WINDOWS = (28, 56, 60, 90)
_MUCH_MORE = 1.5
# Shares of a single window more, so that those of a new account are no extremes.
_USUALLY_MORE, _USUALLY_EMPTY = 0.2, 0.3


class _OwnWindows:
    """Spend in the last `w` days, and in each earlier window of `w` days in which the account was a customer.

    Earlier windows begin at each twelfth of 84 days (of 360 where a week does not divide `w`). An account is a
    customer in those whose middle is after its first order.
    """

    def __init__(self, at: FeatureContext, w: int) -> None:
        whole = 84 if w % 7 == 0 else 360
        days = whole // PARTS
        size = w // days
        parts = split_window(at, SPEND, whole)
        age = at.age_days(FIRST)
        self.now = sum(parts[:size])
        self._earlier = [(sum(parts[i : i + size]), age > (i + size / 2) * days) for i in range(1, PARTS - size + 1)]
        self.count = sum(is_customer.ifelse(1.0, 0.0) for _, is_customer in self._earlier)

    def count_where(self, condition: Any) -> Any:
        """Return how many earlier windows meet a condition of their spend."""
        return sum((is_customer & condition(spend)).ifelse(1.0, 0.0) for spend, is_customer in self._earlier)

    def list_values(self, value: Any) -> list[Any]:
        """Return a value of the spend of each earlier window; 0 where the account was no customer."""
        return [is_customer.ifelse(value(spend), 0.0) for spend, is_customer in self._earlier]


@feature(
    windows=WINDOWS,
    unit="share of earlier windows",
    family="spend against own windows",
    says="in {value:.0%} of its earlier {w} days it spent half as much again as in the last {w}, or more",
    missing="no order yet",
    play="win_back_purchase",
)
def windows_with_more(at: FeatureContext, w: int) -> Any:
    """Share of the account's own earlier windows of {w} days with over 1.5 times the spend of the last {w} days."""
    own = _OwnWindows(at, w)
    return (own.count_where(lambda spend: spend > _MUCH_MORE * own.now) + _USUALLY_MORE) / (own.count + 1.0)


@feature(
    windows=WINDOWS,
    unit="share of earlier windows",
    family="spend against own windows",
    says="in {value:.0%} of its earlier {w} days it spent nothing",
    missing="no order yet",
)
def windows_without_spend(at: FeatureContext, w: int) -> Any:
    """Share of the account's own earlier windows of {w} days without spend."""
    own = _OwnWindows(at, w)
    return (own.count_where(lambda spend: spend == 0) + _USUALLY_EMPTY) / (own.count + 1.0)


@feature(
    windows=WINDOWS,
    unit="times the highest",
    family="spend against own windows",
    says="spend of the last {w} days is {value:.0%} of its own highest in as many days",
    missing="no order yet",
    play="win_back_purchase",
)
def spend_against_highest(at: FeatureContext, w: int) -> Any:
    """Spend of the last {w} days against the highest of the account's own earlier windows, 1 added to both."""
    own = _OwnWindows(at, w)
    return (own.now + 1.0) / (ibis.greatest(*own.list_values(lambda spend: spend)) + 1.0)


@feature(
    windows=WINDOWS,
    unit="times the mean",
    family="spend against own windows",
    says="spend of the last {w} days is {value:.0%} of its own mean in as many days",
    missing="no order yet",
    play="win_back_purchase",
)
def spend_against_own_mean(at: FeatureContext, w: int) -> Any:
    """Spend of the last {w} days against the mean of the account's own earlier windows, 1 added to both."""
    own = _OwnWindows(at, w)
    mean = sum(own.list_values(lambda spend: spend)) / ibis.greatest(own.count, 1.0)
    return (own.now + 1.0) / (mean + 1.0)


@feature(
    windows=WINDOWS,
    unit="times the typical",
    family="spend against own windows",
    says="spend of the last {w} days is {value:.0%} of what is typical of it in as many days",
    missing="no order yet",
    play="win_back_purchase",
)
def spend_against_typical(at: FeatureContext, w: int) -> Any:
    """Spend of the last {w} days against the squared mean root of its own earlier windows', 1 added to both."""
    own = _OwnWindows(at, w)
    root = sum(own.list_values(lambda spend: spend.sqrt())) / ibis.greatest(own.count, 1.0)
    return (own.now + 1.0) / (root * root + 1.0)


FEATURES = (
    *windows_with_more,
    *windows_without_spend,
    *spend_against_highest,
    *spend_against_own_mean,
    *spend_against_typical,
)

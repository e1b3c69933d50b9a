"""Define the features of the rhythm of purchases: the gap between orders, how overdue it is, and how steady."""

from __future__ import annotations

from typing import Any

from features.catalog.purchases import COUNT, FIRST, LAST, SPEND
from features.catalog.series import PARTS, coefficient_of_variation, count_empty, split_window
from features.definitions.feature import DAY, FeatureContext, feature, ratio


@feature(
    unit="days",
    family="rhythm",
    says="buys every {value:.0f} days",
    missing="fewer than two orders",
)
def days_between_orders(at: FeatureContext) -> Any:
    """Mean days between one order and the next, over all the past."""
    return (at(LAST) - at(FIRST)) / DAY / (at(COUNT) - 1).nullif(0.0)


@feature(
    unit="times the usual gap",
    family="overdue",
    says="the next order is due: {value:.1f} times the usual gap has gone by",
    missing="fewer than two orders",
    play="win_back_purchase",
)
def overdue(at: FeatureContext) -> Any:
    """Days since the last order against the account's own mean gap between orders."""
    return ratio(at.as_of - at(LAST), (at(LAST) - at(FIRST)) / (at(COUNT) - 1).nullif(0.0))


@feature(
    windows=(365,),
    unit="times the usual gap",
    family="overdue",
    says="the next order is due: {value:.1f} times the usual gap of {w} days has gone by",
    missing="fewer than two orders in the window",
    play="win_back_purchase",
)
def overdue_lately(at: FeatureContext, w: int) -> Any:
    """Days since the last order against the mean gap between those of the last {w} days, taken as a day or more."""
    gap = (at(LAST, w) - at(FIRST, w)) / DAY / (at(COUNT, w) - 1).nullif(0.0)
    return at.age_days(LAST, w) / gap.clip(lower=1.0)


@feature(
    unit="orders",
    family="overdue",
    says="{value:.1f} orders fewer than its own pace would have brought since the last",
    play="win_back_purchase",
)
def orders_missed(at: FeatureContext) -> Any:
    """Orders that the account's own pace since the first one would have brought since the last."""
    return at(COUNT) * ratio(at.age_days(LAST), at.age_days(FIRST))


@feature(
    unit="share of lifetime",
    family="overdue",
    says="kept buying for {value:.0%} of the time since the first order",
)
def buying_life(at: FeatureContext) -> Any:
    """Days from the first order to the last as a share of those from the first until `as_of`."""
    return ratio(at(LAST) - at(FIRST), at.as_of - at(FIRST))


@feature(
    unit="orders a day",
    family="rhythm",
    says="{value:.3f} orders a day since the first",
)
def order_rate(at: FeatureContext) -> Any:
    """Orders since the beginning for each day since the first, smoothed by one order in 90 days."""
    return (at(COUNT) + 1) / (at.age_days(FIRST) + 90)


@feature(
    windows=(360,),
    unit="months of 30 days",
    family="purchase steadiness",
    says="bought in {value:.0f} of the 12 months of {w} days",
    play="win_back_purchase",
)
def months_bought(at: FeatureContext, w: int) -> Any:
    """How many of the twelve 30 days in the last {w} had an order."""
    return PARTS - count_empty(split_window(at, COUNT, w))


@feature(
    windows=(84,),
    unit="weeks",
    family="purchase steadiness",
    says="bought in {value:.0f} of the 12 weeks of {w} days",
    play="win_back_purchase",
)
def weeks_bought(at: FeatureContext, w: int) -> Any:
    """How many of the twelve weeks in the last {w} days had an order."""
    return PARTS - count_empty(split_window(at, COUNT, w))


@feature(
    windows=(360,),
    unit="times the mean",
    family="purchase steadiness",
    says="spend from 30 days to 30 days varied by {value:.0%} of its mean over {w} days",
    missing="no spend in the window",
)
def spend_variation(at: FeatureContext, w: int) -> Any:
    """Coefficient of variation of spend over the twelfths of the last {w} days."""
    return coefficient_of_variation(split_window(at, SPEND, w))


FEATURES = (
    *days_between_orders,
    *overdue,
    *overdue_lately,
    *orders_missed,
    *buying_life,
    *order_rate,
    *months_bought,
    *weeks_bought,
    *spend_variation,
)

"""Define the features of purchases: recency, frequency, money, what is bought and at which price."""

from __future__ import annotations

from typing import Any

from features.catalog.series import clip_at_zero
from features.definitions.feature import FeatureContext, change, change_in_words, feature, ratio
from features.definitions.streams import ORDERS, PURCHASES

COUNT = ORDERS.count()
SPEND = PURCHASES.sum("amount")
FIRST, LAST = ORDERS.first(), ORDERS.last()
LINES = PURCHASES.count()
PRODUCTS = PURCHASES.distinct("product")
LISTED = PURCHASES.sum("list_price")
PAID_OF_LISTED = PURCHASES.sum("amount", lambda p: p.list_price.notnull(), name="paid_of_listed")
RETURNS = PURCHASES.count(lambda p: (p.kind == "refund") | (p.amount < 0), name="returns")
RETURNED = PURCHASES.sum("amount", lambda p: (p.kind == "refund") | (p.amount < 0), name="money_returned")
DISCOUNTED = PURCHASES.count(lambda p: p.amount < p.list_price, name="lines_below_list_price")
WITH_LIST_PRICE = PURCHASES.count(lambda p: p.list_price.notnull(), name="lines_with_list_price")
UNITS = PURCHASES.sum("quantity")
COUNTED = PURCHASES.sum("amount", lambda p: p.quantity.notnull(), name="money_with_units")


@feature(
    windows=(14, 30, 90, 180, 365),
    unit="orders",
    family="order count",
    says="{value:.0f} order{s} in {w} days",
    play="win_back_purchase",
)
def orders(at: FeatureContext, w: int) -> Any:
    """Orders in the last {w} days."""
    return at(COUNT, w)


# Whole weeks beside round days: those who shop by the week spend evenly in the first alone.
@feature(
    windows=(28, 30, 56, 60, 90, 180, 365),
    unit="money",
    family="spend",
    says="spent {value:,.0f} in {w} days",
    play="win_back_purchase",
)
def spend(at: FeatureContext, w: int) -> Any:
    """Money spent, less refunds, in the last {w} days."""
    return at(SPEND, w)


@feature(
    unit="money an order",
    family="order value",
    says="{value:,.0f} an order over the last year",
    missing="no orders in the year",
)
def order_value_365d(at: FeatureContext) -> Any:
    """Mean money an order in the last 365 days."""
    return ratio(at(SPEND, 365), at(COUNT, 365))


@feature(
    unit="times the usual",
    family="order value",
    says="the last 90 days' orders were {value:.0%} of their usual size",
    missing="no orders in the window",
)
def order_value_against_usual(at: FeatureContext) -> Any:
    """Mean money an order in the last 90 days against that of the last 365."""
    return ratio(ratio(at(SPEND, 90), at(COUNT, 90)), ratio(at(SPEND, 365), at(COUNT, 365)))


@feature(unit="days", family="recency", says="last bought {value:.0f} day{s} ago", play="win_back_purchase")
def days_since_purchase(at: FeatureContext) -> Any:
    """Days since the last order."""
    return at.age_days(LAST)


@feature(unit="days", family="tenure", says="a customer for {value:,.0f} day{s}")
def days_since_first_purchase(at: FeatureContext) -> Any:
    """Days since the first order."""
    return at.age_days(FIRST)


@feature(unit="orders", family="order count", says="{value:,.0f} order{s} in all")
def orders_in_all(at: FeatureContext) -> Any:
    """Orders since the beginning."""
    return at(COUNT)


@feature(
    windows=(90, 365),
    unit="products",
    family="product breadth",
    says="{value:.0f} different product{s} in {w} days",
    play="show_more",
)
def products(at: FeatureContext, w: int) -> Any:
    """Different products bought in the last {w} days."""
    return at(PRODUCTS, w)


@feature(
    unit="share",
    family="returns",
    says="{value:.0%} of the year's purchases were refunds",
    missing="no purchases in the year",
    play="fix_service",
)
def returns_share_365d(at: FeatureContext) -> Any:
    """Refunds and negative amounts among the purchases of the last 365 days."""
    return ratio(at(RETURNS, 365), at(LINES, 365))


@feature(
    windows=(30, 365),
    unit="share of list price",
    family="price paid",
    says="paid {value:.0%} of list price over {w} days",
    missing="no list price known",
    play="talk_price",
)
def price_paid(at: FeatureContext, w: int) -> Any:
    """Money paid as a share of list price in the last {w} days."""
    return ratio(at(PAID_OF_LISTED, w), at(LISTED, w))


@feature(
    windows=(365,),
    unit="share of money",
    family="returns",
    says="{value:.0%} of the money of {w} days was given back",
    missing="no purchases in the window",
    play="fix_service",
)
def returned_money_share(at: FeatureContext, w: int) -> Any:
    """Money of refunds and negative amounts in the last {w} days as a share of what was paid before them."""
    returned = at(RETURNED, w).abs()
    return ratio(returned, clip_at_zero(at(SPEND, w)) + returned)


@feature(
    windows=(90,),
    unit="times the usual",
    family="price paid",
    says="the share of list price paid in {w} days is {value:.0%} of the year's",
    missing="no list price known",
    play="talk_price",
)
def price_paid_against_usual(at: FeatureContext, w: int) -> Any:
    """Money paid as a share of list price in the last {w} days against that of the last 365."""
    return ratio(ratio(at(PAID_OF_LISTED, w), at(LISTED, w)), ratio(at(PAID_OF_LISTED, 365), at(LISTED, 365)))


@feature(
    windows=(365,),
    unit="share of purchases",
    family="discounts",
    says="{value:.0%} of the purchases of {w} days were below list price",
    missing="no list price known",
    play="talk_price",
)
def discounted_share(at: FeatureContext, w: int) -> Any:
    """Purchases below list price as a share of those with one in the last {w} days."""
    return ratio(at(DISCOUNTED, w), at(WITH_LIST_PRICE, w))


@feature(
    windows=(90,),
    unit="change, -1 to 1",
    family="product breadth",
    says=change_in_words("the number of different products"),
    missing="no products in either window",
    play="show_more",
)
def products_trend(at: FeatureContext, w: int) -> Any:
    """Different products bought in the last {w} days against the {w} before: -1 gone, 0 level, 1 new."""
    return change(at(PRODUCTS, w), at(PRODUCTS, w, before=w))


@feature(
    windows=(90,),
    unit="change, -1 to 1",
    family="units",
    says=change_in_words("the quantity bought"),
    missing="no quantity in either window",
    play="win_back_purchase",
)
def units_trend(at: FeatureContext, w: int) -> Any:
    """Quantity bought in the last {w} days against the {w} before: -1 gone, 0 level, 1 new."""
    return change(clip_at_zero(at(UNITS, w)), clip_at_zero(at(UNITS, w, before=w)))


@feature(
    windows=(90,),
    unit="times the usual",
    family="price",
    says="a unit bought in {w} days cost {value:.0%} of the year's mean",
    missing="no quantity known",
    play="talk_price",
)
def unit_price_against_usual(at: FeatureContext, w: int) -> Any:
    """Mean price of a unit in the last {w} days against that of the last 365."""
    return ratio(ratio(at(COUNTED, w), at(UNITS, w)), ratio(at(COUNTED, 365), at(UNITS, 365)))


@feature(
    unit="money an order",
    family="order value",
    says="{value:,.0f} an order since the first",
)
def order_value_in_all(at: FeatureContext) -> Any:
    """Mean money an order since the beginning."""
    return ratio(at(SPEND), at(COUNT))


FEATURES = (
    *orders,
    *spend,
    *order_value_365d,
    *order_value_against_usual,
    *order_value_in_all,
    *days_since_purchase,
    *days_since_first_purchase,
    *orders_in_all,
    *products,
    *products_trend,
    *units_trend,
    *unit_price_against_usual,
    *returns_share_365d,
    *returned_money_share,
    *price_paid,
    *price_paid_against_usual,
    *discounted_share,
)

"""Features of purchases: recency, frequency, money, rhythm, and the contract in force."""

from __future__ import annotations

from typing import Any

from features.definition import DAY, At, change, change_in_words, feature, ratio
from features.streams import BILLED, ORDERS, PURCHASES, TERMS

COUNT = ORDERS.count()
SPEND = ORDERS.sum("amount")
FIRST, LAST = ORDERS.first(), ORDERS.last()
LINES = PURCHASES.count()
PRODUCTS = PURCHASES.distinct("product")
LISTED = PURCHASES.sum("list_price")
PAID_OF_LISTED = PURCHASES.sum("amount", lambda p: p.list_price.notnull(), name="paid_of_listed")
RETURNS = PURCHASES.count(lambda p: (p.kind == "refund") | (p.amount < 0), name="returns")
EXPANSIONS = PURCHASES.count(lambda p: p.kind == "expansion", name="expansions")
CONTRACTIONS = PURCHASES.count(lambda p: p.kind == "contraction", name="contractions")
MONTHLY = BILLED.sum("monthly")
TERM_END = TERMS.last("until")
TERM_LENGTH = TERMS.last("length")
SEATS = BILLED.last("quantity")


@feature(
    windows=(30, 90, 180, 365),
    unit="orders",
    family="order count",
    says="{value:.0f} orders in {w} days",
    play="win_back_purchase",
)
def orders(at: At, w: int) -> Any:
    """Orders in the last {w} days."""
    return at(COUNT, w)


@feature(
    windows=(30, 60, 90, 180, 365),
    unit="money",
    family="spend",
    says="spent {value:,.0f} in {w} days",
    play="win_back_purchase",
)
def spend(at: At, w: int) -> Any:
    """Money spent, less refunds, in the last {w} days."""
    return at(SPEND, w)


@feature(
    windows=(30, 90, 180),
    unit="change, -1 to 1",
    family="order trend",
    says=change_in_words("the number of orders"),
    missing="no orders in either window",
    play="win_back_purchase",
)
def orders_trend(at: At, w: int) -> Any:
    """Orders in the last {w} days against the {w} before: -1 gone, 0 level, 1 new."""
    return change(at(COUNT, w), at(COUNT, w, before=w))


@feature(
    windows=(30, 60, 90),
    unit="times the usual",
    family="spend against usual",
    says="spend of the last {w} days is {value:.0%} of the year's usual",
    missing="no spend in the year",
    play="win_back_purchase",
)
def spend_against_usual(at: At, w: int) -> Any:
    """Spend in the last {w} days against {w} days' share of the account's own spend over its last year."""
    return ratio(at(SPEND, w), at(SPEND, 365)) * (_year(at) / w)


def _year(at: At) -> Any:
    """Days of the last 365 in which the account was a customer, at least 1."""
    return at.age_days(FIRST).clip(1.0, 365.0)


@feature(
    unit="money an order",
    family="order value",
    says="{value:,.0f} an order over the last year",
    missing="no orders in the year",
)
def order_value_365d(at: At) -> Any:
    """Mean money an order in the last 365 days."""
    return ratio(at(SPEND, 365), at(COUNT, 365))


@feature(
    unit="times the usual",
    family="order value",
    says="the last 90 days' orders were {value:.0%} of their usual size",
    missing="no orders in the window",
)
def order_value_against_usual(at: At) -> Any:
    """Mean money an order in the last 90 days against that of the last 365."""
    return ratio(ratio(at(SPEND, 90), at(COUNT, 90)), ratio(at(SPEND, 365), at(COUNT, 365)))


@feature(unit="days", family="recency", says="last bought {value:.0f} days ago", play="win_back_purchase")
def days_since_purchase(at: At) -> Any:
    """Days since the last order."""
    return at.age_days(LAST)


@feature(unit="days", family="tenure", says="a customer for {value:,.0f} days")
def days_since_first_purchase(at: At) -> Any:
    """Days since the first order."""
    return at.age_days(FIRST)


@feature(unit="orders", family="order count", says="{value:,.0f} orders in all")
def orders_in_all(at: At) -> Any:
    """Orders since the beginning."""
    return at(COUNT)


@feature(
    unit="days",
    family="rhythm",
    says="buys every {value:.0f} days",
    missing="fewer than two orders",
)
def days_between_orders(at: At) -> Any:
    """Mean days between one order and the next, over all the past."""
    return (at(LAST) - at(FIRST)) / DAY / (at(COUNT) - 1).nullif(0.0)


@feature(
    unit="times the usual gap",
    family="overdue",
    says="the next order is due: {value:.1f} times the usual gap has gone by",
    missing="fewer than two orders",
    play="win_back_purchase",
)
def overdue(at: At) -> Any:
    """Days since the last order against the account's own mean gap between orders."""
    return ratio(at.as_of - at(LAST), (at(LAST) - at(FIRST)) / (at(COUNT) - 1).nullif(0.0))


@feature(
    unit="orders a day",
    family="rhythm",
    says="{value:.3f} orders a day since the first",
)
def order_rate(at: At) -> Any:
    """Orders since the beginning for each day since the first, smoothed by one order in 90 days."""
    return (at(COUNT) + 1) / (at.age_days(FIRST) + 90)


@feature(
    windows=(90, 365),
    unit="products",
    family="product breadth",
    says="{value:.0f} different products in {w} days",
    play="show_more",
)
def products(at: At, w: int) -> Any:
    """Different products bought in the last {w} days."""
    return at(PRODUCTS, w)


@feature(
    unit="share",
    family="returns",
    says="{value:.0%} of the year's purchases were refunds",
    missing="no purchases in the year",
    play="fix_service",
)
def returns_share_365d(at: At) -> Any:
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
def price_paid(at: At, w: int) -> Any:
    """Money paid as a share of list price in the last {w} days."""
    return ratio(at(PAID_OF_LISTED, w), at(LISTED, w))


@feature(
    windows=(90, 365),
    unit="purchases",
    family="expansions",
    says="bought more {value:.0f} times in {w} days",
    play="show_more",
)
def expansions(at: At, w: int) -> Any:
    """Expansions bought in the last {w} days."""
    return at(EXPANSIONS, w)


@feature(
    windows=(90, 365),
    unit="purchases",
    family="contractions",
    says="cut back {value:.0f} times in {w} days",
    play="talk_price",
)
def contractions(at: At, w: int) -> Any:
    """Contractions in the last {w} days."""
    return at(CONTRACTIONS, w)


@feature(
    unit="money a year",
    family="revenue",
    says="{value:,.0f} of recurring revenue a year",
    missing="no term in force",
)
def recurring_revenue_year(at: At) -> Any:
    """Recurring revenue in force at `as_of`, by the year; null where nothing is sold by terms."""
    return at(MONTHLY).nullif(0.0) * (12 / 10_000)


@feature(
    unit="money a month",
    family="price",
    says="pays {value:,.2f} a seat and month",
    missing="no seats in force",
    play="talk_price",
)
def price_a_seat(at: At) -> Any:
    """Recurring revenue in force for each seat of the largest purchase in force, by the month."""
    return ratio(at(MONTHLY) / 10_000, at(SEATS))


@feature(
    unit="seats",
    family="seats",
    says="{value:,.0f} seats bought",
    missing="no seats in force",
)
def seats_in_force(at: At) -> Any:
    """Quantity of the largest purchase in force at `as_of`."""
    return at(SEATS)


@feature(
    unit="days",
    family="renewal",
    says="the term ends in {value:z.0f} days",
    missing="no term in force",
    play="renew_early",
)
def days_to_renewal(at: At) -> Any:
    """Days until the last term in force at `as_of` ends."""
    return -at.age_days(TERM_END)


@feature(
    unit="days",
    family="term",
    says="on a term of {value:.0f} days",
    missing="no term in force",
)
def term_days(at: At) -> Any:
    """Length of the longest term in force at `as_of`."""
    return at(TERM_LENGTH) / DAY


FEATURES = (
    *orders,
    *spend,
    *orders_trend,
    *spend_against_usual,
    *order_value_365d,
    *order_value_against_usual,
    *days_since_purchase,
    *days_since_first_purchase,
    *orders_in_all,
    *days_between_orders,
    *overdue,
    *order_rate,
    *products,
    *returns_share_365d,
    *price_paid,
    *expansions,
    *contractions,
    *recurring_revenue_year,
    *price_a_seat,
    *seats_in_force,
    *days_to_renewal,
    *term_days,
)

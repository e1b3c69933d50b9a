"""Define the features of the contract: the terms in force, their price and end, and what was added or cut."""

from __future__ import annotations

from typing import Any

from features.catalog.series import clip_at_zero
from features.definitions.feature import DAY, FeatureContext, change, change_in_words, feature, ratio
from features.definitions.streams import BILLED, BILLING_BEGAN, BILLING_ENDED, ENDED, PURCHASES, TERMS

MONTHLY = BILLED.sum("monthly")
BEGAN = BILLING_BEGAN.sum("monthly")
OVER = BILLING_ENDED.sum("monthly")
SEATS = BILLED.last("quantity")
TERM_END = TERMS.last("until")
TERM_LENGTH = TERMS.last("length")
EXPANSIONS = PURCHASES.count(lambda p: p.kind == "expansion", name="expansions")
CONTRACTIONS = PURCHASES.count(lambda p: p.kind == "contraction", name="contractions")
RENEWALS = PURCHASES.count(lambda p: p.kind == "renewal", name="renewals")
ADDED = PURCHASES.sum("amount", lambda p: p.kind == "expansion", name="money_added")
CUT = PURCHASES.sum("amount", lambda p: p.kind == "contraction", name="money_cut")


@feature(
    unit="money a year",
    family="revenue",
    says="{value:,.0f} of recurring revenue a year",
    missing="no term in force",
)
def recurring_revenue_year(at: FeatureContext) -> Any:
    """Recurring revenue in force at `as_of`, by the year; null where nothing is sold by terms."""
    return at(MONTHLY).nullif(0.0) * (12 / 10_000)


@feature(
    windows=(30, 90, 365),
    unit="change, -1 to 1",
    family="revenue",
    says=change_in_words("recurring revenue"),
    missing="no term in force, then or now",
    play="talk_price",
)
def recurring_revenue_trend(at: FeatureContext, w: int) -> Any:
    """Recurring revenue in force at `as_of` against that {w} days before: -1 gone, 0 level, 1 new."""
    return change(at(MONTHLY), clip_at_zero(at(MONTHLY) - at(BEGAN, w) + at(OVER, w)))


@feature(
    unit="money a month",
    family="price",
    says="pays {value:,.2f} a seat and month",
    missing="no seats in force",
    play="talk_price",
)
def price_a_seat(at: FeatureContext) -> Any:
    """Recurring revenue in force for each seat of the largest purchase in force, by the month."""
    return ratio(at(MONTHLY) / 10_000, at(SEATS))


@feature(
    unit="seats",
    family="seats",
    says="{value:,.0f} seat{s} bought",
    missing="no seats in force",
)
def seats_in_force(at: FeatureContext) -> Any:
    """Quantity of the largest purchase in force at `as_of`."""
    return at(SEATS)


@feature(
    unit="days",
    family="renewal",
    says="the term ends in {value:z.0f} day{s}",
    missing="no term in force",
    play="renew_early",
)
def days_to_renewal(at: FeatureContext) -> Any:
    """Days until the last term in force at `as_of` ends."""
    return -at.age_days(TERM_END)


@feature(
    unit="days",
    family="term",
    says="on a term of {value:.0f} day{s}",
    missing="no term in force",
)
def term_days(at: FeatureContext) -> Any:
    """Length of the longest term in force at `as_of`."""
    return at(TERM_LENGTH) / DAY


@feature(
    windows=(90, 365),
    unit="purchases",
    family="expansions",
    says="bought more {value:.0f} time{s} in {w} days",
    play="show_more",
)
def expansions(at: FeatureContext, w: int) -> Any:
    """Expansions bought in the last {w} days."""
    return at(EXPANSIONS, w)


@feature(
    windows=(90, 365),
    unit="purchases",
    family="contractions",
    says="cut back {value:.0f} time{s} in {w} days",
    play="talk_price",
)
def contractions(at: FeatureContext, w: int) -> Any:
    """Contractions in the last {w} days."""
    return at(CONTRACTIONS, w)


@feature(unit="purchases", family="expansions", says="bought more {value:,.0f} time{s} in all")
def expansions_in_all(at: FeatureContext) -> Any:
    """Expansions bought since the beginning."""
    return at(EXPANSIONS)


@feature(unit="purchases", family="contractions", says="cut back {value:,.0f} time{s} in all", play="talk_price")
def contractions_in_all(at: FeatureContext) -> Any:
    """Contractions since the beginning."""
    return at(CONTRACTIONS)


@feature(
    windows=(365,),
    unit="money",
    family="expansions",
    says="expansions less contractions came to {value:,.0f} in {w} days",
    play="talk_price",
)
def net_expansion(at: FeatureContext, w: int) -> Any:
    """Money of the expansions less that of the contractions, whatever its sign, of the last {w} days."""
    return at(ADDED, w) - at(CUT, w).abs()


@feature(unit="purchases", family="renewal", says="renewed {value:,.0f} time{s} so far")
def renewals_in_all(at: FeatureContext) -> Any:
    """Renewals bought since the beginning."""
    return at(RENEWALS)


@feature(
    unit="days",
    family="renewal",
    says="the next term ends in {value:z.0f} day{s}",
    missing="no term in force",
    play="renew_early",
)
def days_to_next_end(at: FeatureContext) -> Any:
    """Days until the first to end of the terms in force at `as_of`."""
    return -at.age_days(TERMS.first("until"))


@feature(
    unit="days",
    family="renewal",
    says="the last term ended {value:,.0f} day{s} ago",
    missing="no term has ended yet",
)
def days_since_term_end(at: FeatureContext) -> Any:
    """Days since the last end of a term, renewed or not."""
    return at.age_days(ENDED.last())


@feature(
    unit="products",
    family="product breadth",
    says="{value:.0f} different product{s} under contract",
    play="show_more",
)
def products_in_force(at: FeatureContext) -> Any:
    """Different products of the terms in force at `as_of`."""
    return at(TERMS.distinct("product"))


FEATURES = (
    *expansions,
    *expansions_in_all,
    *contractions,
    *contractions_in_all,
    *net_expansion,
    *recurring_revenue_year,
    *recurring_revenue_trend,
    *price_a_seat,
    *seats_in_force,
    *products_in_force,
    *days_to_renewal,
    *days_to_next_end,
    *days_since_term_end,
    *renewals_in_all,
    *term_days,
)

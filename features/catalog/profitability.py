"""Define the features of what an account is worth and what it costs to keep: the inputs of the 5A rule."""

from __future__ import annotations

from typing import Any

import ibis

from features.catalog.purchases import LINES, SPEND
from features.catalog.series import keep_where
from features.catalog.service import RESOLUTIONS
from features.catalog.terms import MONTHLY
from features.catalog.tickets import TICKETS
from features.definitions.feature import FeatureContext, feature, ratio
from features.definitions.streams import PURCHASES, RESOLVED

MARGIN = PURCHASES.sum("margin")
WITH_MARGIN = PURCHASES.count(lambda p: p.margin.notnull(), name="lines_with_margin")
OF_MARGIN = PURCHASES.sum("amount", lambda p: p.margin.notnull(), name="money_with_margin")
PAID = PURCHASES.count(lambda p: p.paid, name="lines_paid")
PAYABLE = PURCHASES.count(lambda p: p.paid.notnull(), name="lines_paid_or_not")
DISHONOURED = PURCHASES.count(
    lambda p: (p.kind.fill_null("") == "refund") | (p.amount < 0) | ~p.paid.fill_null(True), name="lines_dishonoured"
)
HARD = RESOLVED.count(lambda t: t.escalated.fill_null(False) | t.reopened.fill_null(False), name="hard_tickets")

SETTLING = 90  # days in which a purchase may yet be paid


@feature(
    windows=(365,),
    unit="money",
    family="margin",
    says="brought a margin of {value:,.0f} in {w} days",
    missing="no margin known in the window",
)
def margin(at: FeatureContext, w: int) -> Any:
    """Margin of the purchases of the last {w} days."""
    return keep_where(at(WITH_MARGIN, w) > 0, at(MARGIN, w))


@feature(
    windows=(365,),
    unit="share of money",
    family="margin",
    says="a margin of {value:.0%} over {w} days",
    missing="no margin known in the window",
)
def margin_share(at: FeatureContext, w: int) -> Any:
    """Margin as a share of the money of the purchases that have one, in the last {w} days."""
    return ratio(at(MARGIN, w), at(OF_MARGIN, w))


@feature(
    windows=(365,),
    unit="share of purchases",
    family="payment",
    says="{value:.0%} of the purchases of {w} days that are due were paid",
    missing="no payment known in the window",
    play="settle_payment",
)
def paid_share(at: FeatureContext, w: int) -> Any:
    """Purchases paid as a share of those from {w} to 90 days ago: a younger one may yet be paid."""
    days = w - SETTLING
    return ratio(at(PAID, days, before=SETTLING), at(PAYABLE, days, before=SETTLING))


@feature(
    windows=(365,),
    unit="share of purchases",
    family="payment",
    says="{value:.0%} of the purchases of {w} days that are due were kept and paid",
    missing="no purchases in the window",
    play="settle_payment",
)
def integrity(at: FeatureContext, w: int) -> Any:
    """Purchases neither unpaid nor refunds as a share of those from {w} to 90 days ago."""
    days = w - SETTLING
    return 1 - ratio(at(DISHONOURED, days, before=SETTLING), at(LINES, days, before=SETTLING))


@feature(
    windows=(365,),
    unit="money a ticket",
    family="return on service",
    says="brings {value:,.0f} a year for each ticket of {w} days",
)
def revenue_per_ticket(at: FeatureContext, w: int) -> Any:
    """Spend of the last {w} days, or the larger recurring revenue in force, for each of their tickets, one added."""
    revenue = ibis.greatest(at(SPEND, w), at(MONTHLY) * (12 / 10_000))
    return revenue / (at(TICKETS, w) + 1)


@feature(
    windows=(365,),
    unit="share of tickets",
    family="difficulty",
    says="{value:.0%} of the tickets resolved in {w} days were escalated or reopened",
    missing="no ticket resolved in the window",
    play="fix_service",
)
def difficulty(at: FeatureContext, w: int) -> Any:
    """Tickets escalated or reopened as a share of those resolved in the last {w} days."""
    return ratio(at(HARD, w), at(RESOLUTIONS, w))


FEATURES = (
    *margin,
    *margin_share,
    *paid_share,
    *integrity,
    *revenue_per_ticket,
    *difficulty,
)

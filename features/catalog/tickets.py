"""Define the features of tickets: how many, how grave and about what."""

from __future__ import annotations

from typing import Any

from features.definitions.feature import DAY, FeatureContext, change, change_in_words, feature, ratio
from features.definitions.streams import ENDED, OPENED, PURCHASES

TICKETS = OPENED.count()
URGENT = OPENED.count(lambda t: t.priority.isin(["high", "urgent"]), name="urgent_tickets")
MONEY = OPENED.count(lambda t: t.topic.lower().re_search("pric|contract|renew|cancel"), name="money_tickets")
FAULTS = OPENED.count(
    lambda t: t.topic.lower().re_search("bug|fault|outage|incident|error|crash|defect|broken"), name="fault_tickets"
)
TOPICS = OPENED.distinct("topic")
WITH_TOPIC = OPENED.count(lambda t: t.topic.notnull(), name="tickets_with_topic")
FIRST, LAST = OPENED.first(), OPENED.last()
CONTRACT_EVENTS = PURCHASES.count(lambda p: p.kind.isin(["renewal", "contraction"]), name="contract_events")
TERM_ENDS = ENDED.count()


@feature(
    windows=(30, 90, 365),
    unit="tickets",
    family="tickets",
    says="{value:.0f} ticket{s} in {w} days",
    play="review_tickets",
)
def tickets(at: FeatureContext, w: int) -> Any:
    """Tickets opened in the last {w} days."""
    return at(TICKETS, w)


@feature(
    windows=(30, 90),
    unit="tickets",
    family="urgent tickets",
    says="{value:.0f} urgent ticket{s} in {w} days",
    direction=1,
    play="fix_service",
)
def urgent_tickets(at: FeatureContext, w: int) -> Any:
    """Tickets of high or urgent priority opened in the last {w} days."""
    return at(URGENT, w)


@feature(
    windows=(90,),
    unit="tickets",
    family="tickets about money",
    says="{value:.0f} ticket{s} about price or contract in {w} days",
    play="talk_price",
)
def money_tickets(at: FeatureContext, w: int) -> Any:
    """Tickets about price, contract or cancelling, by their topic, opened in the last {w} days."""
    return at(MONEY, w)


@feature(
    windows=(30, 90),
    unit="change, -1 to 1",
    family="ticket trend",
    says=change_in_words("the number of tickets"),
    missing="no tickets in either window",
    play="review_tickets",
)
def tickets_trend(at: FeatureContext, w: int) -> Any:
    """Tickets in the last {w} days against the {w} before: -1 gone, 0 level, 1 new."""
    return change(at(TICKETS, w), at(TICKETS, w, before=w))


@feature(
    windows=(90,),
    unit="share of tickets",
    family="urgent tickets",
    says="{value:.0%} of the tickets in {w} days were urgent",
    missing="no tickets in the window",
    play="fix_service",
)
def urgent_share(at: FeatureContext, w: int) -> Any:
    """Tickets of high or urgent priority as a share of those opened in the last {w} days."""
    return ratio(at(URGENT, w), at(TICKETS, w))


@feature(
    windows=(90,),
    unit="tickets",
    family="tickets about faults",
    says="{value:.0f} ticket{s} about faults in {w} days",
    play="fix_service",
)
def fault_tickets(at: FeatureContext, w: int) -> Any:
    """Tickets about faults and outages, by their topic, opened in the last {w} days."""
    return at(FAULTS, w)


@feature(
    windows=(365,),
    unit="share of tickets",
    family="repeated topics",
    says="{value:.0%} of the tickets in {w} days came back to a topic raised before",
    missing="no tickets with a topic in the window",
    play="review_tickets",
)
def repeat_share(at: FeatureContext, w: int) -> Any:
    """Tickets on a topic that another one had raised, as a share of those with a topic in the last {w} days."""
    return 1 - ratio(at(TOPICS, w), at(WITH_TOPIC, w))


@feature(
    windows=(30,),
    unit="times the usual",
    family="ticket trend",
    says="tickets of the last {w} days are {value:.0%} of the account's own usual",
    missing="no tickets within a year",
    play="review_tickets",
)
def tickets_against_usual(at: FeatureContext, w: int) -> Any:
    """Tickets in the last {w} days against {w} days' share of the account's tickets of the last 365."""
    days = at.age_days(FIRST, 365).clip(lower=float(w))
    return ratio(at(TICKETS, w), at(TICKETS, 365)) * (days / w)


@feature(
    windows=(30,),
    unit="tickets",
    family="tickets after a contract event",
    says="{value:.0f} ticket{s} in {w} days, soon after a renewal, a cut or a term's end",
    play="talk_price",
)
def tickets_after_contract_event(at: FeatureContext, w: int) -> Any:
    """Tickets of the last {w} days where a renewal, contraction or end of a term fell in the last 60; else 0."""
    events = at(CONTRACT_EVENTS, 60) + at(TERM_ENDS, 60)
    return (events > 0).ifelse(at(TICKETS, w), 0.0)


@feature(
    windows=(365,),
    unit="times the usual gap",
    family="ticket recency",
    says="no ticket for {value:.1f} times the usual gap",
    missing="fewer than two tickets in the window",
    play="break_silence",
)
def tickets_overdue(at: FeatureContext, w: int) -> Any:
    """Days since the last ticket against the mean gap between those of the last {w} days, taken as a day or more."""
    gap = (at(LAST, w) - at(FIRST, w)) / DAY / (at(TICKETS, w) - 1).nullif(0.0)
    return at.age_days(LAST, w) / gap.clip(lower=1.0)


@feature(
    unit="days",
    family="ticket recency",
    says="the last ticket was {value:.0f} day{s} ago",
    play="break_silence",
)
def days_since_ticket(at: FeatureContext) -> Any:
    """Days since the last ticket was opened."""
    return at.age_days(LAST)


FEATURES = (
    *tickets,
    *urgent_tickets,
    *urgent_share,
    *money_tickets,
    *fault_tickets,
    *repeat_share,
    *tickets_trend,
    *tickets_against_usual,
    *tickets_after_contract_event,
    *days_since_ticket,
    *tickets_overdue,
)

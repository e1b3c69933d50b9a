"""Features of tickets: how many, how grave, how well they were served, and what still stands open."""

from __future__ import annotations

from typing import Any

from features.definition import DAY, At, change, change_in_words, feature, ratio
from features.streams import ANSWERED, OPEN, OPENED, RESOLVED

TICKETS = OPENED.count()
URGENT = OPENED.count(lambda t: t.priority.isin(["high", "urgent"]), name="urgent_tickets")
MONEY = OPENED.count(lambda t: t.topic.lower().re_search("pric|contract|renew|cancel"), name="money_tickets")
OPEN_TICKETS = OPEN.count()
OPEN_URGENT = OPEN.count(lambda t: t.priority.isin(["high", "urgent"]), name="open_urgent_tickets")
RESOLUTIONS = RESOLVED.count()
RESOLVING = RESOLVED.sum("took")
RATINGS = RESOLVED.count(lambda t: t.csat.notnull(), name="ratings")
RATED = RESOLVED.sum("csat")
ESCALATED = RESOLVED.count(lambda t: t.escalated, name="escalated_tickets")
REOPENED = RESOLVED.count(lambda t: t.reopened, name="reopened_tickets")
ANSWERS = ANSWERED.count()
WAITING = ANSWERED.sum("waited")

HOUR = DAY / 24


@feature(
    windows=(30, 90, 365),
    unit="tickets",
    family="tickets",
    says="{value:.0f} tickets in {w} days",
    play="review_tickets",
)
def tickets(at: At, w: int) -> Any:
    """Tickets opened in the last {w} days."""
    return at(TICKETS, w)


@feature(
    windows=(30, 90),
    unit="tickets",
    family="urgent tickets",
    says="{value:.0f} urgent tickets in {w} days",
    direction=1,
    play="fix_service",
)
def urgent_tickets(at: At, w: int) -> Any:
    """Tickets of high or urgent priority opened in the last {w} days."""
    return at(URGENT, w)


@feature(
    windows=(90,),
    unit="tickets",
    family="tickets about money",
    says="{value:.0f} tickets about price or contract in {w} days",
    play="talk_price",
)
def money_tickets(at: At, w: int) -> Any:
    """Tickets about price, contract or cancelling, by their topic, opened in the last {w} days."""
    return at(MONEY, w)


@feature(
    windows=(90,),
    unit="change, -1 to 1",
    family="ticket trend",
    says=change_in_words("the number of tickets"),
    missing="no tickets in either window",
    play="review_tickets",
)
def tickets_trend(at: At, w: int) -> Any:
    """Tickets in the last {w} days against the {w} before: -1 gone, 0 level, 1 new."""
    return change(at(TICKETS, w), at(TICKETS, w, before=w))


@feature(
    unit="tickets",
    family="open tickets",
    says="{value:.0f} tickets stand open",
    direction=1,
    play="answer_tickets",
)
def open_tickets(at: At) -> Any:
    """Tickets open at `as_of`."""
    return at(OPEN_TICKETS)


@feature(
    unit="tickets",
    family="open tickets",
    says="{value:.0f} urgent tickets stand open",
    direction=1,
    play="answer_tickets",
)
def open_urgent_tickets(at: At) -> Any:
    """Tickets of high or urgent priority open at `as_of`."""
    return at(OPEN_URGENT)


@feature(
    unit="days",
    family="open tickets",
    says="the oldest open ticket has waited {value:.0f} days",
    missing="no ticket stands open",
    play="answer_tickets",
)
def oldest_open_days(at: At) -> Any:
    """Days since the oldest ticket still open was opened."""
    return at.age_days(OPEN.first())


@feature(
    windows=(90, 365),
    unit="hours",
    family="resolution time",
    says="tickets took {value:,.0f} hours to resolve, over {w} days",
    missing="no ticket resolved in the window",
    play="fix_service",
)
def resolution_hours(at: At, w: int) -> Any:
    """Mean hours from opening to resolution of the tickets resolved in the last {w} days."""
    return ratio(at(RESOLVING, w), at(RESOLUTIONS, w)) / HOUR


@feature(
    windows=(90,),
    unit="hours",
    family="first response",
    says="tickets waited {value:,.0f} hours for a first answer, over {w} days",
    missing="no ticket answered in the window",
    play="fix_service",
)
def first_response_hours(at: At, w: int) -> Any:
    """Mean hours from opening to first response of the tickets answered in the last {w} days."""
    return ratio(at(WAITING, w), at(ANSWERS, w)) / HOUR


@feature(
    windows=(90, 365),
    unit="points of the source's scale",
    family="satisfaction",
    says="CSAT of {value:.1f} over {w} days",
    missing="no rating in the window",
    play="fix_service",
)
def csat(at: At, w: int) -> Any:
    """Mean CSAT of the tickets resolved in the last {w} days."""
    return ratio(at(RATED, w), at(RATINGS, w))


@feature(
    windows=(90,),
    unit="tickets",
    family="escalations",
    says="{value:.0f} tickets were escalated in {w} days",
    direction=1,
    play="fix_service",
)
def escalated_tickets(at: At, w: int) -> Any:
    """Escalated tickets among those resolved in the last {w} days."""
    return at(ESCALATED, w)


@feature(
    windows=(90,),
    unit="tickets",
    family="reopened tickets",
    says="{value:.0f} tickets were reopened in {w} days",
    direction=1,
    play="fix_service",
)
def reopened_tickets(at: At, w: int) -> Any:
    """Reopened tickets among those resolved in the last {w} days."""
    return at(REOPENED, w)


@feature(
    unit="days",
    family="ticket recency",
    says="the last ticket was {value:.0f} days ago",
    play="break_silence",
)
def days_since_ticket(at: At) -> Any:
    """Days since the last ticket was opened."""
    return at.age_days(OPENED.last())


FEATURES = (
    *tickets,
    *urgent_tickets,
    *money_tickets,
    *tickets_trend,
    *open_tickets,
    *open_urgent_tickets,
    *oldest_open_days,
    *resolution_hours,
    *first_response_hours,
    *csat,
    *escalated_tickets,
    *reopened_tickets,
    *days_since_ticket,
)

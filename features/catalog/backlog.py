"""Define the features of the tickets open at `as_of`: how many, how grave, how old, and whether anyone answered."""

from __future__ import annotations

from typing import Any

from features.definitions.feature import FeatureContext, feature, ratio
from features.definitions.streams import OPEN, OPEN_MONTH, OPEN_WEEK, UNANSWERED

OPEN_TICKETS = OPEN.count()
OPEN_URGENT = OPEN.count(lambda t: t.priority.isin(["high", "urgent"]), name="open_urgent_tickets")
UNANSWERED_TICKETS = UNANSWERED.count()


@feature(
    unit="tickets",
    family="open tickets",
    says="{value:.0f} ticket{s} stand{es} open",
    direction=1,
    play="answer_tickets",
)
def open_tickets(at: FeatureContext) -> Any:
    """Tickets open at `as_of`."""
    return at(OPEN_TICKETS)


@feature(
    unit="tickets",
    family="open tickets",
    says="{value:.0f} urgent ticket{s} stand{es} open",
    direction=1,
    play="answer_tickets",
)
def open_urgent_tickets(at: FeatureContext) -> Any:
    """Tickets of high or urgent priority open at `as_of`."""
    return at(OPEN_URGENT)


@feature(
    unit="days",
    family="open tickets",
    says="the oldest open ticket has waited {value:.0f} day{s}",
    missing="no ticket stands open",
    play="answer_tickets",
)
def oldest_open_days(at: FeatureContext) -> Any:
    """Days since the oldest ticket still open was opened."""
    return at.age_days(OPEN.first())


@feature(
    unit="tickets",
    family="ageing tickets",
    says="{value:.0f} open ticket{s} older than a week",
    direction=1,
    play="answer_tickets",
)
def open_over_a_week(at: FeatureContext) -> Any:
    """Tickets open at `as_of` for more than 7 days."""
    return at(OPEN_WEEK.count())


@feature(
    unit="tickets",
    family="ageing tickets",
    says="{value:.0f} open ticket{s} older than 30 days",
    direction=1,
    play="answer_tickets",
)
def open_over_a_month(at: FeatureContext) -> Any:
    """Tickets open at `as_of` for more than 30 days."""
    return at(OPEN_MONTH.count())


@feature(
    unit="tickets",
    family="unanswered tickets",
    says="{value:.0f} ticket{s} wait{es} for a first answer",
    direction=1,
    play="answer_tickets",
)
def unanswered_tickets(at: FeatureContext) -> Any:
    """Tickets neither answered nor resolved at `as_of`."""
    return at(UNANSWERED_TICKETS)


@feature(
    unit="share of open tickets",
    family="unanswered tickets",
    says="{value:.0%} of the open tickets wait for a first answer",
    missing="no ticket stands open",
    play="answer_tickets",
)
def unanswered_share(at: FeatureContext) -> Any:
    """Tickets neither answered nor resolved, as a share of those open at `as_of`."""
    return ratio(at(UNANSWERED_TICKETS), at(OPEN_TICKETS))


FEATURES = (
    *open_tickets,
    *open_urgent_tickets,
    *oldest_open_days,
    *open_over_a_week,
    *open_over_a_month,
    *unanswered_tickets,
    *unanswered_share,
)

"""Define the features of service: how soon tickets were answered and resolved, how satisfying, what was done twice."""

from __future__ import annotations

from typing import Any

from features.definitions.feature import DAY, FeatureContext, feature, ratio
from features.definitions.streams import ANSWERED, RESOLVED

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
    windows=(90, 365),
    unit="hours",
    family="resolution time",
    says="tickets took {value:,.0f} hours to resolve, over {w} days",
    missing="no ticket resolved in the window",
    play="fix_service",
)
def resolution_hours(at: FeatureContext, w: int) -> Any:
    """Mean hours from opening to resolution of the tickets resolved in the last {w} days."""
    return ratio(at(RESOLVING, w), at(RESOLUTIONS, w)) / HOUR


@feature(
    windows=(90,),
    unit="times the usual",
    family="resolution time",
    says="tickets of {w} days took {value:.0%} of the account's usual time to resolve",
    missing="no ticket resolved in the window",
    play="fix_service",
)
def resolution_against_usual(at: FeatureContext, w: int) -> Any:
    """Mean time to resolve the tickets resolved in the last {w} days against that of the last 365."""
    return ratio(ratio(at(RESOLVING, w), at(RESOLUTIONS, w)), ratio(at(RESOLVING, 365), at(RESOLUTIONS, 365)))


@feature(
    windows=(90,),
    unit="hours",
    family="first response",
    says="tickets waited {value:,.0f} hours for a first answer, over {w} days",
    missing="no ticket answered in the window",
    play="fix_service",
)
def first_response_hours(at: FeatureContext, w: int) -> Any:
    """Mean hours from opening to first response of the tickets answered in the last {w} days."""
    return ratio(at(WAITING, w), at(ANSWERS, w)) / HOUR


@feature(
    windows=(90,),
    unit="times the usual",
    family="first response",
    says="first answers of {w} days took {value:.0%} of the account's usual time",
    missing="no ticket answered in the window",
    play="fix_service",
)
def first_response_against_usual(at: FeatureContext, w: int) -> Any:
    """Mean time to the first responses of the last {w} days against that of the last 365."""
    return ratio(ratio(at(WAITING, w), at(ANSWERS, w)), ratio(at(WAITING, 365), at(ANSWERS, 365)))


@feature(
    windows=(90, 365),
    unit="points of the source's scale",
    family="satisfaction",
    says="CSAT of {value:.1f} over {w} days",
    missing="no rating in the window",
    play="fix_service",
)
def csat(at: FeatureContext, w: int) -> Any:
    """Mean CSAT of the tickets resolved in the last {w} days."""
    return ratio(at(RATED, w), at(RATINGS, w))


@feature(
    windows=(90,),
    unit="times the usual",
    family="satisfaction",
    says="CSAT of {w} days is {value:.0%} of the year's",
    missing="no rating in the window",
    play="fix_service",
)
def csat_against_usual(at: FeatureContext, w: int) -> Any:
    """Mean CSAT of the last {w} days against that of the last 365."""
    return ratio(ratio(at(RATED, w), at(RATINGS, w)), ratio(at(RATED, 365), at(RATINGS, 365)))


@feature(
    windows=(365,),
    unit="share of tickets",
    family="ratings given",
    says="{value:.0%} of the tickets resolved in {w} days were rated",
    missing="no ticket resolved in the window",
)
def rated_share(at: FeatureContext, w: int) -> Any:
    """Tickets with a CSAT as a share of those resolved in the last {w} days."""
    return ratio(at(RATINGS, w), at(RESOLUTIONS, w))


@feature(
    windows=(90,),
    unit="tickets",
    family="escalations",
    says="{value:.0f} escalated ticket{s} in {w} days",
    direction=1,
    play="fix_service",
)
def escalated_tickets(at: FeatureContext, w: int) -> Any:
    """Escalated tickets among those resolved in the last {w} days."""
    return at(ESCALATED, w)


@feature(
    windows=(365,),
    unit="share of tickets",
    family="escalations",
    says="{value:.0%} of the tickets resolved in {w} days were escalated",
    missing="no ticket resolved in the window",
    play="fix_service",
)
def escalated_share(at: FeatureContext, w: int) -> Any:
    """Escalated tickets as a share of those resolved in the last {w} days."""
    return ratio(at(ESCALATED, w), at(RESOLUTIONS, w))


@feature(
    windows=(90,),
    unit="tickets",
    family="reopened tickets",
    says="{value:.0f} reopened ticket{s} in {w} days",
    direction=1,
    play="fix_service",
)
def reopened_tickets(at: FeatureContext, w: int) -> Any:
    """Reopened tickets among those resolved in the last {w} days."""
    return at(REOPENED, w)


@feature(
    windows=(365,),
    unit="share of tickets",
    family="reopened tickets",
    says="{value:.0%} of the tickets resolved in {w} days were reopened",
    missing="no ticket resolved in the window",
    play="fix_service",
)
def reopened_share(at: FeatureContext, w: int) -> Any:
    """Reopened tickets as a share of those resolved in the last {w} days."""
    return ratio(at(REOPENED, w), at(RESOLUTIONS, w))


FEATURES = (
    *resolution_hours,
    *resolution_against_usual,
    *first_response_hours,
    *first_response_against_usual,
    *csat,
    *csat_against_usual,
    *rated_share,
    *escalated_tickets,
    *escalated_share,
    *reopened_tickets,
    *reopened_share,
)

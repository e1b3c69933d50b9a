"""Features of usage: how much, by whom, how broad, and whether it is falling."""

from __future__ import annotations

from typing import Any

from features.definition import At, change, change_in_words, feature, ratio
from features.streams import OPENED, USAGE

EVENTS = USAGE.sum("count")
DAYS = USAGE.distinct("day")
USERS = USAGE.distinct("user_id")
PARTS = USAGE.distinct("feature")
ERRORS = USAGE.sum("errors")
SECONDS = USAGE.sum("duration_s")
TICKETS = OPENED.count()

_RARE = "no usage in the window"


@feature(
    windows=(7, 30, 90),
    unit="events",
    family="usage level",
    says="{value:,.0f} usage events in {w} days",
    play="revive_usage",
)
def usage_events(at: At, w: int) -> Any:
    """Usage events in the last {w} days."""
    return at(EVENTS, w)


@feature(
    windows=(7, 30, 90),
    unit="days",
    family="active days",
    says="used on {value:.0f} of the last {w} days",
    play="revive_usage",
)
def active_days(at: At, w: int) -> Any:
    """Days with any usage among the last {w}."""
    return at(DAYS, w)


@feature(
    windows=(30, 90),
    unit="users",
    family="users",
    says="{value:.0f} people used it in {w} days",
    play="train_users",
)
def users(at: At, w: int) -> Any:
    """Different users seen in the last {w} days."""
    return at(USERS, w)


@feature(
    windows=(30, 90),
    unit="product features",
    family="breadth",
    says="{value:.0f} product features used in {w} days",
    play="train_users",
)
def usage_breadth(at: At, w: int) -> Any:
    """Different product features used in the last {w} days."""
    return at(PARTS, w)


@feature(
    windows=(7, 30, 90),
    unit="change, -1 to 1",
    family="usage trend",
    says=change_in_words("usage"),
    missing="no usage in either window",
    play="revive_usage",
)
def usage_trend(at: At, w: int) -> Any:
    """Usage events in the last {w} days against the {w} before: -1 gone, 0 level, 1 new."""
    return change(at(EVENTS, w), at(EVENTS, w, before=w))


@feature(
    windows=(7, 30, 90),
    unit="times the usual",
    family="usage against usual",
    says="usage of the last {w} days is {value:.0%} of the account's own usual",
    missing="no usage within a year",
    play="revive_usage",
)
def usage_against_usual(at: At, w: int) -> Any:
    """Usage events in the last {w} days against {w} days' share of the account's usage of the last 365."""
    days = at.age_days(USAGE.first(), 365).clip(1.0, 365.0)
    return ratio(at(EVENTS, w), at(EVENTS, 365)) * (days / w)


@feature(
    windows=(30,),
    unit="change, -1 to 1",
    family="usage trend",
    says=change_in_words("the number of active days"),
    missing="no usage in either window",
    play="revive_usage",
)
def active_days_trend(at: At, w: int) -> Any:
    """Active days in the last {w} against the {w} before: -1 gone, 0 level, 1 new."""
    return change(at(DAYS, w), at(DAYS, w, before=w))


@feature(
    windows=(30,),
    unit="change, -1 to 1",
    family="users trend",
    says=change_in_words("the number of users"),
    missing="no users in either window",
    play="train_users",
)
def users_trend(at: At, w: int) -> Any:
    """Different users in the last {w} days against the {w} before: -1 gone, 0 level, 1 new."""
    return change(at(USERS, w), at(USERS, w, before=w))


@feature(
    windows=(30, 90),
    unit="events a user",
    family="depth",
    says="{value:.1f} usage events a user in {w} days",
    missing=_RARE,
    play="train_users",
)
def usage_per_user(at: At, w: int) -> Any:
    """Usage events for each user seen in the last {w} days."""
    return ratio(at(EVENTS, w), at(USERS, w))


@feature(
    windows=(30,),
    unit="errors an event",
    family="errors",
    says="{value:.1%} of the usage in {w} days met an error",
    missing=_RARE,
    play="fix_service",
)
def error_share(at: At, w: int) -> Any:
    """Errors for each usage event in the last {w} days."""
    return ratio(at(ERRORS, w), at(EVENTS, w))


@feature(
    windows=(30,),
    unit="hours",
    family="usage level",
    says="{value:,.1f} hours of use in {w} days",
    play="revive_usage",
)
def usage_hours(at: At, w: int) -> Any:
    """Hours of use in the last {w} days."""
    return at(SECONDS, w) / 3600


@feature(unit="days", family="usage recency", says="last used {value:.0f} days ago", play="revive_usage")
def days_since_usage(at: At) -> Any:
    """Days since the last usage."""
    return at.age_days(USAGE.last(), 365)


@feature(
    windows=(30,),
    unit="change, -1 to 0",
    family="silence",
    says=lambda value, w: (
        f"silent: {change_in_words('usage')(value, w)}, and no ticket raised" if value < 0 else "not silent"
    ),
    missing="no usage in either window",
    play="break_silence",
)
def silence(at: At, w: int) -> Any:
    """The fall of usage in the last {w} days against the {w} before while no ticket was raised; else 0."""
    fall = change(at(EVENTS, w), at(EVENTS, w, before=w))
    return (fall < 0).ifelse((at(TICKETS, w) == 0).ifelse(fall, 0.0), fall * 0.0)


FEATURES = (
    *usage_events,
    *active_days,
    *users,
    *usage_breadth,
    *usage_trend,
    *usage_against_usual,
    *active_days_trend,
    *users_trend,
    *usage_per_user,
    *error_share,
    *usage_hours,
    *days_since_usage,
    *silence,
)

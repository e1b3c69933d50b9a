"""Define the features of usage as it is: how much, by whom, how broad, how deep, and how well it works."""

from __future__ import annotations

from typing import Any

from features.catalog.terms import SEATS
from features.definitions.feature import FeatureContext, feature, ratio
from features.definitions.streams import USAGE

EVENTS = USAGE.sum("count")
DAYS = USAGE.distinct("day")
USERS = USAGE.distinct("user_id")
PARTS = USAGE.distinct("feature")
ERRORS = USAGE.sum("errors")
SECONDS = USAGE.sum("duration_s")

_RARE = "no usage in the window"


@feature(
    windows=(7, 30, 90),
    unit="events",
    family="usage level",
    says="{value:,.0f} usage event{s} in {w} days",
    play="revive_usage",
)
def usage_events(at: FeatureContext, w: int) -> Any:
    """Usage events in the last {w} days."""
    return at(EVENTS, w)


@feature(
    windows=(7, 30, 90),
    unit="days",
    family="active days",
    says="used on {value:.0f} of the last {w} days",
    play="revive_usage",
)
def active_days(at: FeatureContext, w: int) -> Any:
    """Days with any usage among the last {w}."""
    return at(DAYS, w)


@feature(
    windows=(30, 90),
    unit="users",
    family="users",
    says="{value:.0f} user{s} in {w} days",
    play="train_users",
)
def users(at: FeatureContext, w: int) -> Any:
    """Different users seen in the last {w} days."""
    return at(USERS, w)


@feature(
    windows=(30, 90),
    unit="product features",
    family="breadth",
    says="{value:.0f} product feature{s} used in {w} days",
    play="train_users",
)
def usage_breadth(at: FeatureContext, w: int) -> Any:
    """Different product features used in the last {w} days."""
    return at(PARTS, w)


@feature(
    windows=(30, 90),
    unit="events a user",
    family="depth",
    says="{value:.1f} usage events per user in {w} days",
    missing=_RARE,
    play="revive_usage",
)
def usage_per_user(at: FeatureContext, w: int) -> Any:
    """Usage events for each user seen in the last {w} days."""
    return ratio(at(EVENTS, w), at(USERS, w))


@feature(
    windows=(30,),
    unit="events a day",
    family="depth",
    says="{value:,.1f} usage events on each active day of {w} days",
    missing=_RARE,
    play="revive_usage",
)
def usage_per_active_day(at: FeatureContext, w: int) -> Any:
    """Usage events for each active day of the last {w}."""
    return ratio(at(EVENTS, w), at(DAYS, w))


@feature(
    windows=(30,),
    unit="hours a user",
    family="depth",
    says="{value:,.1f} hours of use per user in {w} days",
    missing="no users in the window",
    play="revive_usage",
)
def hours_per_user(at: FeatureContext, w: int) -> Any:
    """Hours of use for each user seen in the last {w} days."""
    return ratio(at(SECONDS, w) / 3600, at(USERS, w))


@feature(
    windows=(30,),
    unit="events a seat",
    family="seats used",
    says="{value:,.1f} usage events per seat bought in {w} days",
    missing="no seats in force",
    play="train_users",
)
def usage_per_seat(at: FeatureContext, w: int) -> Any:
    """Usage events of the last {w} days for each seat in force."""
    return ratio(at(EVENTS, w), at(SEATS))


@feature(
    windows=(30,),
    unit="share of seats",
    family="seats used",
    says="{value:.0%} of the seats bought were used in {w} days",
    missing="no seats in force",
    play="train_users",
)
def seats_used(at: FeatureContext, w: int) -> Any:
    """Different users of the last {w} days as a share of the seats in force; above 1 where seats are shared out."""
    return ratio(at(USERS, w), at(SEATS))


@feature(
    windows=(180,),
    unit="share of users",
    family="users",
    says="{value:.0%} of those who used it in {w} days did so in the last 30",
    missing="no users in the window",
    play="train_users",
)
def users_kept(at: FeatureContext, w: int) -> Any:
    """Users of the last 30 days as a share of those of the last {w}."""
    return ratio(at(USERS, 30), at(USERS, w))


@feature(
    windows=(30, 90),
    unit="errors an event",
    family="errors",
    says="{value:.1%} of the usage in {w} days met an error",
    missing=_RARE,
    play="fix_service",
)
def error_share(at: FeatureContext, w: int) -> Any:
    """Errors for each usage event in the last {w} days."""
    return ratio(at(ERRORS, w), at(EVENTS, w))


@feature(
    windows=(30,),
    unit="hours",
    family="usage level",
    says="{value:,.1f} hours of use in {w} days",
    play="revive_usage",
)
def usage_hours(at: FeatureContext, w: int) -> Any:
    """Hours of use in the last {w} days."""
    return at(SECONDS, w) / 3600


FEATURES = (
    *usage_events,
    *active_days,
    *users,
    *usage_breadth,
    *usage_per_user,
    *usage_per_active_day,
    *hours_per_user,
    *usage_per_seat,
    *seats_used,
    *users_kept,
    *error_share,
    *usage_hours,
)

"""Define the features of how usage develops: recency, trend, steadiness, gaps, and silence."""

from __future__ import annotations

from typing import Any

from features.catalog.series import (
    against_peak,
    coefficient_of_variation,
    count_empty,
    keep_where,
    slope,
    slope_in_words,
    split_window,
)
from features.catalog.tickets import TICKETS
from features.catalog.usage import DAYS, ERRORS, EVENTS, PARTS, USERS
from features.core.language import Phrase
from features.definitions.feature import DAY, FeatureContext, change, change_in_words, feature, ratio
from features.definitions.streams import USAGE

FIRST, LAST = USAGE.first(), USAGE.last()


@feature(
    windows=(7, 30, 90),
    unit="change, -1 to 1",
    family="usage trend",
    says=change_in_words("usage"),
    missing="no usage in either window",
    play="revive_usage",
)
def usage_trend(at: FeatureContext, w: int) -> Any:
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
def usage_against_usual(at: FeatureContext, w: int) -> Any:
    """Usage events in the last {w} days against {w} days' share of the account's usage of the last 365."""
    days = at.age_days(FIRST, 365).clip(1.0, 365.0)
    return ratio(at(EVENTS, w), at(EVENTS, 365)) * (days / w)


@feature(
    windows=(30,),
    unit="change, -1 to 1",
    family="usage trend",
    says=change_in_words("the number of active days"),
    missing="no usage in either window",
    play="revive_usage",
)
def active_days_trend(at: FeatureContext, w: int) -> Any:
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
def users_trend(at: FeatureContext, w: int) -> Any:
    """Different users in the last {w} days against the {w} before: -1 gone, 0 level, 1 new."""
    return change(at(USERS, w), at(USERS, w, before=w))


@feature(
    windows=(30, 90),
    unit="change, -1 to 1",
    family="breadth",
    says=change_in_words("the number of product features in use"),
    missing="no product features in either window",
    play="train_users",
)
def breadth_trend(at: FeatureContext, w: int) -> Any:
    """Different product features used in the last {w} days against the {w} before: -1 gone, 0 level, 1 new."""
    return change(at(PARTS, w), at(PARTS, w, before=w))


@feature(
    windows=(30,),
    unit="change, -1 to 1",
    family="errors",
    says=change_in_words("the share of errors"),
    missing="no usage in one of the windows, or no errors in either",
    play="fix_service",
)
def error_share_trend(at: FeatureContext, w: int) -> Any:
    """Errors for each usage event in the last {w} days against the {w} before: -1 gone, 0 level, 1 new."""
    now, then = (ratio(at(ERRORS, w, before=b), at(EVENTS, w, before=b)) for b in (0, w))
    return change(now, then)


@feature(
    windows=(84, 360),
    unit="share of the mean for each twelfth",
    family="usage slope",
    says=slope_in_words("usage"),
    missing="no usage in the window",
    play="revive_usage",
)
def usage_slope(at: FeatureContext, w: int) -> Any:
    """Least-squares slope of usage events over the twelfths of the last {w} days, as a share of their mean."""
    return slope(split_window(at, EVENTS, w))


@feature(
    windows=(84,),
    unit="times the mean",
    family="usage steadiness",
    says="usage from week to week varied by {value:.0%} of its mean over {w} days",
    missing="first used, within the year, after the window began",
)
def usage_variation(at: FeatureContext, w: int) -> Any:
    """Coefficient of variation of weekly usage events over the last {w} days."""
    return keep_where(_began_before(at, w), coefficient_of_variation(split_window(at, EVENTS, w)))


@feature(
    windows=(84,),
    unit="weeks",
    family="usage steadiness",
    says="{value:.0f} of the last 12 weeks without use",
    missing="first used, within the year, after the window began",
    play="revive_usage",
)
def idle_weeks(at: FeatureContext, w: int) -> Any:
    """Weeks without usage events among the twelve of the last {w} days."""
    return keep_where(_began_before(at, w), count_empty(split_window(at, EVENTS, w)))


def _began_before(at: FeatureContext, w: int) -> Any:
    """Return whether the account was used in the first twelfth of the window, or before it within the year."""
    return at.age_days(FIRST, 365) > w * 11 / 12


@feature(
    windows=(360,),
    unit="share of the peak",
    family="usage against peak",
    says="usage of the last 30 days is {value:.0%} of the best 30 of {w} days",
    missing="no usage in the window",
    play="revive_usage",
)
def usage_against_peak(at: FeatureContext, w: int) -> Any:
    """Usage events of the last 30 days as a share of the largest of the twelve 30 days in the last {w}."""
    return against_peak(split_window(at, EVENTS, w))


@feature(
    windows=(90,),
    unit="days",
    family="usage gaps",
    says="used every {value:.1f} days over {w} days",
    missing="fewer than two active days in the window",
    play="revive_usage",
)
def usage_gap(at: FeatureContext, w: int) -> Any:
    """Mean days from one active day to the next in the last {w} days."""
    return (at(LAST, w) - at(FIRST, w)) / DAY / (at(DAYS, w) - 1).nullif(0.0)


@feature(
    windows=(90,),
    unit="times the usual gap",
    family="usage gaps",
    says="not used for {value:.1f} times the usual gap",
    missing="fewer than two active days in the window",
    play="revive_usage",
)
def usage_overdue(at: FeatureContext, w: int) -> Any:
    """Days since the last use against the mean gap between active days of the last {w} days, taken as a day or more."""
    gap = (at(LAST, w) - at(FIRST, w)) / DAY / (at(DAYS, w) - 1).nullif(0.0)
    return at.age_days(LAST, w) / gap.clip(lower=1.0)


@feature(
    windows=(30,),
    unit="change, -1 to 1",
    family="usage season",
    says=change_in_words("usage", "the same {w} days a year before"),
    missing="no usage now, nor a year before",
    play="revive_usage",
)
def usage_against_last_year(at: FeatureContext, w: int) -> Any:
    """Usage events in the last {w} days against the same days a year before: -1 gone, 0 level, 1 new."""
    return change(at(EVENTS, w), at(EVENTS, w, before=365))


@feature(unit="days", family="usage recency", says="last used {value:.0f} day{s} ago", play="revive_usage")
def days_since_usage(at: FeatureContext) -> Any:
    """Days since the last usage."""
    return at.age_days(LAST, 365)


@feature(
    windows=(30, 90),
    unit="change, -1 to 0",
    family="silence",
    says=lambda value, w: (
        Phrase("silent: {words}, and no ticket raised", {"words": change_in_words("usage")(value, w)})
        if value < 0
        else Phrase("not silent in the last {w} days", {"w": w})
    ),
    missing="no usage in either window",
    play="break_silence",
)
def silence(at: FeatureContext, w: int) -> Any:
    """The fall of usage in the last {w} days against the {w} before while no ticket was raised; else 0."""
    fall = change(at(EVENTS, w), at(EVENTS, w, before=w))
    return (fall < 0).ifelse((at(TICKETS, w) == 0).ifelse(fall, 0.0), fall * 0.0)


FEATURES = (
    *usage_trend,
    *usage_against_usual,
    *active_days_trend,
    *users_trend,
    *breadth_trend,
    *error_share_trend,
    *usage_slope,
    *usage_variation,
    *idle_weeks,
    *usage_against_peak,
    *usage_gap,
    *usage_overdue,
    *usage_against_last_year,
    *days_since_usage,
    *silence,
)

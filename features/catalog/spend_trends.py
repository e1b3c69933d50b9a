"""Define the features of how spend develops: trend, slope and season, against the account's own usual and peak."""

from __future__ import annotations

from typing import Any

from features.catalog.purchases import COUNT, FIRST, SPEND
from features.catalog.series import against_peak, clip_at_zero, slope, slope_in_words, split_window
from features.core.language import Phrase
from features.definitions.feature import FeatureContext, change, change_in_words, feature, ratio

_AHEAD = "last year, in the {w} days that now lie ahead, {words}"


@feature(
    windows=(30, 90, 180),
    unit="change, -1 to 1",
    family="order trend",
    says=change_in_words("the number of orders"),
    missing="no orders in either window",
    play="win_back_purchase",
)
def orders_trend(at: FeatureContext, w: int) -> Any:
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
def spend_against_usual(at: FeatureContext, w: int) -> Any:
    """Spend in the last {w} days against {w} days' share of the account's own spend over its last year."""
    return ratio(at(SPEND, w), at(SPEND, 365)) * (_year(at) / w)


def _year(at: FeatureContext) -> Any:
    """Return the days of the last 365 in which the account was a customer, at least 1."""
    return at.age_days(FIRST).clip(1.0, 365.0)


@feature(
    windows=(30, 90),
    unit="change, -1 to 1",
    family="spend trend",
    says=change_in_words("spend"),
    missing="no spend in either window",
    play="win_back_purchase",
)
def spend_trend(at: FeatureContext, w: int) -> Any:
    """Money spent in the last {w} days against the {w} before: -1 gone, 0 level, 1 new."""
    return change(clip_at_zero(at(SPEND, w)), clip_at_zero(at(SPEND, w, before=w)))


@feature(
    windows=(30, 60, 90),
    unit="times the usual",
    family="spend against usual",
    says="spend of the last {w} days is {value:.0%} of the usual since the first order",
    missing="no spend yet",
    play="win_back_purchase",
)
def spend_against_lifetime(at: FeatureContext, w: int) -> Any:
    """Spend in the last {w} days against {w} days' share of all the spend since the first order."""
    return ratio(at(SPEND, w), clip_at_zero(at(SPEND))) * (at.age_days(FIRST).clip(lower=float(w)) / w)


@feature(
    windows=(30,),
    unit="times the usual",
    family="order trend",
    says="orders of the last {w} days are {value:.0%} of the year's usual",
    missing="no orders in the year",
    play="win_back_purchase",
)
def orders_against_usual(at: FeatureContext, w: int) -> Any:
    """Orders in the last {w} days against {w} days' share of the account's orders over its last year."""
    return ratio(at(COUNT, w), at(COUNT, 365)) * (at.age_days(FIRST).clip(float(w), 365.0) / w)


@feature(
    windows=(84, 360),
    unit="share of the mean for each twelfth",
    family="spend slope",
    says=slope_in_words("spend"),
    missing="no spend in the window",
    play="win_back_purchase",
)
def spend_slope(at: FeatureContext, w: int) -> Any:
    """Least-squares slope of spend over the twelfths of the last {w} days, as a share of their mean."""
    return slope(split_window(at, SPEND, w))


@feature(
    windows=(360,),
    unit="share of the peak",
    family="spend against peak",
    says="spend of the last 30 days is {value:.0%} of the best 30 of {w} days",
    missing="no spend in the window",
    play="win_back_purchase",
)
def spend_against_peak(at: FeatureContext, w: int) -> Any:
    """Spend of the last 30 days as a share of the largest of the twelve 30 days in the last {w}."""
    return against_peak(split_window(at, SPEND, w))


@feature(
    windows=(30, 90),
    unit="change, -1 to 1",
    family="season",
    says=change_in_words("spend", "the same {w} days a year before"),
    missing="no spend now, nor a year before",
    play="win_back_purchase",
)
def spend_against_last_year(at: FeatureContext, w: int) -> Any:
    """Spend in the last {w} days against the same days a year before: -1 gone, 0 level, 1 new."""
    return change(clip_at_zero(at(SPEND, w)), clip_at_zero(at(SPEND, w, before=365)))


@feature(
    windows=(30, 90),
    unit="change, -1 to 1",
    family="season",
    says=lambda value, w: Phrase(_AHEAD, {"w": w, "words": change_in_words("spend")(value, w)}),
    missing="no spend in either window",
)
def season_rise(at: FeatureContext, w: int) -> Any:
    """Spend a year ago in the {w} days that now lie ahead against the {w} before them: -1 gone, 0 level, 1 new."""
    return change(_ahead(at, w), clip_at_zero(at(SPEND, w, before=365)))


@feature(
    windows=(30, 90),
    unit="change, -1 to 1",
    family="season",
    says=lambda value, w: Phrase(_AHEAD, {"w": w, "words": change_in_words("spend", "the last {w} days")(value, w)}),
    missing="no spend in either window",
)
def season_ahead(at: FeatureContext, w: int) -> Any:
    """Spend a year ago in the {w} days that now lie ahead against the last {w} days: -1 gone, 0 level, 1 new."""
    return change(_ahead(at, w), clip_at_zero(at(SPEND, w)))


def _ahead(at: FeatureContext, w: int) -> Any:
    """Return the spend of the `w` days from `as_of` on, a year ago."""
    return clip_at_zero(at(SPEND, w, before=365 - w))


FEATURES = (
    *orders_trend,
    *orders_against_usual,
    *spend_trend,
    *spend_against_usual,
    *spend_against_lifetime,
    *spend_slope,
    *spend_against_peak,
    *spend_against_last_year,
    *season_rise,
    *season_ahead,
)

"""Define the features of touches: how recent, how many, of which kind, and where one is lacking when it matters."""

from __future__ import annotations

from typing import Any

from features.catalog.backlog import OPEN_URGENT
from features.catalog.series import keep_where
from features.catalog.terms import TERM_END
from features.definitions.feature import DAY, FeatureContext, feature, ratio
from features.definitions.streams import TOUCHES

COUNT = TOUCHES.count()
FIRST, LAST = TOUCHES.first(), TOUCHES.last()
PERSONAL = TOUCHES.count(lambda t: t.kind.lower().re_search("call|phone|visit|meet"), name="personal_touches")
CAMPAIGNS = TOUCHES.count(lambda t: t.kind.lower().re_search("campaign|newsletter|mailing"), name="campaigns")
PLAYS = TOUCHES.count(lambda t: t.kind.lower().re_search("play"), name="plays_done")


@feature(
    windows=(30, 90, 365),
    unit="touches",
    family="touches",
    says="{value:.0f} contact{s} with us in {w} days",
    play="get_in_touch",
)
def touches(at: FeatureContext, w: int) -> Any:
    """Touches of any kind in the last {w} days."""
    return at(COUNT, w)


@feature(
    windows=(90,),
    unit="touches",
    family="touches",
    says="{value:.0f} call{s} or visit{s} in {w} days",
    play="get_in_touch",
)
def personal_touches(at: FeatureContext, w: int) -> Any:
    """Calls, visits and meetings in the last {w} days, by their kind."""
    return at(PERSONAL, w)


@feature(
    windows=(90,),
    unit="plays",
    family="plays done",
    says="{value:.0f} play{s} done in {w} days",
)
def plays_done(at: FeatureContext, w: int) -> Any:
    """Plays done in the last {w} days."""
    return at(PLAYS, w)


@feature(
    windows=(365,),
    unit="share of touches",
    family="campaigns",
    says="{value:.0%} of the contacts of {w} days were campaigns",
    missing="no touches in the window",
    play="get_in_touch",
)
def campaign_share(at: FeatureContext, w: int) -> Any:
    """Campaigns as a share of the touches of the last {w} days."""
    return ratio(at(CAMPAIGNS, w), at(COUNT, w))


@feature(unit="days", family="touch recency", says="last spoken to {value:.0f} day{s} ago", play="get_in_touch")
def days_since_touch(at: FeatureContext) -> Any:
    """Days since the last touch."""
    return at.age_days(LAST)


@feature(
    windows=(365,),
    unit="times the usual gap",
    family="touch recency",
    says="not spoken to for {value:.1f} times the usual gap",
    missing="fewer than two touches in the window",
    play="get_in_touch",
)
def touch_overdue(at: FeatureContext, w: int) -> Any:
    """Days since the last touch against the mean gap between those of the last {w} days, taken as a day or more."""
    gap = (at(LAST, w) - at(FIRST, w)) / DAY / (at(COUNT, w) - 1).nullif(0.0)
    return at.age_days(LAST, w) / gap.clip(lower=1.0)


@feature(
    windows=(30,),
    unit="tickets",
    family="untouched tickets",
    says="{value:.0f} urgent ticket{s} stand{es} open, and nobody of ours was in touch in {w} days",
    play="get_in_touch",
)
def urgent_without_touch(at: FeatureContext, w: int) -> Any:
    """Urgent tickets open at `as_of` where there was no touch in the last {w} days; else 0."""
    return (at(COUNT, w) == 0).ifelse(at(OPEN_URGENT), 0.0)


@feature(
    windows=(90,),
    unit="touches",
    family="touches before renewal",
    says="{value:.0f} contact{s} with us in {w} days, and the term ends within as many",
    missing="no term ends within as many days",
    play="renew_early",
)
def touches_before_renewal(at: FeatureContext, w: int) -> Any:
    """Touches in the last {w} days where the term in force ends within as many; else null."""
    return keep_where(-at.age_days(TERM_END) <= w, at(COUNT, w))


FEATURES = (
    *touches,
    *personal_touches,
    *plays_done,
    *campaign_share,
    *days_since_touch,
    *touch_overdue,
    *urgent_without_touch,
    *touches_before_renewal,
)

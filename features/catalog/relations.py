"""Define the features of relations: champions who left, notice that may be given, what people answer, promises kept."""

from __future__ import annotations

from typing import Any

from features.definitions.feature import FeatureContext, feature, ratio
from features.definitions.streams import BROKEN, NOTICES, OVERDUE, PEOPLE, PEOPLE_LEFT, SURVEYS

_CHAMPION = "champion|sponsor|power user|key user"
THERE = PEOPLE.count(lambda p: p.role.lower().re_search(_CHAMPION), name="champions_there")
LEFT = PEOPLE_LEFT.count(lambda p: p.role.lower().re_search(_CHAMPION), name="champions_left")
NOTICE = NOTICES.last("until")
ANSWERS = SURVEYS.count(lambda s: (s.kind == "nps") & s.score.notnull(), name="nps_answers")
SCORES = SURVEYS.sum("score", lambda s: s.kind == "nps", name="nps_scores")
UNHAPPY = SURVEYS.count(lambda s: (s.kind == "nps") & (s.score <= 6), name="nps_unhappy")  # detractors, as NPS has it
BROKEN_COUNT = BROKEN.count()
OVERDUE_COUNT = OVERDUE.count()


@feature(
    windows=(180,),
    unit="people",
    family="champions",
    says="{value:.0f} champion{s} of theirs left in {w} days",
    play="get_in_touch",
)
def champions_left(at: FeatureContext, w: int) -> Any:
    """Champions of the product at the account who left in the last {w} days."""
    return at(LEFT, w)


@feature(
    unit="people",
    family="champions",
    says="{value:.0f} champion{s} of the product there",
    play="get_in_touch",
)
def champions(at: FeatureContext) -> Any:
    """Champions of the product at the account who have not left."""
    return at(THERE)


@feature(
    unit="days",
    family="notice",
    says="notice may be given for {value:z.0f} more day{s}",
    missing="no contract may be given notice of",
    play="renew_early",
)
def days_to_notice(at: FeatureContext) -> Any:
    """Days until the last one on which notice may be given of a contract in force."""
    return -at.age_days(NOTICE)


@feature(
    windows=(180, 365),
    unit="points, 0 to 10",
    family="recommendation",
    says="would recommend us with {value:.1f} of 10 in {w} days",
    missing="nobody answered in the window",
    play="fix_service",
)
def nps(at: FeatureContext, w: int) -> Any:
    """Mean answer to the recommendation survey (NPS) in the last {w} days."""
    return ratio(at(SCORES, w), at(ANSWERS, w))


@feature(
    windows=(180,),
    unit="points, -10 to 10",
    family="recommendation",
    says="recommends us by {value:+.1f} points against the {w} days before",
    missing="nobody answered in one of the two windows",
    play="fix_service",
)
def nps_change(at: FeatureContext, w: int) -> Any:
    """Mean answer to the recommendation survey in the last {w} days, less that in the {w} days before."""
    return ratio(at(SCORES, w), at(ANSWERS, w)) - ratio(at(SCORES, w, before=w), at(ANSWERS, w, before=w))


@feature(
    windows=(180,),
    unit="people",
    family="recommendation",
    says="{value:.0f} of those asked gave 6 points or fewer in {w} days",
    play="fix_service",
)
def unhappy_answers(at: FeatureContext, w: int) -> Any:
    """Answers to the recommendation survey of 6 points or fewer in the last {w} days, of whoever answered."""
    return at(UNHAPPY, w)


@feature(
    unit="promises",
    family="promises",
    says="{value:.0f} promise{s} of ours overdue",
    play="answer_tickets",
)
def promises_overdue(at: FeatureContext) -> Any:
    """Promises made to the account that are due and not kept at `as_of`."""
    return at(OVERDUE_COUNT)


@feature(
    windows=(365,),
    unit="promises",
    family="promises",
    says="{value:.0f} promise{s} of ours not kept in time in {w} days",
    play="answer_tickets",
)
def promises_broken(at: FeatureContext, w: int) -> Any:
    """Promises due in the last {w} days that had not been kept when they were."""
    return at(BROKEN_COUNT, w)


FEATURES = (
    *champions_left,
    *champions,
    *days_to_notice,
    *nps,
    *nps_change,
    *unhappy_answers,
    *promises_overdue,
    *promises_broken,
)

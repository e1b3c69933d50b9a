"""Try other hours of owners over the same past: what load each brings, and what share of the lost value it catches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from features.settings import Settings
from features.state.database import Store
from features.state.portfolio_tables import ASSIGNMENTS
from features.state.tables import ALERT_CHOICES
from monitoring.alerts.kinds import CHURN
from monitoring.replay.figures import ReplayFigures

# Alerts of risk a week that an owner, or one person for all accounts, is given time for at the points that are tried.
_ALERTS_A_WEEK = (1, 2, 4, 8, 16, 32)
_ALERTS_OF_ALL = (4, 16, 32, 64, 128, 256)
# The chosen point is the least load that catches so much of what the heaviest catches.
SHARE_OF_MOST = 0.9
# Stands in for owners where no account has one.
EVERYBODY = "everybody@replay.invalid"


@dataclass(frozen=True)
class LoadPoint:
    """What owners with so many hours a week would have got, and what of it was right.

    Args:
        hours: A week, of owners without hours of their own.
        alerts_a_week: Of one owner, on average.
        hours_a_week: That these take.
        figures: Of all of them.
    """

    hours: float
    alerts_a_week: float
    hours_a_week: float
    figures: ReplayFigures

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self) | {"figures": self.figures.as_dict()}


@dataclass(frozen=True)
class LoadCurve:
    """Load against value caught.

    Args:
        points: By hours, ascending.
        chosen: The point that owners' hours should be at.
        current: The point of the settings; None where these limit nobody.
    """

    points: tuple[LoadPoint, ...]
    chosen: LoadPoint
    current: LoadPoint | None

    @property
    def is_of_one(self) -> bool:
        """Return whether no account has an owner whose time is limited, so that the curve is of one person for all."""
        return self.current is None

    def describe(self) -> str:
        """Return why the point is chosen, in a sentence."""
        figures = self.chosen.figures
        most = max(p.figures.caught for p in self.points)
        if not most:
            return "No load catches any value that left in this time, so there is nothing to choose by."
        now = self.current
        whose = "the one person who gets all" if now is None else "each owner"
        said = (
            f"{self.chosen.hours:g} hours a week is the least that catches {SHARE_OF_MOST:.0%} of what the heaviest "
            f"load catches: {figures.share_caught or 0:.0%} of the value that left, at "
            f"{self.chosen.alerts_a_week:.1f} alerts a week for {whose}. "
        )
        if now is None:
            return f"{said}No account has an owner whose time is limited, so hours limit nobody yet."
        return f"{said}Now it is {now.hours:g} hours, which catch {now.figures.share_caught or 0:.0%}."

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "points": [p.as_dict() for p in self.points],
            "chosen_hours": self.chosen.hours,
            "current_hours": self.current.hours if self.current else None,
            "is_of_one": self.is_of_one,
            "sentence": self.describe(),
        }


def list_hours(settings: Settings, *, of_one: bool) -> tuple[float, ...]:
    """Return the hours a week to try: for each owner, with those of the settings; or for one person who gets all."""
    minutes, alerts = settings.capacity.get_minutes(CHURN), _ALERTS_OF_ALL if of_one else _ALERTS_A_WEEK
    tried = {min(168.0, round(n * minutes / 60, 2)) for n in alerts}
    return tuple(sorted(tried if of_one else {*tried, settings.capacity.hours}))


def give_hours(settings: Settings, hours: float) -> Settings:
    """Return the settings with other hours of owners; those with hours of their own keep them."""
    return settings.model_copy(update={"capacity": settings.capacity.model_copy(update={"hours": hours})})


def has_limited_owners(state: Store) -> bool:
    """Return whether the time of any owner was limited in a replay."""
    with state.reading() as connection:
        limited = sa.select(ALERT_CHOICES.c.account_id).where(ALERT_CHOICES.c.capacity.is_not(None)).limit(1)
        return connection.execute(limited).first() is not None


def assign_to_one(state: Store, accounts: Sequence[str]) -> None:
    """Give all accounts of a scratch database to one person, whose time is limited as an owner's."""
    note = {"seq": 1_000_000, "owner": EVERYBODY, "reason": "the curve is of one person", "by": "replay", "at": 0}
    with state.writing() as connection:
        connection.execute(sa.delete(ASSIGNMENTS).where(ASSIGNMENTS.c.by == "replay"))
        connection.execute(sa.insert(ASSIGNMENTS), [{"account_id": account, **note} for account in accounts])


def choose_point(points: Sequence[LoadPoint]) -> LoadPoint:
    """Return the least load that catches nearly as much value as the heaviest."""
    most = max(p.figures.caught for p in points)
    return next(p for p in points if p.figures.caught >= SHARE_OF_MOST * most)

"""Count what a replay's alerts came to: how many right, how early, how much value caught and missed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from features.core.timestamps import from_micros
from monitoring.replay.sent_alerts import OPEN, RIGHT, UNJUDGED, WRONG


@dataclass(frozen=True)
class ReplayFigures:
    """What the alerts of some owner, tier or week came to.

    Args:
        alerts: Episodes that opened.
        right: Of these, those whose account left within the horizon, or bought.
        wrong: Those of which neither came true.
        open: Those of which it is not known yet.
        unjudged: Reminders, and alerts on accounts that the label asks nothing of.
        left: Accounts that left.
        told: Of these, those whose owner had got a message.
        lead_days: Median days from that message to the day the account was lost; None without any.
        caught: Value at stake of the accounts that left and were told of, in the company's currency.
        missed: Of those that left unannounced.
    """

    alerts: int
    right: int
    wrong: int
    open: int
    unjudged: int
    left: int
    told: int
    lead_days: float | None
    caught: float
    missed: float

    @property
    def share_right(self) -> float | None:
        """Return the share of the alerts judged that were right; None without any."""
        judged = self.right + self.wrong
        return self.right / judged if judged else None

    @property
    def share_caught(self) -> float | None:
        """Return the share of the value that left which was told of; None where nothing of value left."""
        value = self.caught + self.missed
        return self.caught / value if value else None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self) | {"share_right": self.share_right, "share_caught": self.share_caught}


@dataclass(frozen=True)
class ReplayGroup:
    """The figures of one owner, tier or week.

    Args:
        by: owner, tier, week, or kind of alert.
        value: Which one; a week by its Monday.
        figures: Of it.
    """

    by: str
    value: str
    figures: ReplayFigures

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"by": self.by, "value": self.value, **self.figures.as_dict()}


def count_figures(alerts: pd.DataFrame, departed: pd.DataFrame) -> ReplayFigures:
    """Count the alerts (of `read_alerts`, those that count) and the accounts that left (of `match_alerts`)."""
    verdicts = alerts["verdict"].value_counts()
    told, value = departed["told"].astype(bool), departed["value"]
    lead = departed.loc[told, "lead_days"].median()
    return ReplayFigures(
        alerts=len(alerts),
        **{name: int(verdicts.get(word, 0)) for name, word in _VERDICTS.items()},
        left=len(departed),
        told=int(told.sum()),
        lead_days=None if pd.isna(lead) else float(lead),
        caught=float(value[told].sum()),
        missed=float(value[~told].sum()),
    )


def divide(alerts: pd.DataFrame, departed: pd.DataFrame) -> Iterator[ReplayGroup]:
    """Yield the figures by owner and tier, the most value first, by week, and of alerts alone by kind."""
    weeks = alerts.assign(week=_find_weeks(alerts["opened_as_of"])), departed.assign(week=_find_weeks(departed["at"]))
    for by in ("owner", "tier", "week"):
        ours, gone = ({str(k): rows for k, rows in frame.groupby(by)} for frame in weeks)
        none = weeks[0].iloc[:0], weeks[1].iloc[:0]
        groups = [
            ReplayGroup(by, name or "not known", count_figures(ours.get(name, none[0]), gone.get(name, none[1])))
            for name in sorted({*ours, *gone})
        ]
        if by == "owner":
            groups.sort(key=lambda g: (-(g.figures.caught + g.figures.missed), g.value))
        yield from groups
    for kind, rows in alerts.groupby("kind"):
        yield ReplayGroup("kind", str(kind), count_figures(rows, departed.iloc[:0]))


_VERDICTS = {"right": RIGHT, "wrong": WRONG, "open": OPEN, "unjudged": UNJUDGED}


def _find_weeks(instants: pd.Series) -> pd.Series:
    """Return the Monday of each instant (µs), as 2026-01-05."""
    days = instants.map(lambda at: from_micros(int(at)))
    return days.map(lambda at: f"{at - pd.Timedelta(days=at.weekday()):%Y-%m-%d}").astype(object)

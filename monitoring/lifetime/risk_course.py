"""Tell how an account's risk went: each score with its interval, the causes, and what changed since the last one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from features.catalog import Catalog
from features.core.language import ENGLISH, Language, say
from features.core.timestamps import from_micros, to_micros
from features.definitions import plays
from features.state.database import Store
from features.state.tables import SCORES
from monitoring.letters.account_risk import EarlierScore
from monitoring.letters.changes import find_changes
from monitoring.letters.driver_words import describe_driver, get_cause, rank_drivers, say_drivers
from serving.scoring.scorer import Scorer

_CHURN = "churn"
_c = SCORES.c
_OWN = (_c.account_id == sa.bindparam("account")) & (_c.target == _CHURN) & (_c.horizon == sa.bindparam("horizon"))
_POINTS, _DRIVERS = (
    sa.select(*columns).where(_OWN).order_by(_c.as_of.desc()).limit(sa.bindparam("most"))
    for columns in ((_c.as_of, _c.score, _c.model), (_c.as_of, _c.drivers))
)
Driver = Mapping[str, Any]


@dataclass(frozen=True)
class RiskPoint:
    """One score.

    Args:
        as_of: The instant that it looks from.
        score: Probability of leaving within the horizon.
        low: Lower end of its 90 % interval; None where its model serves no more.
        high: Upper end of it.
        model: Version of its model.
    """

    as_of: datetime
    score: float
    low: float | None
    high: float | None
    model: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "as_of": self.as_of.isoformat(),
            "score": self.score,
            "low": self.low,
            "high": self.high,
            "model": self.model,
        }


@dataclass(frozen=True)
class Reason:
    """One cause of the newest score, in a language.

    Args:
        text: What it is, beside what is typical.
        raises: Whether it raises the risk.
        is_new: Whether the score before did not have it.
        before: The same at the score before, where it was otherwise; "" else.
        actionable: Whether somebody can do something about it.
    """

    text: str
    raises: bool
    is_new: bool
    before: str
    actionable: bool


@dataclass(frozen=True)
class RiskCourse:
    """An account's scores, oldest first.

    Args:
        horizon: In days.
        points: May be empty.
        base_rate: Share of all accounts that leave within the horizon; None where no model serves.
        drivers: Of the newest score, as it stored them.
        earlier: The score before the newest; None without one.
    """

    horizon: int
    points: tuple[RiskPoint, ...]
    base_rate: float | None
    drivers: Sequence[Driver] = ()
    earlier: EarlierScore | None = None

    @property
    def newest(self) -> RiskPoint | None:
        """Return the newest score; None without one."""
        return self.points[-1] if self.points else None

    def list_reasons(self, catalog: Catalog, language: Language = ENGLISH) -> list[Reason]:
        """Return the causes of the newest score in a language, the strongest first."""
        before_drivers = self.earlier.drivers if self.earlier and self._is_comparable() else ()
        earlier = {(d["family"] or d["feature"]): d for d in before_drivers}
        reasons = []
        for driver in rank_drivers(self.drivers) or sorted(self.drivers, key=lambda d: float(d["contribution"])):
            text, before = (
                describe_driver(driver, catalog, language),
                earlier.get(driver["family"] or driver["feature"]),
            )
            was = describe_driver(before, catalog, language, is_bare=True) if before else ""
            raises, is_new = float(driver["contribution"]) > 0, bool(earlier) and before is None
            is_same = before is not None and before["text"] == driver["text"]
            reasons.append(
                Reason(text[:1].upper() + text[1:], raises, is_new, "" if is_same else was, bool(driver["actionable"]))
            )
        return reasons

    def list_changes(self, catalog: Catalog, language: Language = ENGLISH) -> list[str]:
        """Return what raised the risk most since the score before, in a language; [] where nothing stands out."""
        earlier = self.earlier
        if earlier and self._is_comparable():
            told = say_drivers(earlier.drivers, catalog, language)
            earlier = EarlierScore(earlier.score, earlier.as_of, earlier.model, told)
        spoken = say_drivers(self.drivers, catalog, language)
        return [str(say(text, language)) for text in find_changes(spoken, earlier)]

    def find_play(self) -> plays.Play | None:
        """Return the next step that the causes ask for; None without a cause that somebody can act on."""
        return plays.choose_play(self.drivers) if any(get_cause(d) for d in rank_drivers(self.drivers)) else None

    def _is_comparable(self) -> bool:
        """Return whether the score before has causes, and is of the same model."""
        newest, earlier = self.newest, self.earlier
        return bool(newest and earlier and earlier.drivers and earlier.model == newest.model)

    def as_dict(self, catalog: Catalog) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "horizon": self.horizon,
            "base_rate": self.base_rate,
            "points": [p.as_dict() for p in self.points],
            "reasons": [vars(reason) for reason in self.list_reasons(catalog)],
            "changes": self.list_changes(catalog),
        }


def read_course(store: Store, scorer: Scorer | None, account_id: str, *, horizon: int, most: int = 400) -> RiskCourse:
    """Read the course of an account's risk.

    Args:
        store: The state database.
        scorer: The models that serve, which know the intervals; None without any.
        account_id: Of the account.
        horizon: In days.
        most: Of the newest scores.
    """
    asked = {"account": account_id, "horizon": horizon, "most": most}
    with store.reading() as connection:
        rows = connection.execute(_POINTS, asked).all()[::-1]
        drivers = {row.as_of: row.drivers for row in connection.execute(_DRIVERS, {**asked, "most": 2})}
    ends = _find_ends(scorer, horizon, [(row.as_of, row.score, row.model) for row in rows])
    points = [RiskPoint(from_micros(r.as_of), r.score, *end, r.model) for r, end in zip(rows, ends, strict=True)]
    model = scorer.models.get(_CHURN) if scorer else None
    base_rate = model.base_rates.get(horizon) if model else None
    if not points:
        return RiskCourse(horizon, (), base_rate)
    earlier = None
    if len(points) > 1:
        before = points[-2]
        of_then = drivers.get(to_micros(before.as_of)) or ()
        earlier = EarlierScore(before.score, before.as_of, before.model, of_then)
    return RiskCourse(horizon, tuple(points), base_rate, drivers.get(to_micros(points[-1].as_of)) or (), earlier)


def _find_ends(
    scorer: Scorer | None, horizon: int, rows: Sequence[tuple[int, float, str]]
) -> list[tuple[float | None, float | None]]:
    """Find the interval of each score: it follows from the score, its time and its model alone."""
    model = scorer.models.get(_CHURN) if scorer else None
    if model is None or horizon not in model.horizons or not rows:
        return [(None, None)] * len(rows)
    place = model.horizons.index(horizon)
    scores = np.repeat(np.array([[score] for _, score, _ in rows]), len(model.horizons), axis=1)
    lows, highs = model.find_ends(scores, np.array([as_of for as_of, _, _ in rows]))
    return [
        (_number(lows[i, place]), _number(highs[i, place])) if version == model.version else (None, None)
        for i, (_, _, version) in enumerate(rows)
    ]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)

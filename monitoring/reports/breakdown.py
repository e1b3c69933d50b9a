"""Divide what is at risk by owner, and follow it from scores to scores."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import pandas as pd
import sqlalchemy as sa

from features.core.safe_line import to_safe_line
from features.core.timestamps import from_micros
from features.sources.history import History
from features.state.database import Store
from features.state.tables import SCORES

# Scores that the course goes back; owners that are named.
_COURSE, _OWNERS = 13, 15


@dataclass(frozen=True)
class OwnerShare:
    """What is at risk of one owner's accounts: risk times value, summed, at both ends of the period."""

    owner: str
    accounts: int
    rose: int
    before: float
    now: float


@dataclass(frozen=True)
class CoursePoint:
    """What was at risk at one set of scores."""

    as_of: datetime
    accounts: int
    at_risk: float


@dataclass(frozen=True)
class Breakdown:
    """Who has what is at risk, and its course.

    Args:
        owners: The ones with the most at risk first, those without an owner as "nobody".
        others: How many owners more there are.
        course: The newest last.
    """

    owners: tuple[OwnerShare, ...] = ()
    others: int = 0
    course: tuple[CoursePoint, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        course = [asdict(point) | {"as_of": point.as_of.isoformat()} for point in self.course]
        return asdict(self) | {"course": course}

    @property
    def largest(self) -> float:
        """Return the most that was at risk in the course; 1 where nothing was."""
        return max((point.at_risk for point in self.course), default=0.0) or 1.0


def divide_by_owner(
    before: pd.DataFrame, now: pd.DataFrame, history: History, *, moved: float
) -> tuple[tuple[OwnerShare, ...], int]:
    """Return the owners with the most at risk, and how many more there are.

    Args:
        before: account_id, score, value, in_cohort; a row an account.
        now: The same, later.
        history: Tells the owners.
        moved: The rise in risk that counts.
    """
    ends = [frame[frame["in_cohort"].ne(False)].set_index("account_id")[["score", "value"]] for frame in (before, now)]
    both = ends[0].join(ends[1], how="outer", lsuffix="_before", rsuffix="_now")
    known = history.query("SELECT account_id, owner_email FROM accounts").set_index("account_id")["owner_email"]
    rows = pd.DataFrame(
        {
            "owner": known.reindex(both.index).astype("object").fillna("nobody"),
            "accounts": both["score_now"].notna(),
            "rose": both["score_now"] - both["score_before"] >= moved,
            "before": (both["score_before"] * both["value_before"]).fillna(0.0),
            "now": (both["score_now"] * both["value_now"]).fillna(0.0),
        }
    )
    owners = rows.groupby("owner").sum().sort_values(["now", "before"], ascending=False, kind="stable")
    shares = tuple(
        OwnerShare(to_safe_line(str(owner)), int(row.accounts), int(row.rose), float(row.before), float(row.now))
        for owner, row in owners.head(_OWNERS).iterrows()
    )
    return shares, max(0, len(owners) - _OWNERS)


def read_course(state: Store, target: str, horizon: int, until: int) -> tuple[CoursePoint, ...]:
    """Return what was at risk at the newest sets of scores that are not after `until` (µs), the newest last."""
    at_risk = sa.func.sum(SCORES.c.score * sa.func.coalesce(SCORES.c.value, 0.0))
    is_asked = sa.or_(SCORES.c.in_cohort.is_(None), SCORES.c.in_cohort)
    query = (
        sa.select(SCORES.c.as_of, sa.func.count(), at_risk)
        .where(SCORES.c.target == target, SCORES.c.horizon == horizon, SCORES.c.as_of <= until, is_asked)
        .group_by(SCORES.c.as_of)
        .order_by(SCORES.c.as_of.desc())
        .limit(_COURSE)
    )
    with state.reading() as connection:
        rows = connection.execute(query).all()
    return tuple(CoursePoint(from_micros(at), int(count), float(amount or 0.0)) for at, count, amount in rows[::-1])

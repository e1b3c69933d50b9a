"""Measure how owners' accounts are served: how soon tickets are answered, what is thought of it, alerts in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from features.core.timestamps import from_micros, to_micros
from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from features.state.tables import EPISODE_EVENTS, EPISODES
from monitoring.alerts import kinds
from monitoring.alerts.escalation import find_due
from monitoring.binding.absences import read_absences
from monitoring.binding.bindings import BindingRules

_HOUR = 3_600_000_000  # µs
# Alerts that had to be answered, or ratings, below which no share or mean is told.
LEAST_ANSWERS = 5


@dataclass(frozen=True)
class Waiting:
    """How long customers waited.

    Args:
        tickets: Whose end of waiting is known.
        median: Hours; None without any.
        p90: Hours that 9 in 10 waited at most.
        in_time: Share within the target.
    """

    tickets: int
    median: float | None
    p90: float | None
    in_time: float | None

    @classmethod
    def of(cls, micros: pd.Series, target_hours: float) -> Waiting:
        """Sum up spans of waiting (µs; missing where there is no end yet)."""
        hours = micros.dropna().to_numpy(dtype="float64") / _HOUR
        if not len(hours):
            return cls(0, None, None, None)
        median, p90 = (float(number) for number in np.quantile(hours, [0.5, 0.9]))
        return cls(len(hours), median, p90, float((hours <= target_hours).mean()))


@dataclass(frozen=True)
class ServiceFigures:
    """How the accounts of a group were served in a period.

    Args:
        tickets: Opened in it.
        first_response: Until the first response.
        resolution: Until it was resolved.
        csat: Mean of the ratings; None of fewer than `LEAST_ANSWERS`.
        ratings: Their number.
        due: Alerts whose time to answer has ended.
        answered: Of these, those answered in time.
        outcomes: Alerts closed in the period, by outcome.
    """

    tickets: int
    first_response: Waiting
    resolution: Waiting
    csat: float | None
    ratings: int
    due: int
    answered: int
    outcomes: Mapping[str, int]

    @property
    def answered_share(self) -> float | None:
        """Return the share of alerts answered in time; None of too few."""
        return self.answered / self.due if self.due >= LEAST_ANSWERS else None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self) | {"answered_share": self.answered_share}


def read_tickets(history: History, since: datetime, until: datetime) -> pd.DataFrame:
    """Read the tickets opened in a period: account_id, first and resolved (µs of waiting), csat."""
    if "tickets" not in history.tables:
        return pd.DataFrame(columns=["account_id", "first", "resolved", "csat"], dtype="float64")
    asked = pd.DataFrame({"since": [to_micros(since)], "until": [to_micros(until)]})
    sql = """
    SELECT account_id, first_response_at - opened_at AS first, resolved_at - opened_at AS resolved,
        csat::DOUBLE AS csat
    FROM tickets, asked WHERE opened_at >= asked.since AND opened_at < asked.until
    """
    return history.query(sql, asked=asked)


def read_alerts(
    settings: Settings, store: Store, tiers: Mapping[str, str], since: datetime, until: datetime
) -> pd.DataFrame:
    """Read the alerts that were told in a period.

    Args:
        settings: The company's.
        store: Its state database.
        tiers: Of accounts: how soon an alert must be answered follows from the tier.
        since: Begin of the period.
        until: Its end, not part of it.

    Returns:
        account_id, owner (lower case), is_due, is_answered (in time), outcome ("" where none in the period).
    """
    e, v = EPISODES.c, EPISODE_EVENTS.c
    told = sa.select(v.episode_id, sa.func.min(v.at).label("at")).where(v.event == kinds.NOTIFIED)
    first = told.group_by(v.episode_id).subquery()
    columns = (e.account_id, e.owner, e.acknowledged_at, e.closed_at, e.outcome, first.c.at)
    query = sa.select(*columns).join(first, first.c.episode_id == e.id).order_by(e.id)
    with store.reading() as connection:
        rows = connection.execute(query.where(first.c.at >= to_micros(since), first.c.at < to_micros(until))).all()
    now = datetime.now(UTC)
    rules = BindingRules(settings, read_absences(store, now))
    found = []
    for account, owner, acknowledged, closed, outcome, told_at in rows:
        due = find_due(rules, owner or "", None, from_micros(told_at), tiers.get(account))
        answer = min((at for at in (acknowledged, closed) if at is not None), default=None)
        is_over = due is not None and due <= now
        is_answered = due is not None and is_over and answer is not None and from_micros(answer) <= due
        found.append((account, (owner or "").lower(), is_over, is_answered, outcome or ""))
    names = ["account_id", "owner", "is_due", "is_answered", "outcome"]
    return pd.DataFrame(found, columns=names).astype({"is_due": bool, "is_answered": bool})


def measure_service(settings: Settings, tickets: pd.DataFrame, alerts: pd.DataFrame) -> ServiceFigures:
    """Measure how some accounts were served.

    Args:
        settings: With the targets.
        tickets: Theirs, as `read_tickets` returns them.
        alerts: Theirs, as `read_alerts` returns them.
    """
    reports, ratings = settings.reports, tickets["csat"].dropna()
    outcomes = alerts.loc[alerts["outcome"] != "", "outcome"].value_counts().sort_index()
    return ServiceFigures(
        tickets=len(tickets),
        first_response=Waiting.of(tickets["first"], reports.first_response.total_seconds() / 3600),
        resolution=Waiting.of(tickets["resolved"], reports.resolution.total_seconds() / 3600),
        csat=float(ratings.mean()) if len(ratings) >= LEAST_ANSWERS else None,
        ratings=len(ratings),
        due=int(alerts["is_due"].sum()),
        answered=int(alerts["is_answered"].sum()),
        outcomes={str(name): int(count) for name, count in outcomes.items()},
    )

"""Add up what topics cost in a quarter: tickets, accounts, hours, service, and the value of accounts that leave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from features.definitions.feature import DAY
from features.settings import Settings
from features.sources.history import History
from monitoring.journey.tickets import STAGES
from monitoring.journey.topic_effects import TopicEffect

QUARTER_DAYS = 90


@dataclass(frozen=True)
class Money:
    """An amount with its 95 % interval, in the company's currency."""

    amount: float
    low: float
    high: float


@dataclass(frozen=True)
class TopicCost:
    """What a topic cost in the last quarter.

    Args:
        topic_id: Of the topic.
        tickets: Opened in the quarter; `tickets_before` in the quarter before.
        tickets_before: See tickets.
        accounts: That opened them.
        hours: Of work on those whose minutes are known; None where none are.
        timed: Tickets whose minutes are known.
        service: What these hours cost; None where no rate is known.
        value: Value at stake of the accounts hit; None where no values are known.
        effect: On leaving; None where too few accounts were hit.
        lost: The effect times the value: an association. None without both.
        shrunk: The same, drawn towards that of all topics by its noise: what topics are ordered by.
        stages: By stage: tickets, accounts first hit in it, and their part of `lost`.
    """

    topic_id: str
    tickets: int
    tickets_before: int
    accounts: int
    hours: float | None
    timed: int
    service: float | None
    value: float | None
    effect: TopicEffect | None
    lost: Money | None
    shrunk: float | None
    stages: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def read_rates(history: History, settings: Settings) -> pd.Series:
    """Read what an hour of each member of staff costs, in the company's currency, by address."""
    if "staff" not in history.tables:
        return pd.Series(dtype="float64")
    sql = "SELECT lower(email) AS email, rate_per_hour, currency FROM staff WHERE rate_per_hour IS NOT NULL"
    rows = history.query(sql)
    rows = rows[rows["currency"].isna() | (rows["currency"] == settings.company.currency)]
    return rows.set_index("email")["rate_per_hour"].astype("float64")


def price_tickets(tickets: pd.DataFrame, rates: pd.Series, rate: float | None) -> pd.Series:
    """Return what the work on each ticket cost; NaN where its minutes or a rate are not known."""
    hourly = (
        tickets["handled_by"].astype(object).str.lower().map(rates) if len(rates) else pd.Series(np.nan, tickets.index)
    )
    hourly = hourly.astype("float64")
    return tickets["minutes"] / 60 * (hourly if rate is None else hourly.fillna(rate))


def measure_costs(
    tickets: pd.DataFrame, effects: Mapping[str, TopicEffect], values: pd.Series, *, until: int
) -> list[TopicCost]:
    """Measure what each topic cost in the 90 days before `until` (µs), the costliest first.

    Args:
        tickets: topic_id, account_id, opened_at (µs), stage, minutes, service.
        effects: By topic.
        values: Value at stake by account id.
        until: The end of the quarter.
    """
    quarter = tickets[tickets["opened_at"].between(until - QUARTER_DAYS * DAY, until - 1)]
    earlier = tickets[tickets["opened_at"].between(until - 2 * QUARTER_DAYS * DAY, until - QUARTER_DAYS * DAY - 1)]
    before, drawn = earlier["topic_id"].value_counts(), shrink_effects(effects)
    costs = [
        _measure(str(topic), rows, int(before.get(topic, 0)), effects.get(str(topic)), drawn, values)
        for topic, rows in quarter.groupby("topic_id")
    ]
    return sorted(costs, key=lambda c: (-(c.shrunk if c.shrunk is not None else -np.inf), -c.tickets, c.topic_id))


def shrink_effects(effects: Mapping[str, TopicEffect]) -> dict[str, float]:
    """Return each effect drawn towards the mean of all, the more the noisier it is.

    Source: Efron and Morris, JASA 70 (1975), with the variance by DerSimonian and Laird (1986).
    """
    if not effects:
        return {}
    found = np.array([e.effect for e in effects.values()])
    noise = np.array([max((e.high - e.low) / 3.92, 1e-6) ** 2 for e in effects.values()])
    weight = 1 / noise
    mean = float((weight * found).sum() / weight.sum())
    excess = float((weight * (found - mean) ** 2).sum()) - (len(found) - 1)
    scale = weight.sum() - (weight**2).sum() / weight.sum()
    spread = max(0.0, excess / scale) if scale > 0 else 0.0
    drawn = mean + (found - mean) * spread / (spread + noise)
    return dict(zip(effects, drawn.tolist(), strict=True))


def _measure(  # noqa: PLR0913, PLR0917  # all that a cost is made of
    topic: str,
    rows: pd.DataFrame,
    before: int,
    effect: TopicEffect | None,
    drawn: Mapping[str, float],
    values: pd.Series,
) -> TopicCost:
    first = rows.drop_duplicates("account_id")
    worth = first["account_id"].map(values).astype("float64") if len(values) else None
    value = None if worth is None or worth.isna().all() else float(worth.sum())
    is_priced = effect is not None and value is not None
    lost = Money(*(bound * value for bound in (effect.effect, effect.low, effect.high))) if is_priced else None  # type: ignore[union-attr,operator]  # both are there
    timed = rows["minutes"].notna()
    return TopicCost(
        topic_id=topic,
        tickets=len(rows),
        tickets_before=before,
        accounts=len(first),
        hours=float(rows["minutes"].sum() / 60) if timed.any() else None,
        timed=int(timed.sum()),
        service=float(rows["service"].sum()) if rows["service"].notna().any() else None,
        value=value,
        effect=effect,
        lost=lost,
        shrunk=drawn[topic] * value if lost is not None and value is not None else None,
        stages=dict(_divide_by_stage(rows, first, worth, effect)),
    )


def _divide_by_stage(
    rows: pd.DataFrame, first: pd.DataFrame, worth: pd.Series | None, effect: TopicEffect | None
) -> Iterator[tuple[str, dict[str, float | None]]]:
    """Yield stages with their tickets and accounts; an account's money is in the stage of its first ticket."""
    for stage in STAGES:
        is_here = first["stage"] == stage
        count = int((rows["stage"] == stage).sum())
        if count:
            known = worth is not None and effect is not None
            lost = float(worth[is_here].sum() * effect.effect) if known else None  # type: ignore[index,union-attr]
            yield stage, {"tickets": count, "accounts": int(is_here.sum()), "lost": lost}

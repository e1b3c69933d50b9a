"""Add up what topics cost in a quarter: tickets, accounts, hours, service, and the value of accounts that leave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from features.definitions.feature import DAY
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
        hours: Of work; estimated where minutes are not known, None where no ticket's are.
        timed: Tickets whose minutes are known.
        service: What the work cost; None where no rate is known.
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

    @property
    def is_costly(self) -> bool:
        """Return whether it is said to cost accounts: it stands out among all topics, and its money is known."""
        return bool(self.effect and self.lost and self.effect.is_told and self.effect.effect > 0)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self) | {"is_costly": self.is_costly}


def measure_costs(
    tickets: pd.DataFrame, effects: Mapping[str, TopicEffect], values: pd.Series, *, until: int
) -> list[TopicCost]:
    """Measure what each topic cost in the 90 days before `until` (µs), the costliest first.

    Args:
        tickets: topic_id, account_id, opened_at (µs), stage, minutes, hours and cost as of `cost_tickets`.
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
    return TopicCost(
        topic_id=topic,
        tickets=len(rows),
        tickets_before=before,
        accounts=len(first),
        hours=_sum_known(rows["hours"]),
        timed=int(rows["minutes"].notna().sum()),
        service=_sum_known(rows["cost"]),
        value=value,
        effect=effect,
        lost=lost,
        shrunk=drawn[topic] * value if lost is not None and value is not None else None,
        stages=dict(_divide_by_stage(rows, first, worth, effect)),
    )


def _sum_known(column: pd.Series) -> float | None:
    return float(column.sum()) if column.notna().any() else None


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

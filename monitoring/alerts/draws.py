"""Keep what lots decided: for each family of accounts its first draw, which counts whatever comes later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from features.state.tables import EXPERIMENT_DRAWS
from monitoring.alerts import kinds
from monitoring.alerts.choice import Choice
from monitoring.binding.bindings import AccountBinding


def find_draws(
    choices: Sequence[Choice], bindings: Mapping[str, AccountBinding], experiment: str
) -> Iterator[dict[str, Any]]:
    """Yield a row for each family that a lot decided on, of its most valuable account at risk of leaving."""
    seen: set[str] = set()
    for choice in choices:
        signal, bound = choice.candidate.signal, bindings[choice.candidate.signal.account_id]
        if choice.probability is None or signal.kind != kinds.CHURN or bound.unit in seen:
            continue
        seen.add(bound.unit)
        yield {
            "experiment": experiment,
            "unit": bound.unit,
            "account_id": signal.account_id,
            "treated": choice.chosen,
            "probability": choice.probability,
            "rank": choice.rank,
            "score": signal.score,
            "value": signal.value,
            "tier": bound.tier,
            "owner": choice.candidate.owner,
        }


def write_draws(connection: sa.Connection, draws: Sequence[Mapping[str, Any]], *, at: int, now: int) -> None:
    """Write the draws of a run (instants in µs); a family that was drawn before keeps its first draw."""
    c = EXPERIMENT_DRAWS.c
    for draw in draws:
        known = sa.select(c.unit).where(c.experiment == draw["experiment"], c.unit == draw["unit"])
        if connection.scalar(known) is None:
            connection.execute(sa.insert(EXPERIMENT_DRAWS), {**draw, "as_of": at, "drawn_at": now})

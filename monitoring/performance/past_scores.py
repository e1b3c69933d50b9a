"""Read the scores that accounts had, with the entry and base rate that held then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from features.core.timestamps import from_micros
from features.settings import Settings
from features.state.tables import ALERT_CHOICES, ALERT_RUNS, SCORES
from monitoring.alerts.queries import TARGET
from monitoring.performance.scored_rows import ScoreReader

_ACCOUNTS = 500  # in one statement


@dataclass(frozen=True)
class PastScore:
    """One stored score of an account, with what it was measured against.

    Args:
        as_of: The instant that it looks from.
        score: The probability of leaving.
        enter: The score at which an episode opened in that run; None if the model is gone.
        base_rate: Of the model; None if it is gone.
        model: Its version.
        sources: Event tables that the score was made from.
        catalog: Version of the feature definitions.
        was_alerted_on: Whether alerts were raised in that run.
        refused: Why the run opened no episode on the account although it was a candidate; None if it was none, or one
            was opened.
    """

    as_of: datetime
    score: float
    enter: float | None
    base_rate: float | None
    model: str
    sources: tuple[str, ...]
    catalog: str
    was_alerted_on: bool
    refused: str | None = None

    @property
    def is_at_entry(self) -> bool:
        """Return whether it reached the entry."""
        return self.enter is not None and self.score >= self.enter


def read_past_scores(
    settings: Settings, reader: ScoreReader, accounts: Sequence[str], *, since: int, end: int
) -> dict[str, tuple[PastScore, ...]]:
    """Read the churn scores over the alerts' horizon of accounts while they were in the cohort.

    Args:
        settings: Of the company.
        reader: Of its scores.
        accounts: Their ids.
        since: The first instant (µs).
        end: The last.

    Returns:
        Oldest first, by account id; without accounts that have none.
    """
    columns = [SCORES.c[c] for c in ("account_id", "as_of", "score", "model", "sources", "catalog")]
    of_horizon = (SCORES.c.target == TARGET) & (SCORES.c.horizon == settings.alert_horizon)
    query = sa.select(*columns).where(of_horizon, SCORES.c.in_cohort.is_not(False), SCORES.c.as_of.between(since, end))
    alerts = sa.select(ALERT_RUNS.c.as_of, ALERT_RUNS.c.enter).where(ALERT_RUNS.c.target == TARGET)
    scores: dict[str, list[PastScore]] = {}
    with reader.state.reading() as connection:
        entries = {row.as_of: row.enter for row in connection.execute(alerts)}
        for start in range(0, len(accounts), _ACCOUNTS):
            some = accounts[start : start + _ACCOUNTS]
            refused = _read_refusals(connection, some)
            for row in connection.execute(query.where(SCORES.c.account_id.in_(some)).order_by(SCORES.c.as_of)):
                past = _build_past_score(reader, row, settings.alert_horizon, entries.get(row.as_of))
                past = replace(past, refused=refused.get((row.account_id, row.as_of)))
                scores.setdefault(row.account_id, []).append(past)
    return {account: tuple(rows) for account, rows in scores.items()}


def _read_refusals(connection: sa.Connection, accounts: Sequence[str]) -> dict[tuple[str, int], str]:
    """Read why runs opened no episode of risk on accounts that were candidates, by account and instant (µs)."""
    c = ALERT_CHOICES.c
    query = sa.select(c.account_id, c.as_of, c.reason).where(
        c.account_id.in_(accounts), c.kind == TARGET, c.chosen.is_(False)
    )
    return {(row.account_id, row.as_of): row.reason for row in connection.execute(query)}


def _build_past_score(reader: ScoreReader, row: Any, horizon: int, entry: float | None) -> PastScore:
    """Build one, with the entry of its alert run, or else that of its model."""
    model = reader.load_model(row.model)
    is_usable = model is not None and horizon in model.horizons
    return PastScore(
        as_of=from_micros(row.as_of),
        score=row.score,
        enter=reader.find_threshold(row.model, horizon) if entry is None and is_usable else entry,
        base_rate=model.base_rates[horizon] if model and is_usable else None,
        model=row.model,
        sources=tuple(filter(None, row.sources.split(","))),
        catalog=row.catalog,
        was_alerted_on=entry is not None,
    )

"""Keep each night's steps in the state database: a row a step, written before it begins and after it ends."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from features.core.timestamps import from_micros, to_micros
from features.state.database import Store, upsert
from features.state.tables import NIGHT_STEPS

# The steps in their order.
STEPS = ("check", "build", "score", "drift", "gate", "alert", "journey", "deliver", "report")
# The gate's decision on a run: act on it, wait for a person's decision, or forget it.
ACCEPTED, HELD, DISCARDED = "accepted", "held", "discarded"
StepState = Literal["running", "done", "failed", "skipped"]


@dataclass(frozen=True)
class StepResult:
    """What one step of the night came to.

    Args:
        state: done; skipped, where there was nothing that it may or can do; or failed.
        summary: In one line.
        figures: For machines, ready for JSON.
    """

    state: StepState
    summary: str
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LoggedStep:
    """One step of a night as the log holds it.

    Args:
        step: Its name.
        state: running, where it was cut off or is under way; else how it ended.
        attempts: How often it was begun.
        started_at: Of the last attempt (µs).
        ended_at: Of the last attempt (µs); None while it is running.
        summary: In one line; "" while it is running.
        figures: For machines; `inputs` identifies what it was made from.
    """

    step: str
    state: StepState
    attempts: int
    started_at: int
    ended_at: int | None
    summary: str
    figures: Mapping[str, Any]

    @property
    def seconds(self) -> float:
        """Return how long the last attempt took; 0 while it is running."""
        return 0.0 if self.ended_at is None else (self.ended_at - self.started_at) / 1e6


@dataclass(frozen=True)
class NightLog:
    """The log of one night.

    Args:
        store: The state database.
        as_of: The instant that the night scores; it identifies the night.
    """

    store: Store
    as_of: datetime

    def read(self) -> dict[str, LoggedStep]:
        """Return the steps that were begun, by name, in their order."""
        query = sa.select(NIGHT_STEPS).where(NIGHT_STEPS.c.night == to_micros(self.as_of))
        with self.store.reading() as connection:
            rows = connection.execute(query.order_by(NIGHT_STEPS.c.position)).all()
        return {
            row.step: LoggedStep(
                row.step, row.state, row.attempts, row.started_at, row.ended_at, row.summary or "", row.figures or {}
            )
            for row in rows
        }

    def begin(self, step: str, position: int) -> None:
        """Note that a step begins, once more if it was begun before."""
        key = {"night": to_micros(self.as_of), "step": step}
        with self.store.writing() as connection:
            mine = (NIGHT_STEPS.c.night == key["night"], NIGHT_STEPS.c.step == step)
            attempts = 1 + (connection.scalar(sa.select(NIGHT_STEPS.c.attempts).where(*mine)) or 0)
            row = key | {"position": position, "state": "running", "attempts": attempts, "started_at": _now()}
            upsert(connection, NIGHT_STEPS, [row | {"ended_at": None, "summary": None, "figures": None}])

    def end(self, step: str, result: StepResult) -> None:
        """Note how a step ended."""
        mine = (NIGHT_STEPS.c.night == to_micros(self.as_of), NIGHT_STEPS.c.step == step)
        values = {"state": result.state, "ended_at": _now(), "summary": result.summary, "figures": dict(result.figures)}
        with self.store.writing() as connection:
            connection.execute(sa.update(NIGHT_STEPS).where(*mine).values(values))


def find_previous(store: Store, before: datetime, *, done: str | None = None) -> datetime | None:
    """Return the `as_of` of the last night before an instant; None without one.

    Args:
        store: The state database.
        before: The instant.
        done: Only of nights in which this step was done.
    """
    rows = sa.select(sa.func.max(NIGHT_STEPS.c.night)).where(NIGHT_STEPS.c.night < to_micros(before))
    if done is not None:
        rows = rows.where(NIGHT_STEPS.c.step == done, NIGHT_STEPS.c.state == "done")
    with store.reading() as connection:
        newest = connection.scalar(rows)
    return None if newest is None else from_micros(newest)


def _now() -> int:
    return time.time_ns() // 1000

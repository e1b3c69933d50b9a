"""Keep experiments in the state database: the settings that each began with, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.settings import Experiment
from features.state.experiment_tables import EXPERIMENTS
from features.state.tables import EXPERIMENT_DRAWS

# What lots are drawn for. Those held out have lots at the line like any other, or the others' chances would not be a
# half; but nobody is alerted on them, whatever their lot, so they are in neither arm.
LOTTERY, HOLDOUT, LOTTERY_OF_HELD_OUT = "lottery", "holdout", "lottery of those held out"
_BY_GARRISON = "garrison"


@dataclass(frozen=True)
class ExperimentRecord:
    """One experiment as it is kept; instants in µs, None while it runs.

    Args:
        name: Of the experiment.
        design: Its settings when it began.
        started_as_of: The `as_of` of the first run of the alerts that it decided in.
        stopped_at: When it was stopped.
        stopped_by: Who stopped it.
        stop_rule: The rule that allowed it.
        stop_reason: Why, in words.
    """

    name: str
    design: Mapping[str, Any]
    started_as_of: int
    stopped_at: int | None
    stopped_by: str | None
    stop_rule: str | None
    stop_reason: str | None


@dataclass(frozen=True)
class PastDraw:
    """The first draw of a family for one purpose, with its risk of leaving then; `as_of` in µs."""

    purpose: str
    unit: str
    treated: bool
    as_of: int
    score: float | None = None


def read_experiment(connection: sa.Connection, name: str) -> ExperimentRecord | None:
    """Read an experiment; None before it has begun."""
    columns = [EXPERIMENTS.c[field.name] for field in fields(ExperimentRecord)]
    row = connection.execute(sa.select(*columns).where(EXPERIMENTS.c.name == name)).one_or_none()
    return None if row is None else ExperimentRecord(*row)


def read_draws(connection: sa.Connection, name: str) -> tuple[PastDraw, ...]:
    """Read all draws of an experiment, oldest first."""
    c = EXPERIMENT_DRAWS.c
    query = sa.select(c.purpose, c.unit, c.treated, c.as_of, c.score).where(c.experiment == name)
    return tuple(PastDraw(*row) for row in connection.execute(query.order_by(c.as_of, c.unit)))


def check_design(experiment: Experiment, record: ExperimentRecord) -> None:
    """Check that the settings are still those that a running experiment began with.

    Raises:
        GarrisonError: They have changed: families drawn before and after would not be comparable.
    """
    # A setting that came with a later version was at its default.
    now, then = json.loads(json.dumps(experiment.design)), Experiment().design | dict(record.design)
    changed = sorted(key for key in {*now, *then} if now.get(key) != then.get(key))
    if not changed:
        return
    found = ", ".join(f"{key} was {json.dumps(then.get(key))} and is {json.dumps(now.get(key))}" for key in changed)
    raise GarrisonError(
        f"the settings of the experiment {experiment.name!r} have changed while it runs",
        found=found,
        hint="Put them back, or give experiment.name another name, which begins another experiment and ends this one; "
        "`python -m monitoring experiment stop --reason …` ends it without another",
    )


def begin_experiment(connection: sa.Connection, experiment: Experiment, *, at: int, now: int) -> None:
    """Keep that an experiment has begun, and end those of other names; instants in µs."""
    c = EXPERIMENTS.c
    others = sa.update(EXPERIMENTS).where(c.name != experiment.name, c.stopped_at.is_(None))
    connection.execute(
        others.values(
            stopped_at=now,
            stopped_by=_BY_GARRISON,
            stop_rule="renamed",
            stop_reason=f"the settings name the experiment {experiment.name!r} now",
        )
    )
    if experiment.has_lots and read_experiment(connection, experiment.name) is None:
        row = {"name": experiment.name, "design": experiment.design, "started_as_of": at, "started_at": now}
        connection.execute(sa.insert(EXPERIMENTS), row)


def end_experiment(  # noqa: PLR0913  # all but the first two named
    connection: sa.Connection, name: str, *, by: str, rule: str, reason: str, now: int
) -> None:
    """Keep that an experiment was stopped; `now` in µs.

    Raises:
        GarrisonError: It has not begun, or was stopped before.
    """
    record = read_experiment(connection, name)
    if record is None:
        raise GarrisonError(f"the experiment {name!r} has not begun", hint="It begins with the next run of the alerts")
    if record.stopped_at is not None:
        raise GarrisonError(f"the experiment {name!r} is stopped already", found=f"{record.stop_reason}")
    values = {"stopped_at": now, "stopped_by": by, "stop_rule": rule, "stop_reason": reason}
    connection.execute(sa.update(EXPERIMENTS).where(EXPERIMENTS.c.name == name).values(**values))

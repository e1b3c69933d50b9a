"""Divide the time to replay: what ran then is repeated, what is before is scored by models of that time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.timestamps import from_micros, to_micros
from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from features.state.tables import ALERT_RUNS
from monitoring.alerts.queries import TARGET
from training.models.dataset import find_data_until
from training.targets.labels import compute_days_needed

Rhythm = Literal["day", "week", "month"]
_STEPS = {"day": timedelta(days=1), "week": timedelta(days=7)}
# A past before the first instant, so that scores have something to look back on.
_LEAST_PAST = timedelta(days=28)


@dataclass(frozen=True)
class PastRun:
    """One run of the alerts that took place.

    Args:
        as_of: Of its scores (µs).
        run_at: When it ran (µs).
        model: The version whose scores it acted on.
    """

    as_of: int
    run_at: int
    model: str


@dataclass(frozen=True)
class Period:
    """The time to replay, `[since, until)`.

    Args:
        since: Its begin.
        until: Its end.
        data_until: The instant the data are complete until.
        modelled: Instants before the first run that took place, ascending; all of them where none did in this time.
        runs: Those that took place before `until`, ascending; also those before `since`, whose episodes went on. None
            where no run took place in this time.
    """

    since: datetime
    until: datetime
    data_until: datetime
    modelled: tuple[datetime, ...]
    runs: tuple[PastRun, ...]

    @property
    def replayed_runs(self) -> int:
        """Return how many of the runs lie within the time."""
        return sum(to_micros(self.since) <= run.as_of for run in self.runs)


def divide_period(  # noqa: PLR0913  # all but the first three named
    settings: Settings, history: History, state: Store, *, since: datetime, until: datetime, every: Rhythm
) -> Period:
    """Find the instants to replay.

    Args:
        settings: Of the company.
        history: Of the company.
        state: Its state database.
        since: The first instant.
        until: The instant after the last.
        every: How often the alerts look, where none ran.

    Raises:
        GarrisonError: The end is not after the begin, or there are no data of that time.
    """
    if since >= until:
        found = f"--from {since:%Y-%m-%d} --to {until:%Y-%m-%d}"
        raise GarrisonError("the time to replay ends before it begins", found=found, hint="Give a later --to")
    began, data_until = from_micros(history.all_began), find_data_until(history, settings)
    if since < began + _LEAST_PAST:
        raise GarrisonError(
            f"there are no data to replay {since:%Y-%m-%d} with",
            found=f"every table has data from {began:%Y-%m-%d} on",
            hint=f"Give a --from of {began + _LEAST_PAST:%Y-%m-%d} or later",
        )
    if until > data_until + timedelta(days=1):
        raise GarrisonError(
            f"there are no data until {until:%Y-%m-%d} yet",
            found=f"data until {data_until:%Y-%m-%d}",
            hint=f"Give a --to of {data_until:%Y-%m-%d} or earlier",
        )
    runs = read_past_runs(state, settings, until)
    is_within = any(run.as_of >= to_micros(since) for run in runs)
    first = from_micros(runs[0].as_of) if is_within else until
    return Period(since, until, data_until, tuple(_list_instants(since, first, every)), runs if is_within else ())


def find_mature_until(settings: Settings, data_until: datetime) -> datetime:
    """Return the last instant of which it is known who left within the alerts' horizon."""
    return data_until - timedelta(days=compute_days_needed(settings.churn, settings.alert_horizon))


def read_past_runs(state: Store, settings: Settings, until: datetime) -> tuple[PastRun, ...]:
    """Read the runs of the alerts before an instant, oldest first."""
    c = ALERT_RUNS.c
    of_alerts = (c.target == TARGET, c.horizon == settings.alert_horizon, c.as_of < to_micros(until))
    with state.reading() as connection:
        rows = connection.execute(sa.select(c.as_of, c.run_at, c.model).where(*of_alerts).order_by(c.as_of)).all()
    return tuple(PastRun(*row) for row in rows)


def _list_instants(since: datetime, until: datetime, every: Rhythm) -> Sequence[datetime]:
    instants, at = list[datetime](), since
    while at < until:
        instants.append(at)
        at = (at.replace(day=1) + timedelta(days=32)).replace(day=1) if every == "month" else at + _STEPS[every]
    return instants

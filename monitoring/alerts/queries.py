"""Read what alerts need from the state database: scores at one `as_of`, open episodes, runs so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.timestamps import DAY, from_micros, to_micros
from features.settings import Settings
from features.state.database import Store
from features.state.tables import ALERT_RUNS, EPISODES, SCORES
from monitoring.letters.message import EarlierScore
from training.decisions.levels import find_churn_levels

TARGET = "churn"
# Accounts named in one statement.
_CHUNK = 500


@dataclass(frozen=True)
class Thresholds:
    """The scores at which an episode opens (`enter` or above) and closes (below `leave`).

    Args:
        model: Version of the model.
        enter: A probability.
        leave: A probability.
        base_rate: The share of accounts that left in its training; None where it is not known.
    """

    model: str
    enter: float
    leave: float
    base_rate: float | None = None


@dataclass(frozen=True)
class AccountScore:
    """One account's stored score at the `as_of` of the run."""

    account_id: str
    score: float
    in_cohort: bool | None
    value: float | None
    sources: str
    drivers: list[dict[str, Any]]


@dataclass(frozen=True)
class OpenEpisode:
    """An open episode, as the previous run left it."""

    id: str
    account_id: str
    peak_score: float


@dataclass(frozen=True)
class AlertState:
    """The scores and episodes that the lifecycle decides on.

    Args:
        scores: At or above the entry threshold, or of an account with an open episode.
        episodes: Those open.
        considered: Number of accounts in the cohort.
    """

    scores: Sequence[AccountScore]
    episodes: Sequence[OpenEpisode]
    considered: int


class Champion(Protocol):
    """The part of a `training.models.model.Model` that alerts use; that class takes long to import."""

    @property
    def version(self) -> str:
        """Return the version, such as churn-3."""

    @property
    def horizons(self) -> tuple[int, ...]:
        """Return the horizons in days, ascending."""

    @property
    def base_rates(self) -> dict[int, float]:
        """Return the share of positives in training, by horizon."""


def find_thresholds(champions: Mapping[str, Champion], settings: Settings) -> Thresholds:
    """Return the scores at which episodes open and close, from the champion's base rate.

    Raises:
        GarrisonError: There is no champion, or it has no score over the alerts' horizon.
    """
    bundle, horizon = champions.get(TARGET), settings.alert_horizon
    if bundle is None:
        do = "Run `python -m training fit`, then `python -m training promote RUN`"
        raise GarrisonError(f"no model is champion for {TARGET}", hint=do)
    if horizon not in bundle.horizons:
        raise GarrisonError(
            f"the champion {bundle.version} gives no score over {horizon} days",
            found=f"horizons {', '.join(map(str, bundle.horizons))}",
            hint="Set alerts.horizon to one of them, or train again",
        )
    levels = find_churn_levels(settings, bundle.base_rates[horizon])
    return Thresholds(bundle.version, levels.enter, levels.leave, bundle.base_rates[horizon])


def find_scored_instant(connection: sa.Connection, as_of: datetime | None, horizon: int) -> int:
    """Return the instant (µs) of the scores to work on: `as_of`, or by default the newest that has scores.

    Raises:
        GarrisonError: There are no scores at that instant.
    """
    newest = connection.scalar(sa.select(sa.func.max(SCORES.c.as_of)).where(_is_of_horizon(horizon)))
    if as_of is None and newest is not None:
        return int(newest)
    if as_of is None:
        raise GarrisonError(
            f"there are no {TARGET} scores over {horizon} days", hint="Run `python -m serving score --as-of D` first"
        )
    at = to_micros(as_of)
    any_score = sa.select(SCORES.c.account_id).where(_is_of_horizon(horizon), SCORES.c.as_of == at).limit(1)
    if connection.scalar(any_score) is None:
        raise GarrisonError(
            f"there are no {TARGET} scores over {horizon} days as of {format_instant(at)}",
            found="none at all" if newest is None else f"the newest are of {format_instant(newest)}",
            hint=f"Run `python -m serving score --as-of {format_instant(at)}` first",
        )
    return at


def find_scored_as_of(state: Store, as_of: datetime | None, horizon: int) -> datetime:
    """Return the same instant as `find_scored_instant`, as a datetime."""
    with state.reading() as connection:
        return from_micros(find_scored_instant(connection, as_of, horizon))


def is_processed(connection: sa.Connection, at: int) -> bool:
    """Return whether alerts have been raised at this instant (µs) before.

    Raises:
        GarrisonError: They have been raised at a later instant.
    """
    last = connection.scalar(sa.select(sa.func.max(ALERT_RUNS.c.as_of)).where(ALERT_RUNS.c.target == TARGET))
    if last is not None and last > at:
        raise GarrisonError(
            f"alerts can't go back to {format_instant(at)}",
            found=f"they have been raised as of {format_instant(last)}",
            hint="Name a later --as-of, or none for the newest scores",
        )
    return last == at


def read_alert_state(connection: sa.Connection, at: int, horizon: int, *, thresholds: Thresholds) -> AlertState:
    """Read the scores and open episodes at an instant (µs).

    Raises:
        GarrisonError: The scores are of another model than the thresholds.
    """
    at_instant = (_is_of_horizon(horizon), SCORES.c.as_of == at)
    models = sorted(connection.scalars(sa.select(SCORES.c.model).where(*at_instant).distinct()))
    if models != [thresholds.model]:
        raise GarrisonError(
            f"the scores as of {format_instant(at)} are not all of the champion {thresholds.model}",
            found=f"scores of {', '.join(models)}",
            hint=f"Run `python -m serving score --as-of {format_instant(at)}` again",
        )
    is_open = (EPISODES.c.kind == TARGET) & EPISODES.c.closed_as_of.is_(None)
    in_episode = SCORES.c.account_id.in_(sa.select(EPISODES.c.account_id).where(is_open))
    moving = sa.select(*(SCORES.c[f.name] for f in fields(AccountScore))).where(
        *at_instant, (SCORES.c.score >= thresholds.enter) | in_episode
    )
    episodes = sa.select(*(EPISODES.c[f.name] for f in fields(OpenEpisode))).where(is_open)
    eligible = sa.select(sa.func.count()).select_from(SCORES).where(*at_instant, SCORES.c.in_cohort.is_(True))
    return AlertState(
        [AccountScore(*row) for row in connection.execute(moving)],
        [OpenEpisode(*row) for row in connection.execute(episodes.order_by(EPISODES.c.account_id))],
        connection.scalar(eligible) or 0,
    )


def read_earlier_scores(
    connection: sa.Connection, accounts: Sequence[str], at: int, *, horizon: int
) -> Mapping[str, EarlierScore]:
    """Read each account's last score before an instant (µs); accounts without one are left out."""
    scores = {}
    for start in range(0, len(accounts), _CHUNK):
        conditions = (
            _is_of_horizon(horizon),
            SCORES.c.as_of < at,
            SCORES.c.account_id.in_(accounts[start : start + _CHUNK]),
        )
        last = sa.select(SCORES.c.account_id, sa.func.max(SCORES.c.as_of)).where(*conditions)
        keys = sa.tuple_(SCORES.c.account_id, SCORES.c.as_of).in_(last.group_by(SCORES.c.account_id))
        query = sa.select(SCORES.c.account_id, SCORES.c.score, SCORES.c.as_of, SCORES.c.model)
        for account, score, as_of, model in connection.execute(query.where(*conditions, keys)):
            scores[account] = EarlierScore(score, from_micros(as_of), model)
    return scores


def format_instant(at: int) -> str:
    """Format an instant (µs) as the command line takes it: the date alone at midnight UTC."""
    when = from_micros(at)
    return when.date().isoformat() if at % DAY == 0 else when.isoformat()


def _is_of_horizon(horizon: int) -> sa.ColumnElement[bool]:
    return (SCORES.c.target == TARGET) & (SCORES.c.horizon == horizon)

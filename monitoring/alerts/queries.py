"""Read what alerts need from the state database: scores at one `as_of`, open episodes, runs so far."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.timestamps import DAY, from_micros, to_micros
from features.state.database import Store
from features.state.tables import ALERT_RUNS, EPISODE_EVENTS, EPISODES, MUTES, SCORES
from monitoring.alerts import kinds
from monitoring.alerts.limits import SaleLimits, Thresholds
from monitoring.letters.account_risk import EarlierScore

TARGET, UPSELL = kinds.CHURN, kinds.UPSELL
# Who makes the events of a run.
RUN = "run"
Row = TypeVar("Row")
# Accounts named in one statement.
_CHUNK = 500


@dataclass(frozen=True)
class AccountScore:
    """One account's stored churn score at the `as_of` of the run."""

    account_id: str
    score: float
    in_cohort: bool | None
    value: float | None


@dataclass(frozen=True)
class ScoreDetails:
    """What a score was made from, and what raised it."""

    sources: str
    drivers: list[dict[str, Any]]


@dataclass(frozen=True)
class OpenEpisode:
    """An open episode, as the previous run and people's acts left it; the columns of `EPISODES`."""

    id: str
    account_id: str
    kind: str
    state: str
    opened_as_of: int
    peak_score: float | None
    last_as_of: int
    last_score: float | None
    spoken_score: float | None
    expected: float | None
    play: str | None
    owner: str | None
    snoozed_until: int | None
    exited_as_of: int | None
    version: int


@dataclass(frozen=True)
class ClosedKind:
    """An episode that a person closed while its condition went on."""

    id: str
    account_id: str
    kind: str
    state: str
    closed_as_of: int
    outcome: str
    version: int


@dataclass(frozen=True)
class Mute:
    """An account that no alert is raised on until an instant (µs); of one kind, or of all where that is None."""

    account_id: str
    kind: str | None
    until: int
    reason: str


@dataclass(frozen=True)
class AlertState:
    """What the lifecycle decides on.

    Args:
        at: The `as_of` (µs).
        scores: Churn scores, by account.
        sales: Upsell scores, by account.
        episodes: Those open.
        unexited: Those closed by a person whose condition had not ended yet.
        mutes: In force.
        opened: Owner and kind of the episodes opened in the seven days before.
        missed: Number of runs after each `as_of` (µs) that an open episode was last seen at.
        previous: The `as_of` of the run before (µs); None before the first.
        moved: Ids of those that a person handed over.
    """

    at: int
    scores: Mapping[str, AccountScore]
    sales: Mapping[str, float]
    episodes: Sequence[OpenEpisode]
    unexited: Sequence[ClosedKind]
    mutes: Sequence[Mute]
    opened: Sequence[tuple[str | None, str]]
    missed: Mapping[int, int]
    previous: int | None
    moved: frozenset[str]

    @property
    def considered(self) -> int:
        """Return the number of accounts in the cohort."""
        return sum(s.in_cohort is True for s in self.scores.values())


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


def read_alert_state(
    connection: sa.Connection, at: int, horizon: int, *, thresholds: Thresholds, sale: SaleLimits | None = None
) -> AlertState:
    """Read the scores, and everything that earlier runs and people left, at an instant (µs).

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
    is_open = EPISODES.c.closed_as_of.is_(None)
    episodes = _read_rows(connection, OpenEpisode, EPISODES, is_open)
    is_unexited = EPISODES.c.closed_as_of.is_not(None) & EPISODES.c.exited_as_of.is_(None)
    opened = sa.select(EPISODES.c.owner, EPISODES.c.kind).where(EPISODES.c.opened_as_of > at - 7 * DAY)
    runs = [*connection.scalars(sa.select(ALERT_RUNS.c.as_of).where(ALERT_RUNS.c.target == TARGET))]
    ids = sa.select(EPISODE_EVENTS.c.episode_id).join(EPISODES, EPISODES.c.id == EPISODE_EVENTS.c.episode_id)
    moved = ids.where(is_open, EPISODE_EVENTS.c.event == kinds.HANDED_OVER, EPISODE_EVENTS.c.by != RUN)
    return AlertState(
        at=at,
        scores={s.account_id: s for s in _read_rows(connection, AccountScore, SCORES, *at_instant)},
        sales=_read_sales(connection, at, sale),
        episodes=episodes,
        unexited=_read_rows(connection, ClosedKind, EPISODES, is_unexited),
        mutes=_read_rows(connection, Mute, MUTES, MUTES.c.until > at),
        opened=[(owner, kind) for owner, kind in connection.execute(opened)],
        missed={seen: sum(run > seen for run in runs) for seen in {e.last_as_of for e in episodes}},
        previous=max(runs, default=None),
        moved=frozenset(connection.scalars(moved)),
    )


def _read_rows(connection: sa.Connection, kind: type[Row], table: sa.Table, *conditions: Any) -> list[Row]:
    """Read the rows of a table as dataclasses whose fields are its columns, in the order of accounts."""
    columns = [table.c[f.name] for f in fields(kind)]  # type: ignore[arg-type]  # a dataclass
    query = sa.select(*columns).where(*conditions).order_by(table.c.account_id)
    return [kind(*row) for row in connection.execute(query)]


def _read_sales(connection: sa.Connection, at: int, sale: SaleLimits | None) -> dict[str, float]:
    """Read the upsell scores that are high enough to keep a chance open, of accounts that are customers."""
    if sale is None:
        return {}
    conditions = (
        SCORES.c.target == UPSELL,
        SCORES.c.horizon == sale.horizon,
        SCORES.c.as_of == at,
        SCORES.c.model == sale.model,
        SCORES.c.score >= sale.leave,
        SCORES.c.in_cohort.is_(True),
    )
    rows = connection.execute(sa.select(SCORES.c.account_id, SCORES.c.score).where(*conditions))
    return {row.account_id: row.score for row in rows}


def read_details(
    connection: sa.Connection, accounts: Collection[str], at: int, *, horizon: int
) -> Mapping[str, ScoreDetails]:
    """Read what the churn scores of accounts at an instant (µs) were made from, and their drivers."""
    details, wanted = {}, sorted(accounts)
    query = sa.select(SCORES.c.account_id, SCORES.c.sources, SCORES.c.drivers)
    for start in range(0, len(wanted), _CHUNK):
        own = SCORES.c.account_id.in_(wanted[start : start + _CHUNK])
        for account, sources, drivers in connection.execute(
            query.where(_is_of_horizon(horizon), SCORES.c.as_of == at, own)
        ):
            details[account] = ScoreDetails(sources, drivers)
    return details


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
        query = sa.select(SCORES.c.account_id, SCORES.c.score, SCORES.c.as_of, SCORES.c.model, SCORES.c.drivers)
        for account, score, as_of, model, drivers in connection.execute(query.where(*conditions, keys)):
            scores[account] = EarlierScore(score, from_micros(as_of), model, drivers)
    return scores


def read_courses(
    connection: sa.Connection, accounts: Sequence[str], at: int, *, horizon: int
) -> Mapping[str, Sequence[tuple[datetime, float]]]:
    """Read accounts' scores up to an instant (µs), oldest first."""
    courses = defaultdict[str, list[tuple[datetime, float]]](list)
    columns = sa.select(SCORES.c.account_id, SCORES.c.as_of, SCORES.c.score).order_by(SCORES.c.as_of)
    for start in range(0, len(accounts), _CHUNK):
        own = SCORES.c.account_id.in_(accounts[start : start + _CHUNK])
        for account, as_of, score in connection.execute(
            columns.where(_is_of_horizon(horizon), SCORES.c.as_of <= at, own)
        ):
            courses[account].append((from_micros(as_of), score))
    return courses


def format_instant(at: int) -> str:
    """Format an instant (µs) as the command line takes it: the date alone at midnight UTC."""
    when = from_micros(at)
    return when.date().isoformat() if at % DAY == 0 else when.isoformat()


def _is_of_horizon(horizon: int) -> sa.ColumnElement[bool]:
    return (SCORES.c.target == TARGET) & (SCORES.c.horizon == horizon)

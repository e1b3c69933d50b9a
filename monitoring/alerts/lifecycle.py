"""The alert lifecycle: which accounts enter risk, stay in it or leave it, from the stored scores of one `as_of`.

Entry asks for more than staying does (hysteresis), so an account near the line does not flap: one spell of
risk is one episode, and one episode is one message to its owner.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from features.core.timestamps import from_micros, to_micros
from features.settings import Settings
from features.state.database import Store
from features.state.tables import ALERT_RUNS, EPISODES, OUTBOX
from monitoring.alerts import message, queries
from monitoring.alerts.message import Earlier, Risk
from monitoring.alerts.queries import TARGET, Episode, Score, Standing, Thresholds
from monitoring.alerts.routing import Contact, Route, Stake, route

RECOVERED, LEFT = "recovered", "left"
_SPACE = uuid.UUID("5c0d3a4e-8f0b-5b53-9a0c-6f7f3a1d2b47")

Contacts = Callable[[Collection[str]], Mapping[str, Contact]]


@dataclass(frozen=True)
class Opened:
    """A new episode, and where its message goes."""

    episode: str
    score: Score
    route: Route


@dataclass(frozen=True)
class Continued:
    """An open episode that stays open."""

    episode: Episode
    score: float


@dataclass(frozen=True)
class Closed:
    """An episode that ended; without a score where the account is no longer in the cohort."""

    episode: Episode
    outcome: str
    score: float | None


@dataclass(frozen=True)
class Outcome:
    """What one run found, and wrote unless it was dry.

    Args:
        as_of: Of the scores.
        horizon: In days.
        thresholds: That it went by.
        considered: Accounts in the cohort.
        opened: The most value x score first.
        continued: Open episodes that stay open.
        closed: Episodes that ended.
        fresh: False where this `as_of` had been processed before, and so nothing was done.
        lead: Days that the target leaves before the horizon begins.
    """

    as_of: datetime
    horizon: int
    thresholds: Thresholds
    considered: int = 0
    opened: tuple[Opened, ...] = ()
    continued: tuple[Continued, ...] = ()
    closed: tuple[Closed, ...] = ()
    fresh: bool = True
    lead: int = 0

    @property
    def days(self) -> int:
        """From `as_of` to the horizon's end."""
        return self.lead + self.horizon


def lifecycle(
    here: Standing, limits: Thresholds
) -> tuple[tuple[Score, ...], tuple[Continued, ...], tuple[Closed, ...]]:
    """Which accounts open an episode, and which open episodes continue or close."""
    scores = {s.account_id: s for s in here.scores if s.in_cohort}
    known = {e.account_id for e in here.episodes}
    opened = tuple(s for s in scores.values() if s.score >= limits.enter and s.account_id not in known)
    continued, closed = [], []
    for episode in here.episodes:
        score = scores.get(episode.account_id)
        if score is None:
            closed.append(Closed(episode, LEFT, None))
        elif score.score < limits.leave:
            closed.append(Closed(episode, RECOVERED, score.score))
        else:
            continued.append(Continued(episode, score.score))
    return opened, tuple(continued), tuple(closed)


def run(  # noqa: PLR0913  # all named: what it works on, and what it is allowed to do
    settings: Settings,
    store: Store,
    *,
    limits: Thresholds,
    contacts: Contacts,
    as_of: datetime | None = None,
    dry_run: bool = False,
) -> Outcome:
    """Open, continue and close episodes from the scores at `as_of`, and put new messages into the outbox.

    All is written in one transaction, so a run that dies has written nothing; a second run for the same
    `as_of` does nothing, even at the same time in another process.

    Args:
        settings: The company's.
        store: Its state database.
        limits: Of the model that gave the scores.
        contacts: Gives the names and owners of accounts.
        as_of: Of the scores; the newest there are by default.
        dry_run: Say what would be done, and write nothing.

    Raises:
        GarrisonError: There are no scores at `as_of`, they are of another model, or a later `as_of` has been
            processed.
    """
    horizon = settings.alert_horizon
    with store.reading() as connection:
        at = queries.chosen(connection, as_of, horizon)
        if queries.processed(connection, at):
            return Outcome(from_micros(at), horizon, limits, fresh=False)
        here = queries.read(connection, at, horizon, thresholds=limits)
        entered, continued, closed = lifecycle(here, limits)
        before = queries.earlier(connection, [s.account_id for s in entered], at, horizon=horizon)
    known = contacts([s.account_id for s in entered]) if entered else {}
    routes = route((Stake(s.account_id, s.score, s.value) for s in entered), known, settings.alerts)
    scores = {s.account_id: s for s in entered}
    company = settings.company.name
    opened = tuple(
        Opened(episode_id(company, account, target=TARGET, opened=at), scores[account], way)
        for account, way in routes.items()
    )
    lead = settings.churn.lead_days
    outcome = Outcome(from_micros(at), horizon, limits, here.considered, opened, continued, closed, lead=lead)
    if dry_run:
        return outcome
    risks = [_risk(settings, o, outcome, known=known, before=before) for o in opened]
    return _write(store, outcome, risks)


def _risk(
    settings: Settings,
    opened: Opened,
    outcome: Outcome,
    *,
    known: Mapping[str, Contact],
    before: Mapping[str, Earlier],
) -> Risk:
    score = opened.score
    return Risk(
        account_id=score.account_id,
        name=known.get(score.account_id, Contact()).name,
        score=score.score,
        days=outcome.days,
        as_of=outcome.as_of,
        earlier=before.get(score.account_id),
        drivers=score.drivers,
        value=score.value,
        currency=settings.company.currency,
        model=outcome.thresholds.model,
        sources=score.sources,
        episode=opened.episode,
    )


def _write(store: Store, outcome: Outcome, risks: list[Risk]) -> Outcome:
    now, at, limits = to_micros(datetime.now(UTC)), to_micros(outcome.as_of), outcome.thresholds
    shared = {"target": TARGET, "horizon": outcome.horizon, "model": limits.model}
    with store.writing() as connection:
        if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
            connection.execute(sa.text("LOCK TABLE alert_runs IN SHARE ROW EXCLUSIVE MODE"))
        if queries.processed(connection, at):  # by another process, since we looked
            return Outcome(outcome.as_of, outcome.horizon, limits, fresh=False)
        ran = {"as_of": at, "enter": limits.enter, "leave": limits.leave, "run_at": now}
        connection.execute(sa.insert(ALERT_RUNS), shared | ran)
        if outcome.opened:
            connection.execute(sa.insert(EPISODES), [shared | _row(o, at) for o in outcome.opened])
            pairs = enumerate(zip(outcome.opened, risks, strict=True))
            connection.execute(sa.insert(OUTBOX), [_queued(o, risk, n, now) for n, (o, risk) in pairs])
        _move(connection, outcome, at)
    return outcome


def _row(opened: Opened, at: int) -> dict[str, Any]:
    score = opened.score
    scores = dict.fromkeys(("opened_score", "peak_score", "last_score"), score.score)
    named = {"id": opened.episode, "account_id": score.account_id, "value": score.value}
    return {**named, **scores, "opened_as_of": at, "last_as_of": at}


def _queued(opened: Opened, risk: Risk, position: int, now: int) -> dict[str, Any]:
    return {
        "id": message_id(opened.episode, "opened"),
        "episode_id": opened.episode,
        "kind": "opened",
        "recipient": opened.route.recipient,
        "subject": message.subject(risk),
        "body": message.body(risk),
        "state": opened.route.state,
        "reason": opened.route.reason,
        "attempts": 0,
        "position": position,
        "created_at": now,
        "next_try_at": now,
    }


def _move(connection: sa.Connection, outcome: Outcome, at: int) -> None:
    """Bring open episodes to `at`, and close those that ended."""
    going = [
        {
            "this": c.episode.id,
            "last_as_of": at,
            "last_score": c.score,
            "peak_score": max(c.episode.peak_score, c.score),
        }
        for c in outcome.continued
    ]
    ended = [
        {"this": c.episode.id, "last_as_of": at, "last_score": c.score, "closed_as_of": at, "outcome": c.outcome}
        for c in outcome.closed
    ]
    for rows in (going, ended):
        if rows:
            connection.execute(sa.update(EPISODES).where(EPISODES.c.id == sa.bindparam("this")), rows)


def episode_id(company: str, account_id: str, *, target: str, opened: int) -> str:
    """The name that the episode opened at this instant (µs) has in every run."""
    return str(uuid.uuid5(_SPACE, "\x1f".join((company, account_id, target, str(opened)))))


def message_id(episode: str, kind: str) -> str:
    """The name of an episode's message of this kind."""
    return str(uuid.uuid5(uuid.UUID(episode), kind))

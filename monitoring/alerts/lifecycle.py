"""The alert lifecycle: open, continue and close episodes of risk from the stored scores of one `as_of`.

An episode opens at a higher score than the one it closes at (hysteresis), so an account near the threshold does not
go in and out. One spell of risk is one episode, and one episode is one message to its owner.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from features.core.timestamps import from_micros, to_micros
from features.settings import Settings
from features.state.database import Store
from features.state.tables import ALERT_RUNS, EPISODES, OUTBOX
from monitoring.alerts import queries
from monitoring.alerts.queries import TARGET, AccountScore, AlertState, OpenEpisode, Thresholds
from monitoring.alerts.routing import Contact, MessageRoute, RankedAccount, route_messages
from monitoring.letters import message
from monitoring.letters.message import AccountRisk, EarlierScore

RECOVERED, LEFT = "recovered", "left"
_SPACE = uuid.UUID("5c0d3a4e-8f0b-5b53-9a0c-6f7f3a1d2b47")

Contacts = Callable[[Collection[str]], Mapping[str, Contact]]
# Dated facts about accounts, seen at an instant.
Evidence = Callable[[Collection[str], datetime], Mapping[str, Sequence[str]]]


@dataclass(frozen=True)
class OpenedEpisode:
    """A new episode, the account's name and owner, and where its message goes."""

    episode: str
    score: AccountScore
    route: MessageRoute
    contact: Contact


@dataclass(frozen=True)
class ContinuedEpisode:
    """An open episode that stays open."""

    episode: OpenEpisode
    score: float


@dataclass(frozen=True)
class ClosedEpisode:
    """An episode that ended; the score is None if the account is no longer in the cohort."""

    episode: OpenEpisode
    outcome: str
    score: float | None


@dataclass(frozen=True)
class AlertRun:
    """The result of one run of the alerts.

    Args:
        as_of: Of the scores.
        horizon: In days.
        thresholds: The scores at which episodes opened and closed.
        considered: Accounts in the cohort.
        opened: New episodes, the largest value x score first.
        continued: Open episodes that stay open.
        closed: Episodes that ended.
        fresh: False if this `as_of` had been processed before, and so nothing was done.
        lead: Days that the target leaves before the horizon begins.
    """

    as_of: datetime
    horizon: int
    thresholds: Thresholds
    considered: int = 0
    opened: tuple[OpenedEpisode, ...] = ()
    continued: tuple[ContinuedEpisode, ...] = ()
    closed: tuple[ClosedEpisode, ...] = ()
    fresh: bool = True
    lead: int = 0

    @property
    def days(self) -> int:
        """Return the days from `as_of` to the horizon's end."""
        return self.lead + self.horizon


def decide_episodes(
    state: AlertState, limits: Thresholds
) -> tuple[tuple[AccountScore, ...], tuple[ContinuedEpisode, ...], tuple[ClosedEpisode, ...]]:
    """Decide which accounts open an episode, and which open episodes continue or close."""
    scores = {s.account_id: s for s in state.scores if s.in_cohort}
    known = {e.account_id for e in state.episodes}
    opened = tuple(s for s in scores.values() if s.score >= limits.enter and s.account_id not in known)
    continued, closed = [], []
    for episode in state.episodes:
        score = scores.get(episode.account_id)
        if score is None:
            closed.append(ClosedEpisode(episode, LEFT, None))
        elif score.score < limits.leave:
            closed.append(ClosedEpisode(episode, RECOVERED, score.score))
        else:
            continued.append(ContinuedEpisode(episode, score.score))
    return opened, tuple(continued), tuple(closed)


def run(  # noqa: PLR0913  # all named: what it works on, and what it is allowed to do
    settings: Settings,
    store: Store,
    *,
    limits: Thresholds,
    contacts: Contacts,
    as_of: datetime | None = None,
    evidence: Evidence = lambda _accounts, _as_of: {},
    note: str = "",
    dry_run: bool = False,
) -> AlertRun:
    """Open, continue and close episodes from the scores at `as_of`, and put new messages into the outbox.

    Everything is written in one transaction, so a killed run has written nothing. A second run for the same `as_of`
    does nothing, even at the same time in another process.

    Args:
        settings: The company's.
        store: Its state database.
        limits: Of the model that gave the scores.
        contacts: Returns the names and owners of accounts.
        as_of: Of the scores; by default the newest.
        evidence: Returns dated facts about accounts as of an instant, for their letters.
        note: What owners should know about the data behind these scores; "" where all is well.
        dry_run: Write nothing.

    Raises:
        GarrisonError: There are no scores at `as_of`, they are of another model, or a later `as_of` has been
            processed.
    """
    horizon = settings.alert_horizon
    with store.reading() as connection:
        at = queries.find_scored_instant(connection, as_of, horizon)
        if queries.is_processed(connection, at):
            return AlertRun(from_micros(at), horizon, limits, fresh=False)
        alert_state = queries.read_alert_state(connection, at, horizon, thresholds=limits)
        entered, continued, closed = decide_episodes(alert_state, limits)
        before = queries.read_earlier_scores(connection, [s.account_id for s in entered], at, horizon=horizon)
    known = contacts([s.account_id for s in entered]) if entered else {}
    routes = route_messages((RankedAccount(s.account_id, s.score, s.value) for s in entered), known, settings.alerts)
    scores = {s.account_id: s for s in entered}
    company = settings.company.name
    opened = tuple(
        OpenedEpisode(
            build_episode_id(company, account, target=TARGET, opened=at),
            scores[account],
            message_route,
            known.get(account, Contact()),
        )
        for account, message_route in routes.items()
    )
    lead = settings.churn.lead_days
    outcome = AlertRun(from_micros(at), horizon, limits, alert_state.considered, opened, continued, closed, lead=lead)
    if dry_run:
        return outcome
    facts = evidence([o.score.account_id for o in opened], outcome.as_of) if opened else {}
    risks = [_build_risk(settings, o, outcome, before, facts=facts, note=note) for o in opened]
    return _write(store, outcome, risks)


def _build_risk(  # noqa: PLR0913  # all that a letter states
    settings: Settings,
    opened: OpenedEpisode,
    outcome: AlertRun,
    before: Mapping[str, EarlierScore],
    *,
    facts: Mapping[str, Sequence[str]],
    note: str,
) -> AccountRisk:
    score = opened.score
    return AccountRisk(
        account_id=score.account_id,
        name=opened.contact.name,
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
        base_rate=outcome.thresholds.base_rate,
        facts=facts.get(score.account_id, ()),
        note=note,
    )


def _write(store: Store, outcome: AlertRun, risks: list[AccountRisk]) -> AlertRun:
    now, at, limits = to_micros(datetime.now(UTC)), to_micros(outcome.as_of), outcome.thresholds
    shared = {"target": TARGET, "horizon": outcome.horizon, "model": limits.model}
    with store.writing() as connection:
        if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
            connection.execute(sa.text("LOCK TABLE alert_runs IN SHARE ROW EXCLUSIVE MODE"))
        if queries.is_processed(connection, at):  # by another process, since we looked
            return AlertRun(outcome.as_of, outcome.horizon, limits, fresh=False)
        ran = {"as_of": at, "enter": limits.enter, "leave": limits.leave, "run_at": now}
        connection.execute(sa.insert(ALERT_RUNS), shared | ran)
        if outcome.opened:
            connection.execute(sa.insert(EPISODES), [_build_episode_row(o, outcome, at) for o in outcome.opened])
            pairs = enumerate(zip(outcome.opened, risks, strict=True))
            connection.execute(sa.insert(OUTBOX), [_build_outbox_row(o, risk, n, now) for n, (o, risk) in pairs])
        _update_episodes(connection, outcome, at)
    return outcome


def _build_episode_row(opened: OpenedEpisode, outcome: AlertRun, at: int) -> dict[str, Any]:
    score = opened.score
    scores = dict.fromkeys(("opened_score", "peak_score", "last_score"), score.score)
    named = {"id": opened.episode, "account_id": score.account_id, "value": score.value, "kind": TARGET}
    named |= {"horizon": outcome.horizon, "model": outcome.thresholds.model, "state": "open", "version": 1}
    return {**named, **scores, "opened_as_of": at, "last_as_of": at}


def _build_outbox_row(opened: OpenedEpisode, risk: AccountRisk, position: int, now: int) -> dict[str, Any]:
    return {
        "id": build_message_id(opened.episode, "opened"),
        "episode_id": opened.episode,
        "kind": "opened",
        "recipient": opened.route.recipient,
        "subject": message.write_subject(risk),
        "body": message.write_body(risk),
        "state": opened.route.state,
        "reason": opened.route.reason,
        "attempts": 0,
        "position": position,
        "created_at": now,
        "next_try_at": now,
    }


def _update_episodes(connection: sa.Connection, outcome: AlertRun, at: int) -> None:
    """Write the new scores of open episodes, and close those that ended."""
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
        {
            "this": c.episode.id,
            "last_as_of": at,
            "last_score": c.score,
            "closed_as_of": at,
            "outcome": c.outcome,
            "state": "closed",
        }
        for c in outcome.closed
    ]
    for rows in (going, ended):
        if rows:
            connection.execute(sa.update(EPISODES).where(EPISODES.c.id == sa.bindparam("this")), rows)


def build_episode_id(company: str, account_id: str, *, target: str, opened: int) -> str:
    """Return the id that the episode opened at this instant (µs) has in every run."""
    return str(uuid.uuid5(_SPACE, "\x1f".join((company, account_id, target, str(opened)))))


def build_message_id(episode: str, kind: str) -> str:
    """Return the id of an episode's message of this kind."""
    return str(uuid.uuid5(uuid.UUID(episode), kind))

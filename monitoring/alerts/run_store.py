"""Write one run of the alerts: the run, its episodes and their events, its choices and messages, all or nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.timestamps import to_micros
from features.definitions import plays
from features.state.database import Store
from features.state.tables import ALERT_CHOICES, ALERT_RUNS, EPISODE_EVENTS, EPISODES, OUTBOX
from monitoring.alerts import kinds, queries
from monitoring.alerts.choice import Choice
from monitoring.alerts.decisions import ClosedEpisode, ContinuedEpisode
from monitoring.alerts.draws import write_draws
from monitoring.alerts.episode_store import change_episode, insert_episode
from monitoring.alerts.queries import RUN, TARGET, OpenEpisode
from monitoring.experiments.experiment_store import begin_experiment

if TYPE_CHECKING:  # which itself calls this
    from monitoring.alerts.lifecycle import AlertRun, OpenedEpisode

# Episodes named in one statement.
_CHUNK = 500


def write(store: Store, outcome: AlertRun, instant: datetime) -> bool | None:
    """Write a run and its messages.

    Args:
        store: The state database.
        outcome: The run.
        instant: The clock's.

    Returns:
        False if another process has written the same run meanwhile; None if a person has changed an episode since it
        was read, so that the run must begin anew.
    """
    now, at = to_micros(instant), to_micros(outcome.as_of)
    with store.writing() as connection:
        if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
            connection.execute(sa.text("LOCK TABLE alert_runs IN SHARE ROW EXCLUSIVE MODE"))
        if queries.is_processed(connection, at):
            return False
        refreshed = _refresh(connection, outcome)
        if refreshed is None:
            return None
        outcome = refreshed
        limits = outcome.thresholds
        ran = {"target": TARGET, "as_of": at, "horizon": outcome.horizon, "model": limits.model}
        connection.execute(sa.insert(ALERT_RUNS), ran | {"enter": limits.enter, "leave": limits.leave, "run_at": now})
        for going in outcome.continued:
            _write_continued(connection, outcome, going, at, now)
        for ended in outcome.closed:
            _write_closed(connection, ended, at, now)
        for gone in outcome.exited:
            exit_event, values = (kinds.EXITED, dict[str, Any]()), {"exited_as_of": at}
            change_episode(connection, gone, events=[exit_event], by=RUN, now=now, as_of=at, values=values)
        for one in outcome.opened:
            row, details = _build_episode_row(one, outcome, at)
            insert_episode(connection, row, now=now, details=details)
        if outcome.choices:
            connection.execute(sa.insert(ALERT_CHOICES), [_build_choice_row(c, at) for c in outcome.choices])
        begin_experiment(connection, outcome.experiment, at=at, now=now)
        write_draws(connection, outcome.draws, at=at, now=now)
        if outcome.mailing.rows:
            connection.execute(sa.insert(OUTBOX), list(outcome.mailing.rows))
    return True


def refuse(outcome: AlertRun) -> NoReturn:
    """Refuse a run that people's acts have overtaken again and again."""
    raise GarrisonError(
        f"the alerts as of {outcome.as_of:%Y-%m-%d} can't be raised",
        found="people change episodes all the while",
        hint="Run `python -m monitoring alert` again",
    )


def _refresh(connection: sa.Connection, outcome: AlertRun) -> AlertRun | None:
    """Return the run with the episodes that it changes as they are now, and lock them; None if it must begin anew.

    That an owner was told meanwhile, by a delivery, changes nothing of what the run decides.
    """
    seen = {one.episode.id: one.episode.version for one in outcome.continued}
    seen |= {one.episode.id: one.episode.version for one in outcome.closed}
    seen |= {gone.id: gone.version for gone in outcome.exited}
    c, v = EPISODES.c, EPISODE_EVENTS.c
    query = sa.select(c.id, c.version, c.state).where(c.closed_as_of.is_(None) | c.exited_as_of.is_(None))
    present = {row.id: row for row in connection.execute(query.with_for_update())}
    if not seen.keys() <= present.keys():
        return None
    moved = [episode for episode, version in seen.items() if present[episode].version != version]
    if not moved:
        return outcome
    for start in range(0, len(moved), _CHUNK):
        own = v.episode_id.in_(moved[start : start + _CHUNK])
        decided = sa.select(v.episode_id, v.seq).where(own, v.event != kinds.NOTIFIED)
        if any(seq > seen[episode] for episode, seq in connection.execute(decided)):
            return None

    def update(episode: OpenEpisode) -> OpenEpisode:
        now = present[episode.id]
        return replace(episode, version=now.version, state=now.state)

    return replace(
        outcome,
        continued=tuple(replace(one, episode=update(one.episode)) for one in outcome.continued),
        closed=tuple(replace(one, episode=update(one.episode)) for one in outcome.closed),
    )


def _write_continued(connection: sa.Connection, outcome: AlertRun, going: ContinuedEpisode, at: int, now: int) -> None:
    episode, score = going.episode, going.score
    events: list[tuple[str, dict[str, Any]]] = [(event, {"score": score}) for event in going.events]
    values: dict[str, Any] = {"exited_as_of": going.exited_as_of}
    if going.is_seen:
        values |= {"last_as_of": at, "last_score": score}
        if score is not None:
            values["peak_score"] = max(episode.peak_score or 0.0, score)
    owner = (outcome.owners or {}).get(episode.id)
    if going.speaks or owner:  # from now on "worse" is against what was told now, also to another owner
        values["spoken_score"] = score
    if message := outcome.mailing.messages.get(episode.id):
        values["message_id"] = message
    if kinds.WOKEN in going.events:
        values["snoozed_until"] = None
    if owner:
        events.append((kinds.HANDED_OVER, {"from": episode.owner, "to": owner}))
        values |= {"owner": owner, "acknowledged_at": None, "acknowledged_by": None}
    change_episode(connection, episode, events=events, by=RUN, now=now, as_of=at, values=values)


def _write_closed(connection: sa.Connection, ended: ClosedEpisode, at: int, now: int) -> None:
    episode = ended.episode
    values = {
        "last_score": ended.score,
        "closed_as_of": at,
        "closed_at": now,
        "outcome": ended.outcome,
        "outcome_reason": ended.reason,
        "exited_as_of": at if ended.has_exited else None,
        "snoozed_until": None,
    }
    details = {"outcome": ended.outcome, "reason": ended.reason, "score": ended.score}
    change_episode(connection, episode, events=[(kinds.ENDED, details)], by=RUN, now=now, as_of=at, values=values)


def _build_episode_row(one: OpenedEpisode, outcome: AlertRun, at: int) -> tuple[dict[str, Any], dict[str, Any]]:
    choice, signal = one.choice, one.score
    play = plays.PLAYS.get(choice.candidate.play)
    row = {
        "id": one.episode,
        "account_id": signal.account_id,
        "kind": signal.kind,
        "horizon": outcome.horizon,
        "model": outcome.thresholds.model,
        "opened_as_of": at,
        "last_as_of": at,
        **dict.fromkeys(("opened_score", "peak_score", "last_score", "spoken_score"), signal.score),
        "value": signal.value,
        "expected": choice.candidate.expected,
        "play": choice.candidate.play,
        "cause": play.cause if play else None,
        "owner": choice.candidate.owner,
        "message_id": outcome.mailing.messages.get(one.episode),
    }
    details = {"score": signal.score, "expected": choice.candidate.expected, "rank": choice.rank}
    return row, details | {"why": str(signal.text), "told": outcome.mailing.forms.get(one.episode)}


def _build_choice_row(choice: Choice, at: int) -> dict[str, Any]:
    candidate, signal = choice.candidate, choice.candidate.signal
    return {
        "as_of": at,
        "kind": signal.kind,
        "account_id": signal.account_id,
        "rank": choice.rank,
        "score": signal.score,
        "value": signal.value,
        "expected": candidate.expected,
        "threshold": choice.threshold,
        "capacity": choice.capacity,
        "owner": candidate.owner,
        "play": candidate.play,
        "chosen": choice.chosen,
        "reason": choice.reason,
    }

"""Write one run of the alerts: the run, its episodes and their events, its choices and messages, all or nothing."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.timestamps import to_micros
from features.definitions import plays
from features.state.database import Store
from features.state.tables import ALERT_CHOICES, ALERT_RUNS, EPISODES, OUTBOX
from monitoring.alerts import kinds, queries
from monitoring.alerts.choice import Choice
from monitoring.alerts.decisions import ClosedEpisode, ContinuedEpisode
from monitoring.alerts.draws import write_draws
from monitoring.alerts.episode_store import change_episode, insert_episode
from monitoring.alerts.queries import RUN, TARGET
from monitoring.experiments.experiment_store import begin_experiment

if TYPE_CHECKING:  # which itself calls this
    from monitoring.alerts.lifecycle import AlertRun, OpenedEpisode


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
        if not _is_unchanged(connection, outcome):
            return None
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


def _is_unchanged(connection: sa.Connection, outcome: AlertRun) -> bool:
    """Return whether no episode that the run changes has changed since it was read; locks them."""
    seen = {c.episode.id: c.episode.version for c in outcome.continued}
    seen |= {c.episode.id: c.episode.version for c in outcome.closed}
    seen |= {gone.id: gone.version for gone in outcome.exited}
    is_open = EPISODES.c.closed_as_of.is_(None)
    query = sa.select(EPISODES.c.id, EPISODES.c.version).where(is_open | EPISODES.c.exited_as_of.is_(None))
    present = {row.id: row.version for row in connection.execute(query.with_for_update())}
    return all(present.get(episode) == version for episode, version in seen.items())


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

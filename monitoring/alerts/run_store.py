"""Write one run of the alerts: the run, its episodes and their events, its choices and messages, all or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
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
from monitoring.alerts.episode_store import build_message_id, change_episode, insert_episode
from monitoring.alerts.queries import RUN, TARGET
from monitoring.alerts.routing import MessageRoute
from monitoring.letters import message
from monitoring.letters.message import AccountRisk

if TYPE_CHECKING:  # which itself calls this
    from monitoring.alerts.lifecycle import AlertRun, OpenedEpisode


def write(
    store: Store, outcome: AlertRun, opened: Sequence[AccountRisk], told_again: Sequence[AccountRisk]
) -> bool | None:
    """Write a run and its letters.

    Returns:
        False if another process has written the same run meanwhile; None if a person has changed an episode since it
        was read, so that the run must begin anew.
    """
    now, at = to_micros(datetime.now(UTC)), to_micros(outcome.as_of)
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
        messages = [*_build_messages(outcome, opened, told_again, now)]
        if messages:
            connection.execute(sa.insert(OUTBOX), messages)
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
    if going.speaks:
        values["spoken_score"] = score
    if kinds.WOKEN in going.events:
        values["snoozed_until"] = None
    if owner := (outcome.owners or {}).get(episode.id):
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
    }
    details = {"score": signal.score, "expected": choice.candidate.expected, "rank": choice.rank, "why": signal.text}
    return row, details


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


def _build_messages(
    outcome: AlertRun, opened: Sequence[AccountRisk], told_again: Sequence[AccountRisk], now: int
) -> Iterator[dict[str, Any]]:
    position = 0
    for one, risk in zip(outcome.opened, opened, strict=True):
        yield _build_message(one.episode, kinds.OPENED, one.route, risk, position=position, now=now)
        position += 1
    for told, risk in zip(outcome.told_again, told_again, strict=True):
        episode = told.going.episode
        # An episode may change hands or wake more than once: the version tells these messages apart.
        kind = told.event if told.event == kinds.WORSENED else f"{told.event}-{episode.version}"
        yield _build_message(episode.id, kind, told.route, risk, position=position, now=now)
        position += 1


def _build_message(  # noqa: PLR0913  # what a message is made of
    episode: str, kind: str, route: MessageRoute, risk: AccountRisk, *, position: int, now: int
) -> dict[str, Any]:
    return {
        "id": build_message_id(episode, kind),
        "episode_id": episode,
        "kind": kind,
        "recipient": route.recipient,
        "subject": message.write_subject(risk),
        "body": message.write_body(risk),
        "state": route.state,
        "reason": route.reason,
        "attempts": 0,
        "position": position,
        "created_at": now,
        "next_try_at": now,
    }

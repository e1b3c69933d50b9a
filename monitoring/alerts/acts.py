"""What people do with episodes: acknowledge, snooze, close with an outcome, hand over.

Each act names the version of the episode that its actor saw. If somebody has decided something since, it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from features.core.addresses import parse_address
from features.core.errors import GarrisonError
from features.core.safe_line import to_safe_line
from features.core.timestamps import from_micros, to_micros
from features.state.database import Store
from features.state.tables import EPISODE_EVENTS, EPISODES
from monitoring.alerts import kinds
from monitoring.alerts.episode_store import change_episode
from monitoring.alerts.kinds import DECISIONS

# Outcomes that a person may state; the others are found by runs.
STATED = (kinds.SAVED, kinds.FALSE_ALARM, kinds.LEFT, kinds.RECOVERED)
_SHORTEST_ID = 4


@dataclass(frozen=True)
class EpisodeView:
    """An episode as a person sees it before an act."""

    id: str
    account_id: str
    kind: str
    state: str
    outcome: str | None
    owner: str | None
    version: int


def find_episode(store: Store, episode_id: str) -> EpisodeView:
    """Find an episode by its id, or by the beginning of it.

    Raises:
        GarrisonError: There is none, or there are several.
    """
    columns = [EPISODES.c[name] for name in EpisodeView.__dataclass_fields__]
    begins = EPISODES.c.id.startswith(episode_id, autoescape=True)
    with store.reading() as connection:
        rows = connection.execute(sa.select(*columns).where(begins).limit(2)).all()
    if len(episode_id) < _SHORTEST_ID or not rows:
        raise GarrisonError(f"there is no episode {episode_id}", hint="`python -m monitoring episodes` lists them")
    if len(rows) > 1:
        raise GarrisonError(f"several episodes begin with {episode_id}", hint="Give more of its id")
    return EpisodeView(*rows[0])


def acknowledge(  # noqa: PLR0913  # all but the first two named
    store: Store,
    episode_id: str,
    *,
    by: str,
    reason: str = "",
    version: int | None = None,
    now: datetime | None = None,
    dry_run: bool = False,
) -> EpisodeView:
    """Note that somebody is at it.

    Args:
        store: The state database.
        episode_id: Which; its beginning is enough.
        by: Who acts.
        reason: A note.
        version: Of the episode as the actor saw it; None for as it is now.
        now: The instant; by default the clock's.
        dry_run: Check everything, and write nothing.

    Returns:
        The episode after it.

    Raises:
        GarrisonError: There is no such episode, it can't be acknowledged, or somebody has decided something since.
    """
    at = read_clock(now)
    values = {"acknowledged_at": at, "acknowledged_by": name_actor(by), "snoozed_until": None}
    act = _Act(kinds.ACKNOWLEDGED, {"reason": tidy_reason(reason)}, values)
    return act.do(store, episode_id, by=by, version=version, at=at, dry_run=dry_run)


def snooze(  # noqa: PLR0913  # all but the first two named
    store: Store,
    episode_id: str,
    *,
    until: datetime,
    by: str,
    reason: str = "",
    version: int | None = None,
    now: datetime | None = None,
    dry_run: bool = False,
) -> EpisodeView:
    """Let an episode rest until an instant: the first run from then on tells its owner again. Arguments as above.

    Raises:
        GarrisonError: As above, or the instant is not ahead, or more than a year.
    """
    at = read_clock(now)
    end = check_end(until, at, "an episode can't be snoozed until then")
    details = {"until": until.astimezone(UTC).isoformat(), "reason": tidy_reason(reason)}
    act = _Act(kinds.SNOOZED, details, {"snoozed_until": end})
    return act.do(store, episode_id, by=by, version=version, at=at, dry_run=dry_run)


def close(  # noqa: PLR0913  # all but the first two named
    store: Store,
    episode_id: str,
    *,
    outcome: str,
    by: str,
    reason: str = "",
    version: int | None = None,
    now: datetime | None = None,
    dry_run: bool = False,
) -> EpisodeView:
    """Close an episode with what became of it; a false alarm needs its reason. Arguments as above.

    The account opens no episode of this kind again before a run has seen its condition end.

    Raises:
        GarrisonError: As above, or the outcome is none that a person may state, or its reason is missing.
    """
    if outcome not in STATED:
        named = ", ".join(word.replace("_", "-") for word in STATED)
        raise GarrisonError(f"{outcome} is no outcome that a person states", hint=f"It is one of {named}")
    if outcome == kinds.FALSE_ALARM and not reason.strip():
        raise GarrisonError("a false alarm needs a reason", hint="Say what was wrong with it: --reason '…'")
    at, words = read_clock(now), tidy_reason(reason)
    values = {
        "closed_as_of": at,
        "closed_at": at,
        "outcome": outcome,
        "outcome_reason": words or None,
        "exited_as_of": None,
        "snoozed_until": None,
    }
    act = _Act(kinds.ENDED, {"outcome": outcome, "reason": words}, values)
    return act.do(store, episode_id, by=by, version=version, at=at, dry_run=dry_run)


def hand_over(  # noqa: PLR0913  # all but the first two named
    store: Store,
    episode_id: str,
    *,
    to: str,
    by: str,
    reason: str = "",
    version: int | None = None,
    now: datetime | None = None,
    dry_run: bool = False,
) -> EpisodeView:
    """Give an episode to another person, whatever the account's record says. Arguments as above.

    Raises:
        GarrisonError: As above, or the address is not one plain e-mail address.
    """
    address = parse_address(to)
    if address is None:
        raise GarrisonError("--to is not one plain e-mail address", found=repr(to), hint="Write it as name@example.com")
    at, before = read_clock(now), find_episode(store, episode_id)
    values = {"owner": address, "acknowledged_at": None, "acknowledged_by": None, "snoozed_until": None}
    act = _Act(kinds.HANDED_OVER, {"from": before.owner, "to": address, "reason": tidy_reason(reason)}, values)
    return act.do(store, episode_id, by=by, version=version, at=at, dry_run=dry_run)


def mark_notified(connection: sa.Connection, episode_id: str, *, now: int, message: str) -> None:
    """Note, in the caller's transaction, that a message about an open episode was sent; else nothing changes.

    Args:
        connection: A writing transaction.
        episode_id: Which.
        now: The instant (µs).
        message: Its id.
    """
    columns = [EPISODES.c[name] for name in EpisodeView.__dataclass_fields__]
    query = sa.select(*columns).where(EPISODES.c.id == episode_id, EPISODES.c.state == kinds.OPEN)
    row = connection.execute(query.with_for_update()).first()
    if row is not None:
        events = [(kinds.NOTIFIED, {"message": message})]
        change_episode(connection, EpisodeView(*row), events=events, by="deliver", now=now)


_YEAR = 366 * 86_400_000_000  # µs


@dataclass(frozen=True)
class _Act:
    """An event that a person makes, and the columns that it changes."""

    event: str
    details: Mapping[str, Any]
    values: Mapping[str, Any]

    def do(  # noqa: PLR0913  # all but the first two named
        self, store: Store, episode_id: str, *, by: str, version: int | None, at: int, dry_run: bool
    ) -> EpisodeView:
        """Make the event, all or nothing."""
        found = find_episode(store, episode_id)
        columns = [EPISODES.c[name] for name in EpisodeView.__dataclass_fields__]
        with store.writing() as connection:
            query = sa.select(*columns).where(EPISODES.c.id == found.id).with_for_update()
            episode = EpisodeView(*connection.execute(query).one())
            if version is not None:
                _refuse_stale(connection, episode, version)
            state = kinds.find_next_state(episode.state, self.event, episode=episode.id)
            after = episode.version
            if not dry_run:
                after = change_episode(
                    connection,
                    episode,
                    events=[(self.event, self.details)],
                    by=name_actor(by),
                    now=at,
                    values=self.values,
                )
        outcome = str(self.values["outcome"]) if "outcome" in self.values else episode.outcome
        owner = str(self.values["owner"]) if "owner" in self.values else episode.owner
        return EpisodeView(episode.id, episode.account_id, episode.kind, state, outcome, owner, after)


def _refuse_stale(connection: sa.Connection, episode: EpisodeView, version: int) -> None:
    """Refuse an act if somebody has decided something about the episode since its actor saw it.

    Raises:
        GarrisonError: Naming what, who and when.
    """
    events = EPISODE_EVENTS.c
    later = sa.select(events.event, events.by, events.at).where(
        events.episode_id == episode.id, events.seq > version, events.event.in_(DECISIONS)
    )
    last = connection.execute(later.order_by(events.seq.desc()).limit(1)).first()
    if last is not None:
        raise GarrisonError(
            f"the episode {episode.id} has changed since you saw it",
            found=f"{last.event.replace('_', ' ')} by {last.by} on {from_micros(last.at):%Y-%m-%d %H:%M} UTC",
            hint="Look at it again, and decide anew",
        )


def check_end(until: datetime, at: int, problem: str) -> int:
    """Return the end of a rest (µs).

    Raises:
        GarrisonError: It is not ahead of `at` (µs), or more than a year.
    """
    end = to_micros(until)
    if not at < end <= at + _YEAR:
        raise GarrisonError(problem, found=f"{until:%Y-%m-%d}", hint="Name a day of the coming year")
    return end


def read_clock(now: datetime | None) -> int:
    """Return an instant (µs); by default that of the clock."""
    return to_micros(now or datetime.now(UTC))


def name_actor(by: str) -> str:
    """Return who acts, on one line."""
    return to_safe_line(by, 200)


def tidy_reason(reason: str) -> str:
    """Return a reason on one line; "" for none."""
    return to_safe_line(reason, 500) if reason.strip() else ""

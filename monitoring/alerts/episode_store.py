"""Write episodes: every change of one is a row of `episode_events`, in the same transaction."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.state.tables import EPISODE_EVENTS, EPISODES
from monitoring.alerts import kinds
from monitoring.alerts.kinds import find_next_state

_SPACE = uuid.UUID("5c0d3a4e-8f0b-5b53-9a0c-6f7f3a1d2b47")


class Stored(Protocol):
    """An episode as it was read from the database."""

    @property
    def id(self) -> str:
        """Return its id."""

    @property
    def version(self) -> int:
        """Return the seq of its last event."""

    @property
    def state(self) -> str:
        """Return its state."""


def build_episode_id(company: str, account_id: str, *, kind: str, opened: int) -> str:
    """Return the id that the episode opened at this instant (µs) has in every run."""
    return str(uuid.uuid5(_SPACE, "\x1f".join((company, account_id, kind, str(opened)))))


def insert_episode(connection: sa.Connection, row: Mapping[str, Any], *, now: int, details: Mapping[str, Any]) -> None:
    """Write a new episode, and the event that opens it.

    Args:
        connection: A writing transaction.
        row: Its columns but for state and version.
        now: The instant (µs).
        details: Of the event.
    """
    connection.execute(sa.insert(EPISODES), {**row, "state": kinds.OPEN, "version": 1})
    event = {"episode_id": row["id"], "seq": 1, "at": now, "as_of": row["opened_as_of"], "event": kinds.OPENED}
    connection.execute(sa.insert(EPISODE_EVENTS), event | {"by": "run", "details": dict(details)})


def change_episode(  # noqa: PLR0913  # all but the first two named
    connection: sa.Connection,
    episode: Stored,
    *,
    events: Sequence[tuple[str, Mapping[str, Any]]],
    by: str,
    now: int,
    as_of: int | None = None,
    values: Mapping[str, Any] | None = None,
) -> int:
    """Write some events of an episode and what they change, if it is still at a version.

    Args:
        connection: A writing transaction.
        episode: As it was read.
        events: Each with its details, in order.
        by: Who makes them.
        now: The instant (µs).
        as_of: Of the run that makes them.
        values: Columns of the episode that change beside its state and version.

    Returns:
        The new version.

    Raises:
        GarrisonError: An event can't happen in this state, or the episode has changed since it was read.
    """
    rows: list[dict[str, Any]] = []
    state = episode.state
    for seq, (event, details) in enumerate(events, episode.version + 1):
        state = find_next_state(state, event, episode=episode.id)
        row = {"episode_id": episode.id, "seq": seq, "at": now, "as_of": as_of, "event": event, "by": by}
        rows.append(row | {"details": dict(details)})
    changed = sa.update(EPISODES).where(EPISODES.c.id == episode.id, EPISODES.c.version == episode.version)
    after = episode.version + len(rows)
    if not connection.execute(changed.values(**{**(values or {}), "state": state, "version": after})).rowcount:
        raise GarrisonError(
            f"the episode {episode.id} has changed meanwhile",
            hint=f"Look at it again: python -m monitoring episodes --events {episode.id}",
        )
    if rows:
        connection.execute(sa.insert(EPISODE_EVENTS), rows)
    return after

"""What must hold of all episodes in a state database, whatever happened: a test of faults asks it after each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from features.state.database import Store
from features.state.tables import EPISODE_EVENTS, EPISODES
from monitoring.alerts import kinds
from monitoring.alerts.kinds import TRANSITIONS


def read_course(store: Store) -> dict[str, list[dict[str, Any]]]:
    """Read the events of every episode, oldest first."""
    query = sa.select(EPISODE_EVENTS).order_by(EPISODE_EVENTS.c.episode_id, EPISODE_EVENTS.c.seq)
    course: dict[str, list[dict[str, Any]]] = {}
    with store.reading() as connection:
        for row in connection.execute(query).mappings():
            course.setdefault(row["episode_id"], []).append(dict(row))
    return course


def find_illegal(store: Store) -> list[str]:
    """Find the episodes whose row does not follow from their events, or whose events can't follow each other."""
    course = read_course(store)
    with store.reading() as connection:
        rows = [dict(row) for row in connection.execute(sa.select(EPISODES)).mappings()]
    return [fault for row in rows for fault in _find_faults(row, course.get(row["id"], []))]


def _find_faults(row: dict[str, Any], events: list[dict[str, Any]]) -> Iterator[str]:
    state = ""
    for n, event in enumerate(events, 1):
        allowed, following = TRANSITIONS[event["event"]]
        if event["seq"] != n or (n > 1 and state not in allowed) or (n == 1) != (event["event"] == kinds.OPENED):
            yield f"{row['id']}: {event['event']} as its event {event['seq']}, from {state or 'nothing'}"
        state = following or state
    if (row["state"], row["version"]) != (state, len(events)):
        yield f"{row['id']}: its row is {row['state']} at {row['version']}, its events say {state} at {len(events)}"
    is_closed = row["state"] == kinds.CLOSED
    if is_closed != (row["closed_as_of"] is not None) or is_closed != (row["outcome"] in kinds.OUTCOMES):
        yield f"{row['id']}: {row['state']}, closed as of {row['closed_as_of']}, outcome {row['outcome']}"
    if (row["state"] == kinds.SNOOZED) != (row["snoozed_until"] is not None):
        yield f"{row['id']}: {row['state']}, snoozed until {row['snoozed_until']}"

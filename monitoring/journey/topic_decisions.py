"""Keep what people decide about topics: rename, merge, split, pin, its team and its tab; every rebuild keeps to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from features.core.addresses import parse_address
from features.core.errors import GarrisonError
from features.core.safe_line import to_safe_line
from features.core.timestamps import to_micros
from features.state.database import Store
from features.state.journey_tables import TOPIC_DECISIONS
from monitoring.journey.topic import TABS, Topic

RENAME, MERGE, SPLIT, PIN, UNPIN, TEAM, TAB = "rename", "merge", "split", "pin", "unpin", "team", "tab"
DECISIONS = (RENAME, MERGE, SPLIT, PIN, UNPIN, TEAM, TAB)
_LONGEST = 80


@dataclass(frozen=True)
class Decision:
    """One decision.

    Args:
        topic_id: About which topic.
        decision: One of `DECISIONS`.
        value: By decision: name; into; parts (topic ids with the ids of their tickets); members; team; tab.
        by: Address or name of who decided.
        at: When, in µs.
    """

    topic_id: str
    decision: str
    value: Mapping[str, Any]
    by: str
    at: int


def read_decisions(store: Store) -> list[Decision]:
    """Read all decisions, oldest first."""
    c = TOPIC_DECISIONS.c
    query = sa.select(c.topic_id, c.decision, c.value, c.by, c.at).order_by(c.seq)
    with store.reading() as connection:
        return [Decision(*row) for row in connection.execute(query)]


def write_decision(store: Store, topic_id: str, decision: str, value: Mapping[str, Any], *, by: str) -> Decision:
    """Write a decision; what it needs is checked by those who make it.

    Raises:
        GarrisonError: It is none, or its name, team or tab can't be one.
    """
    value = _check_value(decision, dict(value))
    made = Decision(topic_id, decision, value, by, to_micros(datetime.now(UTC)))
    with store.writing() as connection:
        newest = connection.scalar(sa.select(sa.func.max(TOPIC_DECISIONS.c.seq))) or 0
        row = {"topic_id": topic_id, "decision": decision, "value": dict(value), "by": by, "at": made.at}
        connection.execute(sa.insert(TOPIC_DECISIONS), {"seq": newest + 1, **row})
    return made


def _check_value(decision: str, value: dict[str, Any]) -> dict[str, Any]:
    if decision not in DECISIONS:
        raise GarrisonError(f"there is no decision {decision!r}", hint=f"One of {', '.join(DECISIONS)}")
    if decision == RENAME:
        value["name"] = to_safe_line(str(value.get("name", "")).strip(), _LONGEST)
        if not value["name"]:
            raise GarrisonError("a topic needs a name", hint="Call it what its tickets are about")
    if decision == TEAM and parse_address(str(value.get("team", ""))) is None:
        raise GarrisonError("a team needs one plain e-mail address", hint="Write it as name@example.com")
    if decision == TAB and value.get("tab") not in TABS:
        raise GarrisonError(f"there is no tab {value.get('tab')!r}", hint=f"One of {', '.join(TABS)}")
    return value


def find_survivors(decisions: Sequence[Decision]) -> dict[str, str]:
    """Return, by the id of each merged topic, the topic that it became a part of at last."""
    into = {d.topic_id: str(d.value["into"]) for d in decisions if d.decision == MERGE}
    survivors = {}
    for topic in into:
        at, seen = topic, set[str]()
        while at in into and at not in seen:
            seen.add(at)
            at = into[at]
        if at != topic:
            survivors[topic] = at
    return survivors


def find_pinned(decisions: Sequence[Decision]) -> dict[str, tuple[str, ...]]:
    """Return the tickets that stand for each pinned topic, those that a split made among them, by topic id."""
    pinned = dict[str, tuple[str, ...]]()
    for made in decisions:
        if made.decision == PIN:
            pinned[made.topic_id] = tuple(made.value["members"])
        elif made.decision == UNPIN:
            pinned.pop(made.topic_id, None)
        elif made.decision == SPLIT:
            pinned |= {topic: tuple(members) for topic, members in made.value["parts"].items()}
    return pinned


def apply_decisions(topics: Sequence[Topic], decisions: Sequence[Decision]) -> list[Topic]:
    """Return the topics with their names, teams and tabs as decided, merged ones together; most tickets first."""
    survivors, pinned = find_survivors(decisions), find_pinned(decisions)
    by_id = {topic.topic_id: topic for topic in topics}
    for gone, into in survivors.items():
        merged = by_id.pop(gone, None)
        if merged is not None and into in by_id:
            by_id[into] = replace(by_id[into], tickets=by_id[into].tickets + merged.tickets)
        elif merged is not None:  # the rebuild found both as one, under the id of the one that is gone
            by_id[into] = replace(merged, topic_id=into)
    by_id = {topic: replace(one, is_pinned=topic in pinned) for topic, one in by_id.items()}
    for made in decisions:
        topic = by_id.get(made.topic_id)
        if topic is None:
            continue
        if made.decision == RENAME:
            name = str(made.value["name"])
            by_id[made.topic_id] = replace(topic, names={"en": name, "zh_Hans": name})
        elif made.decision == TEAM:
            by_id[made.topic_id] = replace(topic, team=str(made.value["team"]))
        elif made.decision == TAB:
            by_id[made.topic_id] = replace(topic, tab=made.value["tab"])
    return sorted(by_id.values(), key=lambda topic: (-topic.tickets, topic.topic_id))

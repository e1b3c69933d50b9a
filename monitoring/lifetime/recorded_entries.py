"""Read the entries of a timeline that the state database holds: scores, alerts, acts, notes and promises."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from features.core.language import Phrase
from features.core.local_formats import Day, Percent
from features.core.safe_line import to_safe_line
from features.core.timestamps import from_micros
from features.state.database import Store
from features.state.portfolio_tables import ASSIGNMENTS
from features.state.tables import EPISODE_EVENTS, EPISODES, EVENT_LOG, MUTES, SCORES, TIER_OVERRIDES
from monitoring.alerts.kinds import KINDS
from monitoring.letters.account_risk import Text
from monitoring.lifetime.account_tables import AccountTables
from monitoring.lifetime.entry import Entry
from monitoring.lifetime.notes import Note
from monitoring.lifetime.promises import Promise

# A score is an entry where it is the first of a month, or has moved by so much.
_MOVED = 0.05
# Statements are built once: building one takes SQLAlchemy as long as asking it.
_ACCOUNT: sa.BindParameter[str] = sa.bindparam("account")
_s, _e, _t = SCORES.c, EPISODE_EVENTS.c, EVENT_LOG.c
_SCORES = (
    sa.select(_s.as_of, _s.score, _s.scored_at)
    .where(_s.account_id == _ACCOUNT, _s.target == "churn", _s.horizon == sa.bindparam("horizon"))
    .order_by(_s.as_of)
)
_EPISODES = (
    sa.select(EPISODES.c.kind, _e.episode_id, _e.seq, _e.at, _e.as_of, _e.event, _e.by, _e.details)
    .join(EPISODES, EPISODES.c.id == _e.episode_id)
    .where(EPISODES.c.account_id == _ACCOUNT)
    .order_by(_e.episode_id, _e.seq)
)
_DECISIONS = tuple(
    sa.select(table).where(table.c.account_id == _ACCOUNT) for table in (ASSIGNMENTS, MUTES, TIER_OVERRIDES)
)
_TOUCHES = (
    sa.select(_t.event_id, _t.at, _t.known_at, _t.content)
    .where(_t.account_id == _ACCOUNT, _t.source == "touches")
    .order_by(_t.seq)
)
_RUNS = frozenset({"run", "deliver"})
_EVENTS = {
    "opened": "Alert: {kind}",
    "notified": "Its owner was told",
    "eased": "The condition eased",
    "returned": "The condition is back",
    "unseen": "No score any more",
    "worsened": "It got worse",
    "woken": "It rested until now",
    "exited": "The condition ended",
    "acknowledged": "Taken on",
    "snoozed": "Put to rest",
    "handed_over": "Handed over",
    "closed": "Closed",
    "escalated": "Passed upward: nobody answered in time",
}


def read_entries(
    tables: AccountTables, store: Store, *, horizon: int, notes: Sequence[Note], promises: Sequence[Promise]
) -> list[Entry]:
    """Read all entries of an account: they are few.

    Args:
        tables: The account's rows.
        store: The state database.
        horizon: Of the scores, in days.
        notes: On the account.
        promises: To it.
    """
    account = tables.account_id
    with store.reading() as connection:
        entries = [
            *_read_scores(connection, account, horizon),
            *_read_episodes(connection, account),
            *_read_decisions(connection, account),
        ]
        if "touches" not in tables.tables:  # otherwise they are rows of that table
            entries += _read_touches(connection, account)
    entries += [
        Entry(note.at, "note", note.id, Phrase("Note by {person}", {"person": _name(note.by)}), note.text)
        for note in notes
    ]
    for promise in promises:
        kept = promise.kept_at and Phrase("kept on {day}", {"day": Day(from_micros(promise.kept_at))})
        state = {"due": Day(from_micros(promise.due)), "state": kept or Phrase("not kept yet")}
        body = Phrase("Due {due}, {state}", state)
        title = Phrase("Promised: {text}", {"text": to_safe_line(promise.text or "–", 200)})  # noqa: RUF001  # a dash
        entries.append(Entry(promise.made_at, "promise", promise.key, title, body, promise.known_at))
    return entries


def _read_scores(connection: sa.Connection, account: str, horizon: int) -> Iterator[Entry]:
    before: tuple[float, str] | None = None
    for as_of, score, scored_at in connection.execute(_SCORES, {"account": account, "horizon": horizon}):
        month = f"{from_micros(as_of):%Y-%m}"
        if before is None or month != before[1] or abs(score - before[0]) >= _MOVED:
            title = Phrase("Risk {score}", {"score": Percent(score)})
            body: Text = Phrase("before: {score}", {"score": Percent(before[0])}) if before else ""
            yield Entry(as_of, "score", str(horizon), title, body, scored_at)
            before = (score, month)


def _read_episodes(connection: sa.Connection, account: str) -> Iterator[Entry]:
    for row in connection.execute(_EPISODES, {"account": account}):
        is_run = row.by in _RUNS
        kind = {"kind": Phrase(KINDS.get(row.kind, row.kind).capitalize())}
        title: Text = Phrase(_EVENTS.get(row.event, row.event), kind if row.event == "opened" else {})
        if not is_run:
            title = Phrase("{event} by {person}", {"event": title, "person": _name(row.by)})
        at = row.as_of if row.as_of is not None else row.at
        key = f"{row.episode_id} {row.seq:06}"
        yield Entry(at, "alert" if is_run else "act", key, title, _describe_details(row.details), row.at)


def _describe_details(details: Mapping[str, Any]) -> Text:
    words = str(details.get("reason") or "")
    if outcome := details.get("outcome"):
        named = Phrase(str(outcome).replace("_", " "))
        return Phrase("{outcome}: {reason}", {"outcome": named, "reason": words}) if words else named
    if (to := details.get("to")) and "@" in str(to):
        return Phrase("to {person}", {"person": _name(str(to))})
    if isinstance(score := details.get("score"), float) and 0 <= score <= 1:
        return Phrase("risk {score}", {"score": Percent(score)})
    return words


def _read_decisions(connection: sa.Connection, account: str) -> Iterator[Entry]:
    """Yield owners assigned, mutes, and tiers that people set."""
    assigned, mutes, tiers = (connection.execute(query, {"account": account}) for query in _DECISIONS)
    for row in assigned:
        values = {"owner": _name(row.owner or ""), "person": _name(row.by)}
        title = Phrase("Assigned to {owner} by {person}", values)
        if row.owner is None:
            title = Phrase("Assignment ended by {person}", {"person": _name(row.by)})
        yield Entry(row.at, "act", f"assignment {row.seq:06}", title, row.reason)
    for row in mutes:
        muted = {"day": Day(from_micros(row.until)), "person": _name(row.by)}
        yield Entry(row.at, "act", f"mute {row.id}", Phrase("Muted until {day} by {person}", muted), row.reason)
    for row in tiers:
        values = {"tier": row.tier, "person": _name(row.by)}
        yield Entry(row.set_at, "act", f"tier {row.id}", Phrase("Tier {tier} set by {person}", values), row.reason)


def _read_touches(connection: sa.Connection, account: str) -> Iterator[Entry]:
    """Yield the touches that people recorded."""
    for row in connection.execute(_TOUCHES, {"account": account}):
        kind = to_safe_line(str(json.loads(row.content)["kind"]), 80)
        yield Entry(row.at, "touch", row.event_id, Phrase(kind.capitalize()), "", row.known_at)


def _name(address: str) -> str:
    return to_safe_line(address.partition("@")[0], 60) if address else "–"  # noqa: RUF001  # a dash

"""List episodes with their state, and tell the course of one; no e-mail addresses beyond the name before the @."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from rich.table import Table

from features.core.safe_line import to_safe_line
from features.core.timestamps import from_micros
from features.settings.cli import table
from features.state.database import Store
from features.state.tables import EPISODE_EVENTS, EPISODES, OUTBOX
from monitoring.alerts import kinds
from monitoring.alerts.acts import EpisodeView
from monitoring.alerts.queries import format_instant
from monitoring.binding.account_records import AccountRecord

_INSTANTS = (
    "opened_as_of",
    "last_as_of",
    "closed_as_of",
    "exited_as_of",
    "acknowledged_at",
    "snoozed_until",
    "closed_at",
)


def read_episodes(store: Store, *, closed: bool) -> list[dict[str, Any]]:
    """Read the episodes with the state of their newest message, newest first; closed ones only if wanted."""
    query = (
        sa.select(EPISODES, OUTBOX.c.state.label("message"))
        .outerjoin(OUTBOX, OUTBOX.c.id == EPISODES.c.message_id)
        .order_by(EPISODES.c.opened_as_of.desc(), EPISODES.c.expected.desc(), EPISODES.c.id)
    )
    if not closed:
        query = query.where(EPISODES.c.closed_as_of.is_(None))
    with store.reading() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
    for row in rows:
        row |= {c: None if row[c] is None else format_instant(row[c]) for c in _INSTANTS}
    return rows


def tabulate_episodes(rows: Sequence[Mapping[str, Any]], contacts: Mapping[str, AccountRecord]) -> Table:
    """Build the table of episodes, a row each."""
    numbers = ("at opening", "now")
    listed = table("opened", "episode", "account", "name", "kind", "owner", *numbers, "state", "message", right=numbers)
    for row in rows:
        scores = (row["opened_score"], row["last_score"])
        listed.add_row(
            row["opened_as_of"],
            row["id"][:8],
            to_safe_line(row["account_id"]),
            _show_name(contacts.get(row["account_id"], AccountRecord()).name),
            kinds.KINDS[row["kind"]],
            show_owner(row["owner"]),
            *("" if score is None else f"{score:.0%}" for score in scores),
            _show_state(row),
            row["message"] or "",
        )
    return listed


def read_course(store: Store, episode: EpisodeView) -> list[dict[str, Any]]:
    """Read the events of an episode, oldest first."""
    query = sa.select(EPISODE_EVENTS).where(EPISODE_EVENTS.c.episode_id == episode.id).order_by(EPISODE_EVENTS.c.seq)
    with store.reading() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
    for row in rows:
        row["as_of"] = None if row["as_of"] is None else format_instant(row["as_of"])
        row["at"] = from_micros(row["at"]).isoformat(timespec="seconds")
    return rows


def format_course(episode: EpisodeView, events: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the course of an episode for people, a line an event."""
    words = kinds.KINDS[episode.kind]
    yield f"Episode {episode.id}: {words}, account {to_safe_line(episode.account_id)}; it is {episode.state}"
    for event in events:
        name = event["event"].replace("_", " ")
        when = f"as of {event['as_of']}" if event["as_of"] else f"{event['at'][:16].replace('T', ' ')} UTC"
        details = "; ".join(
            f"{key.replace('_', ' ')} {_show_detail(key, value)}"
            for key, value in event["details"].items()
            if value not in {None, ""} and key != "message"
        )
        yield f"  {event['seq']:>3}. {when}  {name} by {_show_person(event['by'])}{f': {details}' if details else ''}"


def show_owner(address: str | None) -> str:
    """Return the owner's address without its domain: terminals and their logs are read by others."""
    return to_safe_line(address.partition("@")[0], 30) if address else "none"


def _show_person(by: str) -> str:
    return to_safe_line(by.partition("@")[0], 30)


def _show_detail(key: str, value: Any) -> str:
    if key in {"from", "to"}:
        return show_owner(str(value))
    if key == "score":
        return f"{value:.1%}"
    return f"{value:,.0f}" if isinstance(value, float) else to_safe_line(str(value), 200)


def _show_state(row: Mapping[str, Any]) -> str:
    if row["outcome"]:
        return f"{row['outcome'].replace('_', ' ')} {row['closed_as_of'][:10]}"
    return f"snoozed until {row['snoozed_until'][:10]}" if row["state"] == kinds.SNOOZED else str(row["state"])


def _show_name(name: str | None) -> str:
    return to_safe_line(name, 40) if name else ""

"""Let people decide about topics, by command or page: each act is checked against the topics of the last build."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from features.core.errors import GarrisonError
from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from monitoring.journey import topic_decisions as decisions
from monitoring.journey.text_vectors import vectorize_texts
from monitoring.journey.texts.words import clean_text
from monitoring.journey.topic import Topic
from monitoring.journey.topic_decisions import Decision, write_decision
from monitoring.journey.topic_finding import MEMBERS
from monitoring.journey.topics import read_ticket_topics, read_topics

MOST_PARTS = 6


def find_topic(topics: Sequence[Topic], wanted: str) -> Topic:
    """Return the topic with an id, or whose name in any language is the one wanted.

    Raises:
        GarrisonError: There is none, or several have the name.
    """
    matches = [t for t in topics if t.topic_id == wanted]
    matches = matches or [t for t in topics if wanted.lower() in {name.lower() for name in t.names.values()}]
    if len(matches) != 1:
        found = f"{len(matches)} topics have this name" if matches else "no topic has this id or name"
        raise GarrisonError(f"which topic is {wanted!r}?", found=found, hint="Take an id of `journey show`")
    return matches[0]


def rename_topic(settings: Settings, store: Store, topic: str, name: str, *, by: str) -> Decision:
    """Give a topic a name, in every language."""
    chosen = find_topic(read_topics(settings, store), topic)
    return write_decision(store, chosen.topic_id, decisions.RENAME, {"name": name}, by=by)


def merge_topics(settings: Settings, store: Store, topic: str, into: str, *, by: str) -> Decision:
    """Let a topic become a part of another one.

    Raises:
        GarrisonError: Both are the same.
    """
    topics = read_topics(settings, store)
    chosen, survivor = find_topic(topics, topic), find_topic(topics, into)
    if chosen.topic_id == survivor.topic_id:
        raise GarrisonError("a topic can't become a part of itself", hint="Name another topic")
    return write_decision(store, chosen.topic_id, decisions.MERGE, {"into": survivor.topic_id}, by=by)


def pin_topic(settings: Settings, store: Store, topic: str, *, by: str, is_pinned: bool = True) -> Decision:
    """Pin a topic, so that every rebuild finds it by the tickets that stand for it now; or unpin it."""
    chosen = find_topic(read_topics(settings, store), topic)
    if not is_pinned:
        return write_decision(store, chosen.topic_id, decisions.UNPIN, {}, by=by)
    members = _list_members(read_ticket_topics(settings, store), chosen.topic_id)
    return write_decision(store, chosen.topic_id, decisions.PIN, {"members": members}, by=by)


def set_team(settings: Settings, store: Store, topic: str, team: str, *, by: str) -> Decision:
    """Name the team that owns a topic."""
    chosen = find_topic(read_topics(settings, store), topic)
    return write_decision(store, chosen.topic_id, decisions.TEAM, {"team": team}, by=by)


def move_to_tab(settings: Settings, store: Store, topic: str, tab: str, *, by: str) -> Decision:
    """Move a topic to another tab."""
    chosen = find_topic(read_topics(settings, store), topic)
    return write_decision(store, chosen.topic_id, decisions.TAB, {"tab": tab}, by=by)


def split_topic(  # noqa: PLR0913  # what an act needs
    settings: Settings, history: History, store: Store, topic: str, parts: int, *, by: str
) -> Decision:
    """Split a topic into parts by its texts; the next build assigns all its tickets to them.

    Raises:
        GarrisonError: Its tickets have too few texts, or these don't fall into parts.
    """
    if not 2 <= parts <= MOST_PARTS:
        raise GarrisonError(f"a topic can't be split into {parts} parts", hint=f"Ask for 2 to {MOST_PARTS}")
    chosen = find_topic(read_topics(settings, store), topic)
    members = _list_members(read_ticket_topics(settings, store), chosen.topic_id, most=parts * MEMBERS)
    rows = _read_texts(history, members)
    labels = _divide(settings, rows, parts)
    if len(set(labels.tolist())) < parts:
        raise GarrisonError(
            f"the topic {chosen.get_name()!r} does not fall into {parts} parts", found=f"{len(rows)} tickets with texts"
        )
    ids = [chosen.topic_id, *(f"{chosen.topic_id}-{len(members)}{number}" for number in range(1, parts))]
    by_part = {
        part: rows["ticket_id"].to_numpy()[labels == number][:MEMBERS].tolist() for number, part in enumerate(ids)
    }
    return write_decision(store, chosen.topic_id, decisions.SPLIT, {"parts": by_part}, by=by)


def _list_members(assigned: pd.DataFrame, topic: str, most: int = MEMBERS) -> list[str]:
    """Return the tickets most like a topic."""
    mine = assigned[assigned["topic_id"] == topic].sort_values("similarity", ascending=False, kind="stable")
    return [str(ticket) for ticket in mine["ticket_id"].head(most)]


def _read_texts(history: History, members: Sequence[str]) -> pd.DataFrame:
    asked = pd.DataFrame({"ticket_id": list(members)}, dtype=object)
    sql = "SELECT t.ticket_id, t.subject, t.body, t.language FROM tickets t JOIN asked USING (ticket_id)"
    rows = history.query(sql, asked=asked).astype(object)
    rows = rows.where(rows.notna(), None).sort_values("ticket_id", kind="stable")
    rows["text"] = [clean_text(*pair) for pair in rows[["subject", "body"]].itertuples(index=False)]
    return rows[rows["text"] != ""].reset_index(drop=True)


def _divide(settings: Settings, rows: pd.DataFrame, parts: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(rows) < 2 * parts:
        return np.zeros(len(rows), dtype=np.int64)
    vectors = vectorize_texts(settings, rows["text"].tolist(), languages=rows["language"].tolist()).vectors
    # Ward's parts are of like size: a split for the sake of one odd ticket helps nobody.
    tree = linkage(vectors.astype(np.float64), method="ward")
    return np.asarray(fcluster(tree, parts, criterion="maxclust").astype(np.int64) - 1)

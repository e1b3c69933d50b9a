"""Read the topics of the last build, as people's decisions left them, and which ticket is of which topic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from features.settings import Settings
from features.state.database import Store
from monitoring.journey.json_files import read_json
from monitoring.journey.topic import Topic
from monitoring.journey.topic_decisions import apply_decisions, find_survivors, read_decisions


def locate_journey(settings: Settings) -> Path:
    """Return the folder of topics and map."""
    return settings.var / "journey"


def read_topics(settings: Settings, store: Store) -> list[Topic]:
    """Read the topics of the last build, with what people decided since; most tickets first, [] before any build."""
    plain = read_json(locate_journey(settings) / "topics.json")
    return apply_decisions(_build_topics(plain["topics"] if plain else []), read_decisions(store))


def read_ticket_topics(settings: Settings, store: Store) -> pd.DataFrame:
    """Read which ticket is of which topic; merged topics count as the one that they became a part of.

    Returns:
        ticket_id, topic_id (`new` for none), similarity (0 to 1, 1 where the company's tags are the topics); no rows
        before any build.
    """
    file = locate_journey(settings) / "ticket_topics.parquet"
    if not file.exists():
        return pd.DataFrame({"ticket_id": pd.Series(dtype=object), "topic_id": "", "similarity": 0.0})
    frame = pd.read_parquet(file)
    survivors = find_survivors(read_decisions(store))
    return frame.assign(topic_id=frame["topic_id"].map(lambda topic: survivors.get(topic, topic)))


def _build_topics(rows: Sequence[Mapping[str, Any]]) -> list[Topic]:
    return [
        Topic(r["topic_id"], r["names"], r["tab"], r["team"], r["is_pinned"], r["tickets"], r.get("facts", {}))
        for r in rows
    ]

"""Say what tickets are about: by the topics of the last map, or else by the company's own tags."""

from __future__ import annotations

import pandas as pd

from features.settings import Settings
from features.state.database import Store
from monitoring.journey.topic import NEW
from monitoring.journey.topics import read_ticket_topics, read_topics


def find_topics(settings: Settings, store: Store, tickets: pd.DataFrame) -> pd.Series:
    """Return the id of each ticket's topic, on the index of `tickets`; its tag where no map was made; "" for none."""
    mapped = read_ticket_topics(settings, store)
    if mapped.empty:
        return tickets["topic"].astype("object").fillna("")
    topics = mapped.set_index("ticket_id")["topic_id"]
    found = tickets["ticket_id"].map(topics.to_dict()).astype("object")
    return found.where(found != NEW).fillna("")


def read_names(settings: Settings, store: Store) -> dict[str, dict[str, str]]:
    """Read the names of topics by language, by their ids; {} where no map was made."""
    return {topic.topic_id: dict(topic.names) for topic in read_topics(settings, store)}


def name_topics(settings: Settings, store: Store, tickets: pd.DataFrame) -> pd.Series:
    """Return the English name of each ticket's topic, "" for none."""
    names = {topic: next(iter(said.values()), topic) for topic, said in read_names(settings, store).items()}
    return find_topics(settings, store, tickets).map(lambda topic: names.get(topic, topic))

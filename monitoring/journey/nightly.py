"""Keep the map up each night: new tickets join its topics, old topics are found anew, and teams hear of rises."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from features.core.progress import Progress, ignore
from features.core.timestamps import to_micros
from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from monitoring.journey.journey_map import build_map, read_map, read_partners
from monitoring.journey.rising_topics import find_rises
from monitoring.journey.tickets import read_tickets
from monitoring.journey.topic import NEW
from monitoring.journey.topic_warnings import Warned, warn_teams
from monitoring.journey.topics import read_ticket_topics, read_topics

NO_MAP = "no map of topics yet: python -m monitoring journey build makes the first"


@dataclass(frozen=True)
class JourneyNight:
    """What a night did.

    Args:
        topics: With tickets in the last quarter.
        is_rebuilt: Whether topics were found anew.
        warned: What teams were told.
    """

    topics: int
    is_rebuilt: bool
    warned: Warned

    def describe(self) -> str:
        """Say it in one line."""
        how = "found anew" if self.is_rebuilt else "joined by new tickets"
        return f"{self.topics:,} topics {how}; {self.warned.describe()}"


def run(
    settings: Settings, history: History, store: Store, as_of: datetime, progress: Progress = ignore
) -> JourneyNight | None:
    """Do it; None where no map was ever built, or there are no tickets.

    Raises:
        GarrisonError: Vectors can't be had, or the state database can't be used.
    """
    before = read_map(settings)
    if before is None or "tickets" not in history.tables:
        return None
    found_at = datetime.fromisoformat(before.get("found_at") or before["as_of"])
    is_old = not timedelta(0) <= as_of - found_at < timedelta(days=settings.journey.rebuild_days)
    found = build_map(settings, history, store, as_of=as_of, is_new_only=not is_old, progress=progress)
    warned = warn_of_rises(settings, history, store, as_of)
    return JourneyNight(len(found["topics"]), is_old, warned)


def warn_of_rises(settings: Settings, history: History, store: Store, as_of: datetime) -> Warned:
    """Look for topics that rise, and tell their teams."""
    tickets = read_tickets(history, settings, as_of)
    assigned = read_ticket_topics(settings, store).set_index("ticket_id")["topic_id"]
    topics = tickets["ticket_id"].map(assigned).to_numpy(dtype=object)
    topics[pd.isna(topics) | (topics == NEW)] = None
    tickets["topic_id"] = topics
    rises = find_rises(tickets, read_partners(history), settings.journey.warnings, until=to_micros(as_of))
    return warn_teams(settings, store, read_topics(settings, store), rises, as_of)

"""Read the topics that are said to cost accounts, for reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from features.core.safe_line import to_safe_line
from features.settings import Settings
from features.state.database import Store
from monitoring.journey.json_files import read_json
from monitoring.journey.topics import locate_journey, read_topics

_LONGEST = 60


@dataclass(frozen=True)
class CostlyTopic:
    """A topic's id, its names by language, and what it is said to cost in a quarter, with the 95 % interval."""

    topic_id: str
    names: Mapping[str, str]
    amount: float
    low: float
    high: float


@dataclass(frozen=True)
class CostlyTopics:
    """The topics of the last map that stand out for accounts that leave, the costliest first.

    Args:
        since: Begin of the quarter that their money is of.
        until: Its end.
        topics: Each with its money, which is an association.
    """

    since: str
    until: str
    topics: tuple[CostlyTopic, ...]

    def lines(self, currency: str) -> Iterator[str]:
        """Yield the lines for the terminal."""
        if not self.topics:
            yield "Topics of tickets: none stands out for accounts that leave"
            return
        yield f"Topics of tickets that go with accounts that leave, {self.since} to {self.until} (association):"
        for topic in self.topics:
            name = to_safe_line(topic.names.get("en") or next(iter(topic.names.values()), topic.topic_id), _LONGEST)
            yield f"  {name}: {currency} {topic.amount:,.0f} ({topic.low:,.0f} to {topic.high:,.0f})"


def read_costly_topics(settings: Settings, store: Store, *, most: int = 5) -> CostlyTopics | None:
    """Read at most so many topics that are said to cost accounts; None before any map, or where none has effects."""
    found: Mapping[str, Any] | None = read_json(locate_journey(settings) / "map.json")
    if found is None or found["effects"] is None:
        return None
    names = {topic.topic_id: dict(topic.names) for topic in read_topics(settings, store)}
    costs = [cost for cost in found["topics"] if cost.get("is_costly") and cost["topic_id"] in names]
    listed = [CostlyTopic(c["topic_id"], names[c["topic_id"]], **c["lost"]) for c in costs[:most]]
    return CostlyTopics(found["since"][:10], found["as_of"][:10], tuple(listed))

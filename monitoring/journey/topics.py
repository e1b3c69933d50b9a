"""Read the topics of the last build, as people's decisions left them, and which ticket is of which topic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from features.settings import Settings
from monitoring.journey.json_files import read_json

if TYPE_CHECKING:  # the parser of commands names the tabs, and needs neither
    import pandas as pd

    from features.state.database import Store

Tab = Literal["doubts", "friction", "complaints", "wishes"]
TABS: tuple[Tab, ...] = ("doubts", "friction", "complaints", "wishes")
# The topic of tickets that are like no topic yet.
NEW = "new"


@dataclass(frozen=True)
class Topic:
    """What tickets are about.

    Args:
        topic_id: The same over rebuilds.
        names: By language, `en` and `zh_Hans` as far as there are tickets in it; a name that a person gave is there
            for both.
        tab: doubts before buying, friction in use, complaints or wishes.
        team: Address of the team that owns it; None without one.
        is_pinned: Whether a person has pinned it: rebuilds keep it.
        tickets: Their number.
    """

    topic_id: str
    names: Mapping[str, str]
    tab: Tab
    team: str | None = None
    is_pinned: bool = False
    tickets: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def get_name(self, language: str = "en") -> str:
        """Return its name in a language, or else in any."""
        return self.names.get(language) or next(iter(self.names.values()), self.topic_id)


def locate_journey(settings: Settings) -> Path:
    """Return the folder of topics and map."""
    return settings.var / "journey"


def read_topics(settings: Settings, store: Store) -> list[Topic]:
    """Read the topics of the last build, with what people decided since; most tickets first, [] before any build."""
    from monitoring.journey.topic_decisions import apply_decisions, read_decisions

    plain = read_json(locate_journey(settings) / "topics.json")
    return apply_decisions(_build_topics(plain["topics"] if plain else []), read_decisions(store))


def read_ticket_topics(settings: Settings, store: Store) -> pd.DataFrame:
    """Read which ticket is of which topic; merged topics count as the one that they became a part of.

    Returns:
        ticket_id, topic_id (`new` for none), similarity (0 to 1, 1 where the company's tags are the topics); no rows
        before any build.
    """
    import pandas as pd

    from monitoring.journey.topic_decisions import find_survivors, read_decisions

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

"""Say what a topic is: the parser of commands names its tabs, so this module imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

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

"""Read what the topic of a problem costs, as the map of the journey has it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from features.settings import Settings
from features.state.database import Store


@dataclass(frozen=True)
class ProblemMoney:
    """What accounts with a problem cost that leave for it, a quarter, in the company's currency.

    Args:
        amount: Best estimate.
        low: Lower end of its interval.
        high: Upper end.
        currency: Of all three.
    """

    amount: float
    low: float | None
    high: float | None
    currency: str

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.currency} {self.amount:,.0f}"
        return f"{self.currency} {self.amount:,.0f} ({self.low:,.0f} to {self.high:,.0f})"

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def read_money(settings: Settings, store: Store) -> dict[str, ProblemMoney]:
    """Read the money of problems by the id of their topic; {} before the map was made."""
    from monitoring.journey.topics import read_topics

    found = {}
    for topic in read_topics(settings, store):
        money = topic.facts.get("money") if topic.facts else None
        if isinstance(money, dict) and money.get("amount") is not None:
            ends = (money.get("low"), money.get("high"))
            found[topic.topic_id] = ProblemMoney(money["amount"], *ends, settings.company.currency)
    return found

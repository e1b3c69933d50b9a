"""Read what the topic of a problem costs, as the map of the journey has it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from features.settings import Settings


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


def read_money(settings: Settings) -> dict[str, ProblemMoney]:
    """Read the money of problems by the id of their topic; {} before the map was made."""
    from monitoring.journey.journey_map import read_map

    plain = read_map(settings)
    lost = {row["topic_id"]: row["lost"] for row in plain["topics"] if row.get("lost")} if plain else {}
    currency = plain["currency"] if plain else settings.company.currency
    return {topic: ProblemMoney(m["amount"], m["low"], m["high"], currency) for topic, m in lost.items()}

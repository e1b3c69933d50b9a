"""Find the cheapest path to satisfaction: by topic, what each first action costs for a ticket that stays settled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from features.core.contract import FIRST_ACTIONS
from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from monitoring.cost_to_serve.path_tickets import FAST, SLOW, read_path_tickets
from monitoring.cost_to_serve.path_weights import (
    Floats,
    WeightedMean,
    compute_mean,
    compute_ratio,
    compute_sample_size,
    estimate_chances,
    weigh,
)
from monitoring.cost_to_serve.ticket_topics import read_names

# An action that was taken on fewer tickets, by their effective number, is not compared.
_LEAST = 25.0
# How the codes of first actions, and of how fast a first response was, are read; English, to be translated.
ACTION_WORDS = {
    "self_service": "self-service",
    "answer": "written answer",
    "call": "call",
    "escalation": "escalation",
    "visit": "visit",
    "fast": "fast first response",
    "slow": "slow first response",
}
NO_ACTIONS = "No ticket says what was done first: map first_action, and paths are compared."


@dataclass(frozen=True)
class PathOutcome:
    """What comes of an action that is taken first.

    Args:
        action: One of the contract's, or fast and slow.
        tickets: On which it was taken.
        sample_size: Their effective number.
        cost: Money a ticket; None where no rate is known.
        settled: Share of tickets that stay settled.
        per_settled: Money for each ticket that stays settled: what paths are ordered by.
        csat: Mean satisfaction.
        left: Share of tickets whose account left within the horizon.
    """

    action: str
    tickets: int
    sample_size: float
    cost: WeightedMean | None
    settled: WeightedMean | None
    per_settled: WeightedMean | None
    csat: WeightedMean | None
    left: WeightedMean | None


@dataclass(frozen=True)
class TopicPaths:
    """The paths of a topic.

    Args:
        topic_id: Of the topic, or the company's tag.
        names: Of it, by language.
        tickets: Their number.
        usual: The action that was taken most.
        outcomes: Of each action that can be compared, the cheapest first.
        speeds: Of a fast first response and of a slow one.
        recommended: The action that is surely cheaper than the usual one; None where intervals meet.
        saves: Money a settled ticket that it saves against the usual one.
        why: What stands against a recommendation; "" where there is one.
    """

    topic_id: str
    names: Mapping[str, str]
    tickets: int
    usual: str
    outcomes: tuple[PathOutcome, ...]
    speeds: tuple[PathOutcome, ...]
    recommended: str | None
    saves: float | None
    why: str

    def get_name(self, language: str = "en") -> str:
        """Return the topic's name in a language, or else in any."""
        return self.names.get(language) or next(iter(self.names.values()), self.topic_id)


@dataclass(frozen=True)
class PathSheet:
    """The paths of all topics, those with the most tickets first; since when tickets count; and notes."""

    as_of: datetime
    currency: str
    topics: tuple[TopicPaths, ...]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        topics = [asdict(topic) for topic in self.topics]
        return {"as_of": self.as_of.isoformat(), "currency": self.currency, "topics": topics, "notes": list(self.notes)}

    def lines(self) -> Iterator[str]:
        """Yield the lines for the terminal."""
        for topic in self.topics:
            advice = topic.why
            if topic.recommended:
                advice = f"first {ACTION_WORDS[topic.recommended]}, in place of {ACTION_WORDS[topic.usual]}"
            saved = f"; saves {self.currency} {topic.saves:,.0f} a settled ticket" if topic.saves else ""
            yield f"{topic.get_name()} ({topic.tickets:,} tickets): {advice}{saved}"
        yield from self.notes


def compare_paths(settings: Settings, store: Store, history: History, as_of: datetime) -> PathSheet:
    """Compare what was done first by topic, on tickets made alike by the inverse of its chance.

    Raises:
        GarrisonError: The company has no tickets.
    """
    frame, currency = read_path_tickets(settings, store, history, as_of), settings.company.currency
    if frame.empty:
        return PathSheet(as_of, currency, (), (NO_ACTIONS,))
    names, fewest = read_names(settings, store), settings.cost_to_serve.fewest
    chances = estimate_chances(frame, frame["action"], FIRST_ACTIONS)
    timed = frame["speed"].notna().to_numpy()
    by_speed = np.zeros((len(frame), 2))
    if frame["speed"].nunique() == 2:
        by_speed[timed] = estimate_chances(frame[timed], frame["speed"][timed], (FAST, SLOW))
    topics = []
    for topic, places in frame.groupby("topic_id").indices.items():
        if topic:
            rows = frame.iloc[places]
            outcomes = _compare(rows, rows["action"], chances[places], FIRST_ACTIONS)
            speeds = _compare(rows, rows["speed"], by_speed[places], (FAST, SLOW))
            topics.append(_recommend(str(topic), names.get(str(topic), {}), rows, outcomes, speeds, fewest))
    return PathSheet(as_of, currency, tuple(sorted(topics, key=lambda t: (-t.tickets, t.topic_id))))


def _compare(rows: pd.DataFrame, arms: pd.Series, chances: Floats, names: Sequence[str]) -> tuple[PathOutcome, ...]:
    """Measure what comes of each arm; those with too few tickets are left out; the cheapest first."""
    outcomes = []
    for n, name in enumerate(names):
        taken = (arms == name).to_numpy()
        weights = weigh(chances[taken, n])
        size = compute_sample_size(weights)
        if size < _LEAST:
            continue
        mine, accounts = rows[taken], rows["account_id"].to_numpy()[taken]
        values = {c: mine[c].to_numpy("float64") for c in ("cost", "settled", "csat", "left")}
        means = {c: compute_mean(weights, v, accounts) for c, v in values.items()}
        per = compute_ratio(weights, values["cost"], values["settled"], accounts)
        outcomes.append(PathOutcome(name, int(taken.sum()), size, per_settled=per, **means))
    return tuple(sorted(outcomes, key=lambda o: (o.per_settled.mean if o.per_settled else np.inf, o.action)))


def _recommend(  # noqa: PLR0913, PLR0917  # all that a recommendation follows from
    topic: str,
    names: Mapping[str, str],
    rows: pd.DataFrame,
    outcomes: tuple[PathOutcome, ...],
    speeds: tuple[PathOutcome, ...],
    fewest: int,
) -> TopicPaths:
    """Recommend the cheapest action where its interval and that of the usual one part."""
    usual = str(rows["action"].mode().iloc[0])
    priced = {o.action: o.per_settled for o in outcomes if o.per_settled is not None}
    recommended, saves, why = None, None, ""
    if len(rows) < fewest:
        why = f"fewer than {fewest} tickets"
    elif len(priced) < 2 or usual not in priced:
        why = "nothing to compare"
    else:
        best, own = next(iter(priced)), priced[usual]
        if best == usual:
            why = "the usual path is the cheapest"
        elif priced[best].high < own.low:
            recommended, saves = best, own.mean - priced[best].mean
        else:
            why = "no path is surely cheaper"
    return TopicPaths(topic, names or {"en": topic}, len(rows), usual, outcomes, speeds, recommended, saves, why)

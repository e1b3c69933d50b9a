"""Put numbers and kinds of episodes into words as letters say them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from features.core.language import Phrase
from features.core.local_formats import Money


@dataclass(frozen=True)
class KindWords:
    """What a kind of episode is called.

    Args:
        name: At the start of a subject.
        inline: Inside a sentence.
        opening: The first sentence of a letter, with {account} and {days}.
        is_of_risk: Whether its score is the probability of leaving.
        chance: In the subject, with {chance} and {days}; None where the score is not what it is about.
    """

    name: str
    inline: str
    opening: str
    is_of_risk: bool = True
    chance: str | None = None


KINDS: Mapping[str, KindWords] = {
    "churn": KindWords(
        "At risk",
        "at risk",
        "{account} is at risk of leaving within {days} days.",
        chance="{subject} ({chance} to leave within {days} days)",
    ),
    "silent_decline": KindWords(
        "Gone quiet", "gone quiet", "{account} uses less and less of what it pays for, and has not complained."
    ),
    "service_failure": KindWords("Service failed", "service failed", "{account} has had trouble with our service."),
    "renewal_near": KindWords(
        "Renewal near", "renewal near", "{account} has a contract that ends soon, and nothing follows it yet."
    ),
    "upsell": KindWords(
        "A chance to sell",
        "a chance to sell",
        "{account} is satisfied, and likely to buy more within {days} days.",
        is_of_risk=False,
        chance="{subject} ({chance} to buy within {days} days)",
    ),
    "promise_due": KindWords("Promise due", "promise due", "{account} was promised something that is due."),
    "visit_due": KindWords(
        "Visit due", "visit due", "{account} has not been contacted for longer than its tier is meant to wait."
    ),
}
NOT_KNOWN = Phrase("not known")
NO_REASON = Phrase("no single reason stands out")


def describe_probability(score: float) -> Phrase:
    """Describe a probability as people count: 'about 6 in 10'."""
    if score >= 0.95:
        return Phrase("almost certain")
    if score >= 0.15:
        return Phrase("about {n} in 10", {"n": max(2, round(10 * score))})
    return Phrase("about 1 in {n:,}", {"n": round(1 / score)}) if score > 0.001 else Phrase("below 1 in 1,000")


def describe_yearly(value: float | None, currency: str) -> Phrase:
    """Describe an amount a year; 'not known' for None."""
    return NOT_KNOWN if value is None else Phrase("{money} a year", {"money": Money(value, currency)})


def count(number: int, one: str, many: str) -> str:
    """Return a number with its noun, for the terminal."""
    return f"{number:,} {one if number == 1 else many}"


def count_in_words(number: int, one: str, many: str, **values: Any) -> Phrase:
    """Return the phrase for one thing or for several.

    Args:
        number: How many.
        one: A sentence for 1, which may hold {n}.
        many: A sentence for other numbers, with {n:,}.
        values: Others that the sentences hold.
    """
    return Phrase(one if number == 1 else many, {"n": number, **values})

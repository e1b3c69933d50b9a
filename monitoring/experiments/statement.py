"""Say what an experiment has shown: the sentence that may be quoted, and the one that may not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monitoring.experiments.effect import EffectEstimate


@dataclass(frozen=True)
class SavedRevenue:
    """Effect x value of the treated, in one currency.

    Args:
        currency: Of all amounts.
        treated_value: What the treated accounts bring in the days that values are of.
        saved: Of it, kept by the treatment; `low` and `high` its interval. None before the interval says anything.
    """

    currency: str
    treated_value: float
    saved: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Statement:
    """What may be said at this look, and what may not."""

    say: str
    do_not_say: str


@dataclass(frozen=True)
class Wording:
    """The words for one comparison.

    Args:
        question: Such as "Whether alerts save accounts".
        saves: Such as "Alerts save accounts".
        harms: Such as "Alerts lose accounts".
        arms: Names of both arms, such as "alerted on" and "not drawn".
    """

    question: str
    saves: str
    harms: str
    arms: tuple[str, str]


def compute_saved_revenue(estimate: EffectEstimate, treated_value: Mapping[str, float]) -> tuple[SavedRevenue, ...]:
    """Compute the revenue that the treatment kept, by currency.

    Args:
        estimate: At this look.
        treated_value: Value of the treated whose outcome is known, by currency.
    """
    shares = (estimate.effect if estimate.low is not None else None, estimate.low, estimate.high)
    return tuple(
        SavedRevenue(currency, value, *(None if share is None else share * value for share in shares))
        for currency, value in sorted(treated_value.items())
    )


def state_result(
    estimate: EffectEstimate,
    words: Wording,
    *,
    saved: Sequence[SavedRevenue],
    span: str,
    when: str,
) -> Statement:
    """State the result of one comparison.

    Args:
        estimate: At this look.
        words: Of the comparison.
        saved: By currency.
        span: Of the values, such as "a year".
        when: When more can be told, in a sentence; "" where nothing more will come.
    """
    if estimate.effect is None or estimate.low is None or estimate.high is None:
        known = " and ".join(
            f"{number:,} {arm}" for number, arm in zip((estimate.treated, estimate.control), words.arms, strict=True)
        )
        say = f"{words.question} can't be told yet: the outcome is known of {known}."
        return Statement(_join(say, when), f"{words.saves}. Nor the contrary: so few tell neither.")
    low, guess, high = (100 * x for x in (estimate.low, estimate.effect, estimate.high))
    points = f"{guess:+.1f} points of retention, from {low:+.1f} to {high:+.1f}"
    if estimate.verdict == "open":
        say = f"{words.question} can't be told yet: {points}, which holds at every look."
        side = words.saves if guess >= 0 else words.harms
        return Statement(_join(say, when), f"{side}, by {abs(guess):.1f} points: the interval holds zero too.")
    did = words.saves if estimate.verdict == "saves" else words.harms
    money = "; ".join(f"{s.currency} {s.low:,.0f} to {s.high:,.0f} {span}" for s in saved if s.low is not None)
    say = f"{did}: {points}, at 95 % confidence at every look{f'; that is {money}' if money else ''}."
    bare = next((f"{s.currency} {abs(s.saved):,.0f}" for s in saved if s.saved is not None), f"{abs(guess):.1f} points")
    return Statement(say, f"{did}: {bare}. That is a number without its interval.")


def _join(sentence: str, when: str) -> str:
    return f"{sentence} {when}".rstrip()

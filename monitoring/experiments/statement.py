"""Say what an experiment has shown: the sentence that may be quoted, and the one that may not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from features.core.language import Listing, Phrase, Sayable
from monitoring.experiments.effect import EffectEstimate

Text = str | Sayable


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

    say: Text
    do_not_say: Text


@dataclass(frozen=True)
class Wording:
    """The words for one comparison.

    Args:
        question: Such as "Whether alerts save accounts".
        saves: Such as "Alerts save accounts".
        harms: Such as "Alerts lose accounts".
        arms: Names of both arms, such as "alerted on" and "not drawn".
    """

    question: Text
    saves: Text
    harms: Text
    arms: tuple[Text, Text]


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
    span: Text,
    when: Text,
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
        known = {"question": words.question, "treated": estimate.treated, "control": estimate.control}
        say = Phrase(
            "{question} can't be told yet: the outcome is known of {treated:,} {one} and {control:,} {other}.",
            {**known, "one": words.arms[0], "other": words.arms[1]},
        )
        not_so = Phrase("{claim}. Nor the contrary: so few tell neither.", {"claim": words.saves})
        return Statement(_join(say, when), not_so)
    low, guess, high = (100 * x for x in (estimate.low, estimate.effect, estimate.high))
    points = Phrase(
        "{guess:+.1f} points of retention, from {low:+.1f} to {high:+.1f}", {"guess": guess, "low": low, "high": high}
    )
    if estimate.verdict == "open":
        say = Phrase(
            "{question} can't be told yet: {points}, which holds at every look.",
            {"question": words.question, "points": points},
        )
        side = words.saves if guess >= 0 else words.harms
        not_so = Phrase("{claim}, by {n:.1f} points: the interval holds zero too.", {"claim": side, "n": abs(guess)})
        return Statement(_join(say, when), not_so)
    did = words.saves if estimate.verdict == "saves" else words.harms
    told = [one for one in saved if one.saved is not None]
    say = Phrase("{claim}: {points}, at 95 % confidence at every look.", {"claim": did, "points": points})
    bare: Text = Phrase("{n:.1f} points", {"n": abs(guess)})
    if told:
        amounts = [Phrase("{currency} {low:,.0f} to {high:,.0f} {span}", {**vars(one), "span": span}) for one in told]
        say = Phrase(
            "{claim}: {points}, at 95 % confidence at every look; that is {money}.",
            {"claim": did, "points": points, "money": Listing(amounts, "; ")},
        )
        bare = f"{told[0].currency} {abs(told[0].saved or 0.0):,.0f}"
    return Statement(
        say, Phrase("{claim}: {number}. That is a number without its interval.", {"claim": did, "number": bare})
    )


def _join(sentence: Text, when: Text) -> Text:
    return Phrase("{sentence} {when}", {"sentence": sentence, "when": when}) if when else sentence

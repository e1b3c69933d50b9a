"""Find the scores from which something is likely, and below which it is over: a multiple of the average account's odds.

Odds, not probabilities, so that a level stays below 1 whatever the base rate.
"""

from __future__ import annotations

from dataclasses import dataclass

from features.settings import Settings, Upsell


@dataclass(frozen=True)
class Levels:
    """The scores at which an account enters (`enter` or above) and leaves (below `leave`); `leave <= enter`."""

    enter: float
    leave: float


def find_levels(base_rate: float, *, enter: float, leave: float) -> Levels:
    """Find the levels of a target and horizon.

    Args:
        base_rate: Share of positives in training, 0 to 1.
        enter: Times the odds of the average account, at least 1.
        leave: Likewise, from 1 to `enter`.

    Example:
        >>> find_levels(0.2, enter=2.0, leave=1.0)
        Levels(enter=0.3333333333333333, leave=0.2)
    """
    return Levels(multiply_odds(base_rate, enter), multiply_odds(base_rate, leave))


def find_churn_levels(settings: Settings, base_rate: float) -> Levels:
    """Find the scores from which an account is at risk, and below which the risk is over."""
    return find_levels(base_rate, enter=settings.episodes.at_risk, leave=settings.episodes.recovered)


def find_upsell_levels(upsell: Upsell, base_rate: float) -> Levels:
    """Find the scores from which a sale is likely, and below which the chance is gone."""
    return find_levels(base_rate, enter=upsell.likely, leave=upsell.gone)


def multiply_odds(probability: float, times: float) -> float:
    """Return the probability whose odds are so many times those of another."""
    return times * probability / (1 - probability + times * probability)

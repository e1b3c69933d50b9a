"""Split a window into twelve, and compute the slope, variation and peak of a measure over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ibis

from features.core.language import Phrase
from features.definitions.feature import FeatureContext, Measure, ratio

PARTS = 12
# By days of a twelfth.
_PERIODS = {7: ("week", "for 12 weeks"), 30: ("month", "for 12 months")}


def split_window(at: FeatureContext, measure: Measure, w: int) -> list[Any]:
    """Return the measure in each twelfth of the last `w` days, the latest first, at least 0; 12 divides `w`."""
    days = w // PARTS
    return [clip_at_zero(at(measure, days, before=days * i)) for i in range(PARTS)]


def clip_at_zero(amount: Any) -> Any:
    """Return an amount, never null, as at least 0: refunds above the purchases count as no purchase."""
    return ibis.greatest(amount, 0.0)


def slope(series: Sequence[Any]) -> Any:
    """Return the least-squares slope of amounts, the latest first, as a share of their mean; null where all are 0.

    For places x = 0 … n-1 it is Σ (x - x̄) y / Σ (x - x̄)², the latter n (n² - 1) / 12. From -6/(n+1) to 6/(n+1).
    """
    n = len(series)
    rise = sum(((n - 1) / 2 - i) * y for i, y in enumerate(series))
    return ratio(rise * (12 / (n * n - 1)), sum(series))


def coefficient_of_variation(series: Sequence[Any]) -> Any:
    """Return the standard deviation of amounts over their mean: 0 if even, √(n-1) if all at once; null if all are 0."""
    n, total = len(series), sum(series)
    return ratio(clip_at_zero(n * sum(y * y for y in series) - total * total).sqrt(), total)


def count_empty(series: Sequence[Any]) -> Any:
    """Count the amounts that are 0."""
    return sum((y == 0).ifelse(1.0, 0.0) for y in series)


def against_peak(series: Sequence[Any]) -> Any:
    """Return the latest amount as a share of the largest; null where all are 0."""
    return ratio(series[0], ibis.greatest(*series))


def keep_where(condition: Any, value: Any) -> Any:
    """Return the value where the condition is true, else null."""
    return condition.ifelse(value, ibis.null("float64"))


def slope_in_words(subject: str) -> Callable[[float, int], Phrase]:
    """Return the wording of a `slope` over twelfths: 'usage fell by 4 % of its average each month, for 12 months'."""

    def words(value: float, w: int) -> Phrase:
        period, duration = _PERIODS.get(w // PARTS, ("{days} days", "for {w} days"))
        if abs(value) < 0.005:
            template = "{subject} stayed level {duration}"
        elif value < 0:
            template = "{subject} fell by {share:.0%} of its average each {period}, {duration}"
        else:
            template = "{subject} grew by {share:.0%} of its average each {period}, {duration}"
        values = {
            "subject": Phrase(subject),
            "share": abs(value),
            "period": Phrase(period, {"days": w // PARTS}),
            "duration": Phrase(duration, {"w": w}),
        }
        return Phrase(template, values)

    return words

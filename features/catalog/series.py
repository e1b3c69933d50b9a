"""A measure in twelve windows one after the other, and what a formula can make of them: slope, variation, peak."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ibis

from features.definitions.feature import FeatureContext, Measure, change_in_words, ratio

PARTS = 12


def parts(at: FeatureContext, measure: Measure, w: int) -> list[Any]:
    """The measure in each twelfth of the last `w` days, the latest first, none below 0; `w` is a multiple of 12."""
    days = w // PARTS
    return [level(at(measure, days, before=days * i)) for i in range(PARTS)]


def level(amount: Any) -> Any:
    """An amount that is never null, not below 0: refunds beyond what was bought count as nothing bought."""
    return ibis.greatest(amount, 0.0)


def slope(series: Sequence[Any]) -> Any:
    """Least-squares slope of amounts, the latest first, as a share of their mean for each step; null where all are 0.

    For places x = 0 … n-1 it is Σ (x - x̄) y / Σ (x - x̄)², the latter n (n² - 1) / 12. From -6/(n+1) to 6/(n+1).
    """
    n = len(series)
    rise = sum(((n - 1) / 2 - i) * y for i, y in enumerate(series))
    return ratio(rise * (12 / (n * n - 1)), sum(series))


def variation(series: Sequence[Any]) -> Any:
    """Standard deviation of amounts over their mean: 0 is even, √(n-1) is all at once; null where all are 0."""
    n, total = len(series), sum(series)
    return ratio(level(n * sum(y * y for y in series) - total * total).sqrt(), total)


def empty(series: Sequence[Any]) -> Any:
    """How many of the amounts are 0."""
    return sum((y == 0).ifelse(1.0, 0.0) for y in series)


def against_peak(series: Sequence[Any]) -> Any:
    """The latest amount as a share of the largest; null where all are 0."""
    return ratio(series[0], ibis.greatest(*series))


def where(condition: Any, value: Any) -> Any:
    """The value where the condition is true, else null."""
    return condition.ifelse(value, ibis.null("float64"))


def change_since(what: str, then: str) -> Callable[[float, int], str]:
    """Words for a `change` against another time than the window before: 'spend fell 62 % against a year ago'."""

    def words(value: float, w: int) -> str:
        return change_in_words(what)(value, w).replace(f"the {w} days before", then.format(w=w))

    return words

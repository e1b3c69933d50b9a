"""Put numbers into words as letters say them."""

from __future__ import annotations

from datetime import datetime

from features.core.safe_line import to_safe_line


def describe_probability(score: float) -> str:
    """Describe a probability as people count: 'about 6 in 10'."""
    if score >= 0.95:
        return "almost certain"
    if score >= 0.15:
        return f"about {max(2, round(10 * score))} in 10"
    return f"about 1 in {round(1 / score):,}" if score > 0.001 else "below 1 in 1,000"


def format_percent(score: float) -> str:
    """Format a probability, with a digit after the point where it would round to 0 or 100."""
    return f"{100 * score:.0f} %" if 0.01 <= score < 0.995 else f"{100 * score:.1f} %"


def format_money(value: float | None, currency: str, *, per: str = "") -> str:
    """Format an amount; 'not known' for None."""
    return "not known" if value is None else f"{to_safe_line(currency)} {value:,.0f}{per}"


def count(number: int, one: str, many: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {one if number == 1 else many}"


def format_day(instant: datetime) -> str:
    """Format a day in words, such as 16 November 2025."""
    return f"{instant:%-d %B %Y}"

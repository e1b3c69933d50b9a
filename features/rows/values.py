"""Functions of values of one row, as DuckDB computes them; those that may differ raise `NotComputable`."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from features.core.timestamps import DAY
from features.rows.kinds import MONEY, NotComputable

_ALIKE = "\u0530"  # below lie Latin, Greek and Cyrillic, whose small letters are the same everywhere
_EPOCH = date(1970, 1, 1).toordinal()
EXACT = 2**53  # below it a float holds every whole number


def to_whole(amount: Decimal | int | None) -> int | None:
    """Return a decimal as whole ten-thousandths.

    Raises:
        NotComputable: It has more than four places, or a float could not hold it.
    """
    if amount is None:
        return None
    tenths = amount * MONEY
    whole = int(tenths)
    if whole != tenths or not -EXACT < whole < EXACT:
        raise NotComputable
    return whole


def lower_text(text: str) -> str:
    """Return the text in small letters.

    Raises:
        NotComputable: Databases disagree on them.
    """
    if text.isascii():
        return text.lower()
    if max(text) >= _ALIKE or "\u0130" in text:  # the one letter whose small form is two characters
        raise NotComputable
    return "".join(map(str.lower, text))


def has_word(text: str, words: Sequence[str]) -> bool:
    """Return whether one of the words is in the text."""
    return any(word in text for word in words)


def to_seconds(instant: int) -> int:
    """Return whole seconds of an instant, µs."""
    if instant % 1_000_000:
        raise NotComputable
    return instant // 1_000_000


def add_days(instant: int, days: int) -> int:
    """Return the instant some days later, µs."""
    return instant + days * DAY


def add_months(instant: int, months: int) -> int:
    """Return the same day and time some calendar months later, or that month's last day, µs."""
    day, clock = divmod(instant, DAY)
    try:
        found = date.fromordinal(_EPOCH + day)
        year, month = divmod(found.year * 12 + found.month - 1 + months, 12)
        later = date(year, month + 1, min(found.day, monthrange(year, month + 1)[1]))
    except (ValueError, OverflowError):
        raise NotComputable from None
    return (later.toordinal() - _EPOCH) * DAY + clock


def divide(x: float, y: float) -> float:
    """Return the quotient of two numbers as floats."""
    if y == 0:
        raise NotComputable
    return float(x) / float(y)


def find_remainder(x: int, y: int) -> int:
    """Return the remainder of a division of whole numbers, with the sign of the first."""
    if y == 0:
        raise NotComputable
    return abs(x) % abs(y) if x >= 0 else -(abs(x) % abs(y))


def is_among(x: Any, *values: Any) -> bool | None:
    """Return SQL's IN: null where no value matches and one of them, or x, is null."""
    if x is None:
        return None
    return True if x in values else None if None in values else False

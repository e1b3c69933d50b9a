"""Find the months, quarters and years of a company's own fiscal year."""

from __future__ import annotations

import re
from datetime import UTC, datetime


def find_period(text: str, *, starts: int) -> tuple[datetime, datetime]:
    """Return the begin and the end of a period, half open, in UTC.

    Args:
        text: A month of the calendar (2026-04), or a quarter (2026-Q1) or year (2026) of the fiscal year. The fiscal
            year bears the name of the calendar year that it ends in.
        starts: The fiscal year's first month, 1 to 12.

    Raises:
        ValueError: It is none of these.

    Examples:
        >>> begin, end = find_period("2026-Q1", starts=4)
        >>> f"{begin:%Y-%m-%d}", f"{end:%Y-%m-%d}"
        ('2025-04-01', '2025-07-01')
    """
    match = re.fullmatch(r"(\d{4})(?:-(?:(0[1-9]|1[0-2])|Q([1-4])))?", text)
    if not match or match[1] == "0000":
        message = f"{text} is no period: write a month as 2026-04, a quarter as 2026-Q1, a year as 2026"
        raise ValueError(message)
    year, month, quarter = int(match[1]), match[2], match[3]
    if month:
        return _begin(year, int(month)), _begin(year, int(month) + 1)
    first = starts - 12 * (starts > 1)
    if quarter:
        first += 3 * (int(quarter) - 1)
    return _begin(year, first), _begin(year, first + (3 if quarter else 12))


def find_fiscal_quarter(day: datetime, *, starts: int) -> str:
    """Return the quarter of the fiscal year that a day is in, as `find_period` takes it.

    Args:
        day: Of it.
        starts: The fiscal year's first month, 1 to 12.

    Example:
        >>> find_fiscal_quarter(datetime(2025, 4, 30), starts=4), find_fiscal_quarter(datetime(2025, 4, 30), starts=1)
        ('2026-Q1', '2025-Q2')
    """
    months = day.year * 12 + day.month - starts + 12 * (starts > 1)
    year, month = divmod(months, 12)
    return f"{year}-Q{month // 3 + 1}"


def _begin(year: int, month: int) -> datetime:
    """Return the begin of a month; those before 1 and after 12 are of the years beside."""
    years, month = divmod(month - 1, 12)
    return datetime(year + years, month + 1, 1, tzinfo=UTC)

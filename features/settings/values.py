"""Define the kinds of values in settings: spans, time zones, instants, shares."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def _span(text: object) -> timedelta:
    if isinstance(text, timedelta):
        return text
    match = re.fullmatch(r"(\d+)([mhd])", str(text))
    if not match:
        message = f"{text!r} is not a span of time such as 30m, 6h or 1d"
        raise ValueError(message)
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _zone(name: str) -> str:
    if name not in available_timezones():
        message = f"{name!r} is not an IANA time zone such as UTC or Europe/Berlin"
        raise ValueError(message)
    return name


def parse_instant(value: object) -> datetime:
    """Return an instant in UTC: midnight for a date.

    Raises:
        ValueError: It is no ISO date, or a time of day without a time zone.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            message = f"{value!r} is not an ISO date such as 2026-01-31"
            raise ValueError(message) from None
    if isinstance(value, datetime):
        if value.tzinfo is None and value.time() != datetime.min.time():
            message = f"{value} has no time zone: write an offset or Z"
            raise ValueError(message)
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    message = f"{value!r} is not an ISO date"
    raise ValueError(message)


def slugify(name: str) -> str:
    """Return a name as a folder and model name: lower case, words joined by hyphens.

    Examples:
        >>> slugify("Harbour Ltd")
        'harbour-ltd'
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "company"


Span = Annotated[timedelta, BeforeValidator(_span)]
Zone = Annotated[str, AfterValidator(_zone)]
Instant = Annotated[datetime, BeforeValidator(parse_instant)]
Horizons = Annotated[tuple[Annotated[int, Field(ge=1, le=730)], ...], Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class SettingsSection(BaseModel):
    """A section of the settings, which refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

"""Define the settings of reports: who reads them, and what owners' service is held against."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from features.settings.binding import Address
from features.settings.values import SettingsSection, Span


class Reports(SettingsSection):
    """Reports for managers."""

    # Who gets the monthly report when it is sent, such as ["head@example.com"].
    readers: tuple[Address, ...] = ()
    # A ticket should have its first response after so long,
    first_response: Span = timedelta(hours=8)
    # and be resolved after so long.
    resolution: Span = timedelta(days=3)
    # Satisfaction that tickets should have on average, on the scale of the company's own figures. Default: none is set.
    csat: float | None = Field(default=None, gt=0)

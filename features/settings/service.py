"""Define the settings of the service organisation: when a ticket returned, and what serving costs."""

from __future__ import annotations

from pydantic import Field

from features.settings.values import SettingsSection, Share


class Problems(SettingsSection):
    """The library of problems and fixes."""

    # Within so many days after a ticket was resolved, another one of the same account and problem is a return.
    return_days: int = Field(default=14, ge=1, le=90)


class CostToServe(SettingsSection):
    """What it costs to serve accounts."""

    # Accounts that cost more than this share of their revenue are flagged.
    flag_share: Share = 0.3
    # What an hour costs of those of whom `staff` has no rate, by team, in the company's currency;
    # else `journey.rate_per_hour` counts, or without it the mean of the rates that are known.
    rates: dict[str, float] = Field(default_factory=dict)
    # A contact is fast if its first response comes within so many hours.
    fast_hours: float = Field(default=4.0, gt=0)
    # No path is recommended for a topic with fewer tickets.
    fewest: int = Field(default=200, ge=200)

"""Define the settings of the HTTP service."""

from __future__ import annotations

from pydantic import Field

from features.settings.values import SettingsSection


class Serving(SettingsSection):
    """The HTTP service."""

    # Processes that share the port.
    workers: int = Field(default=1, ge=1, le=64)
    # Requests that one key may make in a minute; each worker grants its share of them.
    per_minute: int = Field(default=6_000, ge=1)
    # How many of a day's served scores the parity check recomputes.
    parity_sample: int = Field(default=200, ge=1)

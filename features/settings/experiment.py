"""Define the settings of the experiment that shows whether alerts save accounts."""

from __future__ import annotations

from pydantic import Field

from features.settings.values import SettingsSection


class Experiment(SettingsSection):
    """Whom chance decides on.

    Args:
        name: Draws anew for each name; change it to begin another experiment.
        band: Ranks on each side of the line at which an owner's time ends. Among the accounts there lots decide who is
            alerted on: as many are as without lots, so nobody is denied help that was to be had. 0: no lots.
    """

    name: str = Field(default="standing", min_length=1, max_length=80)
    band: int = Field(default=0, ge=0, le=1_000)

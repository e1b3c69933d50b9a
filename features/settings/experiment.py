"""Define the settings of the experiment that shows whether alerts save accounts."""

from __future__ import annotations

from pydantic import Field

from features.settings.stakes import Tier
from features.settings.values import SettingsSection, Share


class Experiment(SettingsSection):
    """Whom chance decides on.

    Args:
        name: Draws anew for each name; change it to begin another experiment.
        band: Ranks on each side of the line at which an owner's time ends. Among the accounts there chance decides who
            is alerted on: as many are as without it, so nobody is denied help that was to be had. 0 ends the lottery.
        holdout: Share of all families of accounts that are never alerted on, by lot.
        exempt_tiers: Tiers that are never held out.
        outcome_days: An account counts as kept if it has not left so many days after its draw; by default the alerts'
            horizon.
    """

    name: str = Field(default="standing", min_length=1, max_length=80)
    band: int = Field(default=10, ge=0, le=1_000)
    holdout: Share = 0.0
    exempt_tiers: tuple[Tier, ...] = ("A",)
    outcome_days: int | None = Field(default=None, ge=1, le=730)

"""Define the settings of the experiment that shows whether alerts save accounts."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pydantic import Field, model_validator

from features.settings.binding import Cause
from features.settings.stakes import Tier
from features.settings.values import SettingsSection


class PlayPair(SettingsSection):
    """Two plays against one cause, of which lots pick one for each family of accounts."""

    # What both work against.
    cause: Cause
    # Their keys, such as ["revive_usage", "train_users"]; the first is compared with the second.
    plays: tuple[str, str]

    @model_validator(mode="after")
    def _check(self) -> PlayPair:
        if self.plays[0] == self.plays[1]:
            message = f"plays are twice {self.plays[0]!r}: name two different ones"
            raise ValueError(message)
        return self


class Experiment(SettingsSection):
    """Whom chance decides on. While an experiment runs, nothing here but its name may change.

    Args:
        name: Draws anew for each name; change it to begin another experiment.
        band: Ranks on each side of the line at which an owner's time ends. Among the accounts there lots decide who is
            alerted on: as many are as without lots, so nobody is denied help that was to be had. 0: no lots.
        holdout: Share of the families of accounts that nobody is ever alerted on, drawn by lot. 0: none.
        exempt_tiers: Families with an account of these tiers are never held out.
        plays: Pairs of plays that lots choose from, each against another cause.
        months: The planned length: from then on the experiment may be stopped whatever it has shown.
    """

    name: str = Field(default="standing", min_length=1, max_length=80)
    band: int = Field(default=0, ge=0, le=1_000)
    holdout: float = Field(default=0.0, ge=0, le=0.5)
    exempt_tiers: tuple[Tier, ...] = ()
    plays: tuple[PlayPair, ...] = ()
    months: int = Field(default=24, ge=1, le=60)

    @model_validator(mode="after")
    def _check(self) -> Experiment:
        if self.exempt_tiers and not self.holdout:
            message = "exempt_tiers are set, but holdout is 0: there is nothing to be exempt from"
            raise ValueError(message)
        twice = [cause for cause, number in Counter(pair.cause for pair in self.plays).items() if number > 1]
        if twice:
            message = f"plays are compared twice for the cause {twice[0]}: one pair a cause"
            raise ValueError(message)
        return self

    @property
    def has_lots(self) -> bool:
        """Return whether lots decide on anything."""
        return bool(self.band or self.holdout or self.plays)

    @property
    def design(self) -> dict[str, Any]:
        """Return all but the name, as plain data: what may not change while the experiment runs."""
        return self.model_dump(mode="json", exclude={"name"})

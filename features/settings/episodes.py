"""Define the settings of episodes: what opens one of each kind, how long it lasts, and when it speaks again."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from features.settings.stakes import Kind, Tier
from features.settings.values import SettingsSection, Share


class SilentDecline(SettingsSection):
    """Silent decline: usage falls and nobody complains.

    Args:
        fall: Share of the usage of the 30 days before that the last 30 have lost, when an episode opens.
        usual: Share of its usual usage, of a year, that an account is then down to.
        recovered: Share of its usual usage from which on the decline is over; above `usual`.
        least_events: Usage events in 90 days below which there is too little to speak of a fall.
        complaints: High, urgent and escalated tickets in 90 days from which on it is not silent.
    """

    fall: Share = 0.35
    usual: Share = 0.6
    recovered: Share = 0.8
    least_events: float = Field(default=30, ge=0)
    complaints: int = Field(default=3, ge=1)

    @model_validator(mode="after")
    def _check(self) -> SilentDecline:
        if self.recovered < self.usual:
            message = f"recovered {self.recovered:g} is below usual {self.usual:g}: an episode would end as it opens"
            raise ValueError(message)
        return self


class ServiceFailure(SettingsSection):
    """A failure of the service: urgent tickets that stand open, or escalations. It ends when both are gone."""

    # Urgent tickets open at once, or tickets escalated in 90 days, from which on it is one.
    open_urgent: int = Field(default=2, ge=1)
    escalations: int = Field(default=2, ge=1)


class Episodes(SettingsSection):
    """What opens an episode, how long it lasts, and when it speaks again.

    Args:
        kinds: That may open; those that lack their tables open nothing.
        at_risk: Times the odds of the average account from which on an account is at risk.
        recovered: Times these odds below which the risk is over; from 1 to `at_risk`.
        worsened: Rise of the score since its owner was last told that makes an episode speak again.
        exit_days: Days for which a condition must be gone before its episode closes, unless runs are as far apart.
        reopen_days: Days after which an episode that a person closed may open anew although its condition never ended.
        absent_runs: Runs in a row without an account after which it counts as left.
        renewal_days: Before a term's end, from which on a renewal is near.
        promise_days: Before a promise is due, from which on its owner is told.
        silent_decline: When usage fell.
        service_failure: When the service failed.
    """

    kinds: tuple[Kind, ...] = (
        "churn",
        "silent_decline",
        "service_failure",
        "renewal_near",
        "upsell",
        "promise_due",
        "visit_due",
    )
    at_risk: float = Field(default=2.0, ge=1)
    recovered: float = Field(default=1.0, ge=1)
    worsened: Share = 0.15
    exit_days: int = Field(default=14, ge=0)
    reopen_days: int = Field(default=180, ge=1)
    absent_runs: int = Field(default=3, ge=1)
    renewal_days: int = Field(default=60, ge=1, le=365)
    promise_days: int = Field(default=3, ge=0, le=90)
    silent_decline: SilentDecline = SilentDecline()
    service_failure: ServiceFailure = ServiceFailure()

    @model_validator(mode="after")
    def _check(self) -> Episodes:
        if self.recovered > self.at_risk:
            message = (
                f"recovered {self.recovered:g} is above at_risk {self.at_risk:g}: an episode would close as it opens"
            )
            raise ValueError(message)
        return self


# Days from one contact to the next, by tier; a tier that is not named has no cadence.
Cadence = dict[Tier, Annotated[int, Field(ge=1, le=730)]]

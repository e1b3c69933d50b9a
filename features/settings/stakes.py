"""Define the settings of money and time: what acting on an account costs and saves, and how much owners can do."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from features.settings.values import SettingsSection, Share

Kind = Literal["churn", "silent_decline", "service_failure", "renewal_near", "upsell", "promise_due", "visit_due"]
Tier = Literal["A", "B", "C", "D", "E"]


class Stakes(SettingsSection):
    """Costs and earnings of acting on an account, in the company's currency.

    An account that would leave and is contacted stays with a probability that is itself uncertain: Beta(alpha, beta),
    whose mean is the save rate where no other is set. The defaults are the values at which the profit measure was
    published (see `training.evaluation.profit`), so that figures compare.
    """

    # Worth of an account that stays, where its own is not known.
    value: float = Field(default=200.0, gt=0)
    # Given to those who take it, such as a discount.
    offer: float = Field(default=10.0, ge=0)
    # Cost of reaching one account. Owners' time is no part of it: `[capacity]` limits it.
    contact: float = Field(default=1.0, gt=0)
    alpha: float = Field(default=6.0, gt=0)
    beta: float = Field(default=14.0, gt=0)
    # Share of the accounts that would leave and that stay after a play: by play, or by play and tier ("play/A").
    save_rates: dict[str, Share] = {}

    @model_validator(mode="after")
    def _check(self) -> Stakes:
        if self.offer >= self.value:
            message = f"offer {self.offer:g} is not below value {self.value:g}: nobody would be worth keeping"
            raise ValueError(message)
        return self

    def get_save_rate(self, play: str | None, tier: str | None) -> float:
        """Return the share of accounts that a play saves: of its tier, of the play, or else the mean of all."""
        by_play = self.save_rates.get(f"{play}", self.alpha / (self.alpha + self.beta))
        return self.save_rates.get(f"{play}/{tier}", by_play)


class Capacity(SettingsSection):
    """The time that owners have for alerts: what opens in a week is what fills it."""

    # Hours a week of an owner.
    hours: float = Field(default=5.0, ge=0, le=168)
    # Hours a week of single owners, by their e-mail address.
    owners: dict[str, float] = {}
    # Minutes that an alert takes, by kind.
    minutes: dict[Kind, float] = {}

    @model_validator(mode="after")
    def _check(self) -> Capacity:
        for name, numbers, most in (("owners", self.owners, 168), ("minutes", self.minutes, 10_080)):
            for key, number in numbers.items():
                if not (0 if name == "owners" else 1e-9) <= number <= most:
                    message = f"{name}.{key} is {number:g}: give a number up to {most}"
                    raise ValueError(message)
        return self

    def get_minutes(self, kind: str) -> float:
        """Return the minutes that an alert of this kind takes."""
        return {**_MINUTES, **self.minutes}[kind]  # type: ignore[index]  # one of the kinds

    def get_week(self, owner: str) -> float:
        """Return the minutes that an owner has in a week."""
        by_owner = {address.casefold(): hours for address, hours in self.owners.items()}
        return 60 * by_owner.get(owner.casefold(), self.hours)


_MINUTES: dict[Kind, float] = {
    "churn": 30,
    "silent_decline": 30,
    "service_failure": 30,
    "renewal_near": 30,
    "upsell": 30,
    "promise_due": 15,
    "visit_due": 15,
}

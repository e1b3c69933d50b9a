"""Define the settings of bindings: who answers for an account beside its owner, and when people work."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from features.core.addresses import parse_address
from features.core.language import LanguageName
from features.settings.tiers import TIER_NAMES
from features.settings.values import SettingsSection, Zone


def _address(text: object) -> object:
    if isinstance(text, str) and (plain := parse_address(text)):
        return plain
    message = f"{text!r} is not one e-mail address such as name@example.com"
    raise ValueError(message)


def _country(code: str) -> str:
    import holidays  # slow to import, and most settings name no country

    if code not in holidays.list_supported_countries(include_aliases=False):
        message = f"{code!r} is no country whose days off are known: write two letters such as DE or CN"
        raise ValueError(message)
    return code


Address = Annotated[str, BeforeValidator(_address)]
Country = Annotated[str, AfterValidator(_country)]
Tier = Literal["A", "B", "C", "D", "E"]
Cause = Literal["usage", "contact", "service", "price", "purchases", "renewal"]


class Sponsor(SettingsSection):
    """Someone above the owner who answers for the accounts of these tiers."""

    # Whose accounts.
    tiers: tuple[Tier, ...] = Field(min_length=1)
    # Where letters go.
    address: Address
    # Of the sponsor, such as "chief executive".
    role: str = "sponsor"
    # Stands in for the sponsor.
    deputy: Address | None = None


class Person(SettingsSection):
    """What is known of one person who gets messages; all of it optional."""

    # Where the person works: whose clock, and whose days off.
    timezone: Zone | None = None
    country: Country | None = None
    # The language of letters to the person; by default `alerts.language`.
    language: LanguageName | None = None
    # Stands in while the person is away.
    deputy: Address | None = None
    # Hears of what the person leaves unanswered.
    lead: Address | None = None


class WorkingTime(SettingsSection):
    """When people work, each in their own time zone."""

    # By their own clock.
    starts: time = time(9)
    ends: time = time(17)
    # 1 is Monday.
    days: tuple[Annotated[int, Field(ge=1, le=7)], ...] = Field(default=(1, 2, 3, 4, 5), min_length=1)
    # Whose days off count where a person's own country is not named.
    country: Country | None = None


class Escalation(SettingsSection):
    """After how many working hours without an answer an episode goes up, by tier; a tier not named never does."""

    # Working hours, by tier.
    after_hours: dict[Tier, Annotated[float, Field(ge=0)]] = Field(default={"A": 4.0, "B": 8.0, "C": 24.0})
    # Tiers whose sponsor hears at once, with a review packet.
    at_once: tuple[Tier, ...] = ("A",)


class Binding(SettingsSection):
    """Who answers for an account: across by the cause, upward by the tier."""

    # The team that must act on a cause, such as usage = "adoption@example.com".
    teams: dict[Cause, Address] = Field(default_factory=dict)
    # Those above the owner, by tier.
    sponsors: tuple[Sponsor, ...] = ()
    # What is known of people, by their address.
    people: dict[Address, Person] = Field(default_factory=dict)
    # When people work.
    working_time: WorkingTime = WorkingTime()
    # When an episode goes up.
    escalation: Escalation = Escalation()

    def find_sponsor(self, tier: str | None) -> Sponsor | None:
        """Return the first sponsor of a tier; None without one."""
        return next((s for s in self.sponsors if tier in TIER_NAMES and tier in s.tiers), None)

    def get_person(self, address: str) -> Person:
        """Return what the settings say about a person; case means nothing in addresses."""
        return next((p for known, p in self.people.items() if known.lower() == address.lower()), Person())

"""Find who answers for each account: its owner, the team by cause, and the sponsor by tier."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Literal, Self, get_args
from zoneinfo import available_timezones

from features.core.addresses import describe_fault, parse_address
from features.core.errors import GarrisonError
from features.core.language import Phrase
from features.settings import Settings
from features.settings.binding import Cause
from features.state.database import Store
from monitoring.binding.absences import Absence, read_absences
from monitoring.binding.account_records import AccountRecord, list_parents
from monitoring.binding.assignments import read_owners
from monitoring.binding.working_time import WorkCalendar

Role = Literal["owner", "team", "sponsor"]
_STAND_IN = "You get this because {away} and you stand in."


@dataclass(frozen=True)
class Recipient:
    """A person or team that gets messages about an account.

    Args:
        address: An e-mail address.
        role: In which the recipient gets them.
        why: Why it is this recipient and not the one that the account's record names, as a sentence to it; "" where it
            is that one.
        calendar: When the recipient works.
        is_fallback: Whether it gets what nobody else could be found for.
        title: Of a sponsor, such as "chief executive"; of a team, its cause.
    """

    address: str
    role: Role
    why: str | Phrase
    calendar: WorkCalendar
    is_fallback: bool = False
    title: str = ""


@dataclass(frozen=True)
class AccountBinding:
    """Everybody who answers for one account.

    Args:
        account_id: Of the account.
        name: Of the account; None if its record has none.
        owner: Who gets its letters; None where nobody can be found.
        fault: Why the account's own owner can't be written to; None if that one can.
        teams: By cause, as far as the settings name teams.
        sponsor: By tier; None without one.
        tier: A to E; None where it is not known.
        unit: The topmost account of its family.
    """

    account_id: str
    name: str | None
    owner: Recipient | None
    fault: str | None
    teams: Mapping[str, Recipient]
    sponsor: Recipient | None
    tier: str | None = None
    unit: str = ""

    def hand_over(self, address: str) -> AccountBinding:
        """Return the binding with another owner, to whom a person has handed the account's episode over."""
        if self.owner is None or self.owner.address.lower() == address.lower():
            return self
        return replace(self, owner=replace(self.owner, address=address, why="", is_fallback=False))


@dataclass(frozen=True)
class BindingRules:
    """Binds accounts by the settings, the absences of one instant, and the owners that people assigned.

    Args:
        settings: The company's.
        absences: Who is away, by address in lower case.
        assigned: Owners that people assigned, by account; they count in place of those that the accounts table names.
    """

    settings: Settings
    absences: Mapping[str, Absence]
    assigned: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, settings: Settings, store: Store, now: datetime, accounts: Collection[str] | None = None) -> Self:
        """Load who is away at an instant, and which owners were assigned: to all accounts, or only to some few."""
        return cls(settings, read_absences(store, now), read_owners(store, accounts))

    def bind(
        self,
        records: Mapping[str, AccountRecord],
        accounts: Collection[str],
        tiers: Mapping[str, str | None],
    ) -> dict[str, AccountBinding]:
        """Bind these accounts.

        Args:
            records: Of the accounts and their parents.
            accounts: Ids.
            tiers: By account; one that is missing has none.

        Raises:
            GarrisonError: The settings' fallback owner is not one address.
        """
        fallback = parse_fallback_owner(self.settings)
        teams = {c: t for c in get_args(Cause) if (t := self._find_team(c))}
        bindings = {}
        for account in accounts:
            record, tier = records.get(account, AccountRecord()), tiers.get(account)
            owner, fault = self._find_owner(records, account, fallback)
            sponsor = self.find_sponsor(tier)
            unit = [account, *list_parents(records, account)][-1]
            bindings[account] = AccountBinding(account, record.name, owner, fault, teams, sponsor, tier, unit)
        return bindings

    def _find_owner(
        self, records: Mapping[str, AccountRecord], account: str, fallback: str | None
    ) -> tuple[Recipient | None, str | None]:
        found, fault = self._reach_owner(records, account)
        if found or fault is None:
            return found, None
        for parent in list_parents(records, account):
            other, _ = self._reach_owner(records, parent)
            if other:
                named = records[parent].name or parent
                why = Phrase(
                    "You get this because {fault}, and you own its parent account {parent}.",
                    {"fault": fault, "parent": named},
                )
                return replace(other, why=why), str(fault)
        if fallback:
            why = Phrase("You get this because {fault}.", {"fault": fault})
            return Recipient(fallback, "owner", why, self.build_calendar(fallback, None), is_fallback=True), str(fault)
        return None, str(fault)

    def _reach_owner(
        self, records: Mapping[str, AccountRecord], account: str
    ) -> tuple[Recipient | None, Phrase | None]:
        """Return who gets the messages of an account's own owner: the one assigned, else the one of its record."""
        if assigned := self.assigned.get(account):
            return self._reach(assigned, None)
        record = records.get(account, AccountRecord())
        return self._reach(record.owner, record.timezone)

    def _reach(self, exported: str | None, zone: str | None) -> tuple[Recipient | None, Phrase | None]:
        """Return who gets the messages of an exported owner, or why nobody does."""
        address = parse_address(exported)
        if address is None:
            return None, Phrase(describe_fault(exported) or "")
        absence = self.absences.get(address.lower())
        if absence is None:
            return Recipient(address, "owner", "", self.build_calendar(address, zone)), None
        for stand_in, why in self._iterate_stand_ins(address, absence):
            if stand_in.lower() not in self.absences:
                return Recipient(stand_in, "owner", why, self.build_calendar(stand_in, None)), None
        away = replace(absence, address=address).describe()
        return None, Phrase("its owner {away}, and nobody stands in", {"away": away})

    def _iterate_stand_ins(self, address: str, absence: Absence) -> Iterator[tuple[str, Phrase]]:
        person = self.settings.binding.get_person(address)
        away = {"away": replace(absence, address=address).describe()}
        if deputy := absence.deputy or person.deputy:
            yield deputy, Phrase(_STAND_IN, away)
        if person.lead:
            yield person.lead, Phrase("You get this because {away}, and no deputy is there.", away)

    def _find_team(self, cause: Cause) -> Recipient | None:
        if not (address := self.settings.binding.teams.get(cause)):
            return None
        return Recipient(address, "team", "", self.build_calendar(address, None), title=cause)

    def find_sponsor(self, tier: str | None) -> Recipient | None:
        """Return the sponsor of a tier, or the deputy of one who is away; None without one."""
        sponsor = self.settings.binding.find_sponsor(tier)
        if sponsor is None:
            return None
        absence = self.absences.get(sponsor.address.lower())
        deputy = absence and (absence.deputy or sponsor.deputy)
        if absence and deputy:
            why = Phrase(_STAND_IN, {"away": replace(absence, address=sponsor.address).describe()})
            return Recipient(deputy, "sponsor", why, self.build_calendar(deputy, None), title=sponsor.role)
        # Nobody stands in: better read late than by nobody.
        calendar = self.build_calendar(sponsor.address, None)
        return Recipient(sponsor.address, "sponsor", "", calendar, title=sponsor.role)

    def build_calendar(self, address: str, exported: str | None) -> WorkCalendar:
        """Return when a person works: in the zone of the settings, else the exported one, else the company's."""
        person, working = self.settings.binding.get_person(address), self.settings.binding.working_time
        zone = person.timezone or (exported if exported in _list_zones() else None)
        return WorkCalendar(working, zone or self.settings.company.timezone, person.country or working.country)


@cache
def _list_zones() -> frozenset[str]:
    return frozenset(available_timezones())  # which reads folders anew at each call


def parse_fallback_owner(settings: Settings) -> str | None:
    """Return the address that gets the messages of accounts without an owner; None if the settings name none.

    Raises:
        GarrisonError: The settings name one that is not one address.
    """
    named = settings.alerts.fallback_owner
    if named and parse_address(named) is None:
        raise GarrisonError(
            "alerts.fallback_owner is not one plain e-mail address",
            found=repr(named),
            hint="Write it as name@example.com",
        )
    return parse_address(named)

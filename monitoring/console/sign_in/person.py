"""Define who is signed in, and in which roles."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from features.settings import Settings


class Role(StrEnum):
    """What a person may see; a person may have several."""

    OWNER = "owner"  # own accounts, their children, and those bound to the person
    LEAD = "lead"  # also those of the people that the person leads
    MANAGER = "manager"  # all accounts, and reports on people
    DATA_SCIENTIST = "data_scientist"  # models; no names of accounts or people
    ADMIN = "admin"  # everything


@dataclass(frozen=True)
class Person:
    """A person who is signed in.

    Args:
        address: E-mail address, in lower case.
        roles: At least one.
        language: `en` or `zh_Hans`.
        timezone: IANA name.
    """

    address: str
    roles: frozenset[Role]
    language: str = "en"
    timezone: str = "UTC"

    def has(self, *roles: Role) -> bool:
        """Return whether the person has one of these roles."""
        return not self.roles.isdisjoint(roles)


def find_roles(settings: Settings, address: str, groups: Collection[str] = ()) -> frozenset[Role]:
    """Find the roles that the settings give to an address or to groups; empty without any.

    Args:
        settings: `[console.roles]` names addresses and groups; a person's `lead` in `[binding.people]` is a lead.
        address: Of the person, verified.
        groups: Of the provider that the person signed in with.
    """
    names = {address.lower()} | {g for g in groups if "@" not in g}  # a group named like a person is no person
    roles = {
        Role(role) for role, members in settings.console.roles.items() if any(_normalize(m) in names for m in members)
    }
    if any(p.lead and p.lead.lower() == address.lower() for p in settings.binding.people.values()):
        roles.add(Role.LEAD)
    return frozenset(roles)


def _normalize(member: str) -> str:
    return member.lower() if "@" in member else member

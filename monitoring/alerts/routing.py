"""Routing: which one person hears of an account, and how many new messages they get at once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.core.errors import GarrisonError
from features.settings import Alerts

if TYPE_CHECKING:  # who only delivers needs no address book, and no wait for its imports
    from features.sources.history import History

# What a browser accepts as one e-mail address (HTML standard, "valid e-mail address"): no display name, no
# list, no quoting, no route, and so no way to smuggle in a second recipient.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*")

PENDING, WITHHELD, UNDELIVERABLE = "pending", "withheld", "undeliverable"


@dataclass(frozen=True)
class Contact:
    """What an account's record says about whom to tell."""

    name: str | None = None
    owner: str | None = None


@dataclass(frozen=True)
class Stake:
    """An account at risk: its score, and the money at stake (None: not known)."""

    account_id: str
    score: float
    value: float | None


@dataclass(frozen=True)
class Route:
    """Where an account's message goes; `reason` says why it does not, where it does not."""

    recipient: str | None
    state: str
    reason: str | None = None


def address(text: str | None) -> str | None:
    """The one plain e-mail address that the text is; None where it is anything else."""
    plain = (text or "").strip()
    return plain if len(plain) <= 254 and _ADDRESS.fullmatch(plain) else None


def fallback(alerts: Alerts) -> str | None:
    """Who hears of accounts without an owner.

    Raises:
        GarrisonError: Where the settings name one that is not one plain address.
    """
    if alerts.fallback_owner and address(alerts.fallback_owner) is None:
        raise GarrisonError(
            "alerts.fallback_owner is not one plain e-mail address",
            found=repr(alerts.fallback_owner),
            hint="Write it as name@example.com",
        )
    return address(alerts.fallback_owner)


def contacts(history: History, accounts: Collection[str]) -> dict[str, Contact]:
    """Return the names and owners that the accounts table holds of these accounts."""
    import pandas as pd

    rows = history.query(
        "SELECT account_id, name, owner_email FROM accounts WHERE account_id IN (SELECT account_id FROM wanted)",
        wanted=pd.DataFrame({"account_id": list(accounts)}, dtype="str"),
    )
    plain = rows.astype(object).where(rows.notna(), None).itertuples(index=False, name=None)
    return {account: Contact(name, owner) for account, name, owner in plain}


def route(stakes: Iterable[Stake], contacts: Mapping[str, Contact], alerts: Alerts) -> dict[str, Route]:
    """One route for each account, in the order in which they matter: most value x score first.

    Raises:
        GarrisonError: Where the settings' fallback owner is not one plain address.
    """
    spare = fallback(alerts)
    told: Counter[str] = Counter()
    routes = {}
    for stake in sorted(stakes, key=_weight):
        routes[stake.account_id] = found = _one(contacts.get(stake.account_id, Contact()), spare)
        if found.recipient is None:
            continue
        told[found.recipient.lower()] += 1
        if told[found.recipient.lower()] > alerts.per_owner:
            over = f"over the cap of {alerts.per_owner} new messages for one owner"
            routes[stake.account_id] = Route(found.recipient, WITHHELD, over)
    return routes


def _one(contact: Contact, spare: str | None) -> Route:
    if owner := address(contact.owner):
        return Route(owner, PENDING)
    if spare:
        return Route(spare, PENDING)
    why = "its owner's e-mail address is not a plain one" if contact.owner else "it has no owner"
    return Route(None, UNDELIVERABLE, f"{why}, and there is no alerts.fallback_owner")


def _weight(stake: Stake) -> tuple[float, float, str]:
    return (-(stake.value or 0.0) * stake.score, -stake.score, stake.account_id)

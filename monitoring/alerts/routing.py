"""Route each account's message to its owner, and limit how many new messages one owner gets at once."""

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
    """The name of an account and the address of its owner, as its record has them."""

    name: str | None = None
    owner: str | None = None


@dataclass(frozen=True)
class RankedAccount:
    """An account at risk, with what it is ranked by: its score, and its value in money (None if not known)."""

    account_id: str
    score: float
    value: float | None


@dataclass(frozen=True)
class MessageRoute:
    """The recipient and state of an account's message; `reason` says why it is not sent, if it is not."""

    recipient: str | None
    state: str
    reason: str | None = None


def parse_address(text: str | None) -> str | None:
    """Return the text as one plain e-mail address, or None if it is anything else."""
    plain = (text or "").strip()
    return plain if len(plain) <= 254 and _ADDRESS.fullmatch(plain) else None


def parse_fallback_owner(alerts: Alerts) -> str | None:
    """Return the address that gets the messages of accounts without an owner; None if the settings name none.

    Raises:
        GarrisonError: The settings name one that is not one plain address.
    """
    if alerts.fallback_owner and parse_address(alerts.fallback_owner) is None:
        raise GarrisonError(
            "alerts.fallback_owner is not one plain e-mail address",
            found=repr(alerts.fallback_owner),
            hint="Write it as name@example.com",
        )
    return parse_address(alerts.fallback_owner)


def read_contacts(history: History, accounts: Collection[str]) -> dict[str, Contact]:
    """Return the names and owners that the accounts table holds of these accounts."""
    import pandas as pd

    rows = history.query(
        "SELECT account_id, name, owner_email FROM accounts WHERE account_id IN (SELECT account_id FROM wanted)",
        wanted=pd.DataFrame({"account_id": list(accounts)}, dtype="str"),
    )
    plain = rows.astype(object).where(rows.notna(), None).itertuples(index=False, name=None)
    return {account: Contact(name, owner) for account, name, owner in plain}


def route_messages(
    stakes: Iterable[RankedAccount], contacts: Mapping[str, Contact], alerts: Alerts
) -> dict[str, MessageRoute]:
    """Return one route for each account, the largest value x score first.

    Raises:
        GarrisonError: The settings' fallback owner is not one plain address.
    """
    spare = parse_fallback_owner(alerts)
    messages: Counter[str] = Counter()
    routes = {}
    for stake in sorted(stakes, key=_rank_key):
        routes[stake.account_id] = message_route = _route_one(contacts.get(stake.account_id, Contact()), spare)
        if message_route.recipient is None:
            continue
        messages[message_route.recipient.lower()] += 1
        if messages[message_route.recipient.lower()] > alerts.per_owner:
            over = f"over the cap of {alerts.per_owner} new messages for one owner"
            routes[stake.account_id] = MessageRoute(message_route.recipient, WITHHELD, over)
    return routes


def _route_one(contact: Contact, spare: str | None) -> MessageRoute:
    if owner := parse_address(contact.owner):
        return MessageRoute(owner, PENDING)
    if spare:
        return MessageRoute(spare, PENDING)
    why = "its owner's e-mail address is not a plain one" if contact.owner else "it has no owner"
    return MessageRoute(None, UNDELIVERABLE, f"{why}, and there is no alerts.fallback_owner")


def _rank_key(stake: RankedAccount) -> tuple[float, float, str]:
    return (-(stake.value or 0.0) * stake.score, -stake.score, stake.account_id)

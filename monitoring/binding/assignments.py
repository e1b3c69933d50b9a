"""Keep the owners that people assign to accounts, whatever the accounts table names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from features.core.addresses import parse_address
from features.core.errors import GarrisonError
from features.core.safe_line import to_safe_line
from features.core.timestamps import to_micros
from features.state.database import Store
from features.state.portfolio_tables import ASSIGNMENTS


@dataclass(frozen=True)
class Assignment:
    """An owner that a person assigned to an account.

    Args:
        owner: E-mail address.
        reason: Why.
        by: Who assigned.
        at: When (µs).
    """

    owner: str
    reason: str
    by: str
    at: int


def assign_owner(  # noqa: PLR0913  # all but the first two named
    connection: sa.Connection,
    account_id: str,
    *,
    owner: str | None,
    by: str,
    reason: str,
    now: datetime | None = None,
) -> str | None:
    """Assign an account to an owner, in the caller's transaction; the one assigned before is withdrawn.

    Args:
        connection: A writing transaction.
        account_id: Of the account.
        owner: One plain e-mail address; None for the one that the accounts table names.
        by: Who assigns.
        reason: Why.
        now: The instant; by default the clock's.

    Returns:
        The address as it is stored.

    Raises:
        GarrisonError: It is not one plain address, or there is no reason.
    """
    address = None if owner is None else parse_address(owner)
    if owner is not None and address is None:
        raise GarrisonError("the owner is not one plain e-mail address", hint="Write it as name@example.com")
    if not reason.strip():
        raise GarrisonError("an assignment needs a reason", hint="Say why in a few words")
    at = to_micros(now or datetime.now(UTC))
    c = ASSIGNMENTS.c
    last = connection.scalar(sa.select(sa.func.max(c.seq)).where(c.account_id == account_id)) or 0
    row = {"account_id": account_id, "seq": last + 1, "owner": address, "at": at}
    words = {"reason": to_safe_line(reason, 500), "by": to_safe_line(by, 200)}
    connection.execute(sa.insert(ASSIGNMENTS), row | words)
    return address


def _select_newest(newest: sa.Select[Any]) -> sa.Select[Any]:
    c = ASSIGNMENTS.c
    query = sa.select(c.account_id, c.owner, c.reason, c.by, c.at)
    return query.where(sa.tuple_(c.account_id, c.seq).in_(newest), c.owner.is_not(None)).order_by(c.account_id)


# Built once: building a statement takes SQLAlchemy as long as asking it.
_NEWEST = sa.select(ASSIGNMENTS.c.account_id, sa.func.max(ASSIGNMENTS.c.seq)).group_by(ASSIGNMENTS.c.account_id)
_ALL = _select_newest(_NEWEST)
_SOME = _select_newest(_NEWEST.where(ASSIGNMENTS.c.account_id.in_(sa.bindparam("accounts", expanding=True))))


def read_assignments(store: Store, accounts: Collection[str] | None = None) -> dict[str, Assignment]:
    """Read the assignments in force, by account: of all accounts, or only of some few."""
    with store.reading() as connection:
        found = connection.execute(_ALL) if accounts is None else connection.execute(_SOME, {"accounts": [*accounts]})
        return {account: Assignment(*rest) for account, *rest in found}


def read_owners(store: Store, accounts: Collection[str] | None = None) -> Mapping[str, str]:
    """Read the owners assigned, by account: of all accounts, or only of some few."""
    return {account: assignment.owner for account, assignment in read_assignments(store, accounts).items()}


def count_assignments(store: Store) -> int:
    """Count all assignments ever made: the number changes whenever one is."""
    with store.reading() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(ASSIGNMENTS)) or 0

"""Mutes: accounts that no alert is raised on for a while, each with its end and its reason."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from features.core.errors import GarrisonError, nearest
from features.core.timestamps import from_micros
from features.state.database import Store
from features.state.tables import MUTES
from monitoring.alerts.acts import check_end, name_actor, read_clock, tidy_reason
from monitoring.alerts.kinds import KINDS


def mute(  # noqa: PLR0913  # all but the first two named
    store: Store,
    account_id: str,
    *,
    until: datetime,
    by: str,
    reason: str,
    kind: str | None = None,
    now: datetime | None = None,
    dry_run: bool = False,
) -> None:
    """Let no alert be raised on an account until an instant; episodes that are open stay open.

    Args:
        store: The state database.
        account_id: Of the account.
        until: The end of the mute.
        by: Who mutes.
        reason: Why.
        kind: Of the alerts; None for all.
        now: The instant; by default the clock's.
        dry_run: Check everything, and write nothing.

    Raises:
        GarrisonError: The end is not ahead or more than a year, there is no such kind, or no reason.
    """
    at = read_clock(now)
    end = check_end(until, at, "an account can't be muted until then")
    if kind is not None and kind not in KINDS:
        raise GarrisonError(f"there is no kind of alert {kind}", hint=nearest(kind, KINDS))
    if not reason.strip():
        raise GarrisonError("a mute needs a reason", hint="Say why: --reason '…'")
    row = {"id": str(uuid.uuid4()), "account_id": account_id, "kind": kind, "until": end, "at": at}
    if not dry_run:
        with store.writing() as connection:
            connection.execute(sa.insert(MUTES), row | {"reason": tidy_reason(reason), "by": name_actor(by)})


def unmute(
    store: Store, account_id: str, *, kind: str | None = None, now: datetime | None = None, dry_run: bool = False
) -> int:
    """End the mutes of an account: of one kind, or all; returns their number.

    Raises:
        GarrisonError: None is in force.
    """
    at = read_clock(now)
    own = (MUTES.c.account_id == account_id) & (MUTES.c.until > at)
    if kind is not None:
        own &= MUTES.c.kind == kind
    with store.writing() as connection:
        number = connection.scalar(sa.select(sa.func.count()).select_from(MUTES).where(own)) or 0
        if not number:
            of_kind = f" for {kind}" if kind else ""
            raise GarrisonError(
                f"the account {account_id} is not muted{of_kind}", hint="`python -m monitoring mute` lists who is"
            )
        if not dry_run:
            connection.execute(sa.update(MUTES).where(own).values(until=at))
    return number


def read_mutes(store: Store, *, now: datetime | None = None) -> list[dict[str, Any]]:
    """Read the mutes in force, the first to end first."""
    query = sa.select(MUTES).where(MUTES.c.until > read_clock(now)).order_by(MUTES.c.until, MUTES.c.account_id)
    with store.reading() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def format_day(at: int) -> str:
    """Return the day of an instant (µs)."""
    return f"{from_micros(at):%Y-%m-%d}"

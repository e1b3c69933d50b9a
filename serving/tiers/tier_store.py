"""Store the cuts of each quarter and people's overrides; read the tiers of earlier runs from their score tables."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pandas as pd
import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.timestamps import from_micros, to_micros
from features.core.user import name_user
from features.settings import Settings
from features.settings.tiers import TIER_NAMES
from features.state.database import Store
from features.state.tables import TIER_CUTS, TIER_OVERRIDES
from serving.tiers.course import Override, TierTable, assign_tiers
from training.decisions.tier_cuts import Cuts
from training.decisions.tier_sides import measure_sides


def name_quarter(as_of: datetime) -> str:
    """Return the calendar quarter of an instant, such as 2026-Q1."""
    return f"{as_of.year}-Q{(as_of.month + 2) // 3}"


def build_tiers(
    settings: Settings, store: Store, frame: pd.DataFrame, *, as_of: datetime, before: pd.DataFrame | None
) -> TierTable:
    """Assign the tiers of a run; the first run of a quarter freezes the quarter's cuts.

    Args:
        settings: The company's.
        store: Its state database.
        frame: account_id and the columns `tier_sides.WANTED` as far as they are there, a row an account.
        as_of: Of the run.
        before: As `course.assign_tiers` takes it.
    """
    sides, left_out = measure_sides(frame)
    cuts = read_cuts(store, name_quarter(as_of)) or _freeze_cuts(settings, store, sides, as_of)
    return assign_tiers(
        frame["account_id"].tolist(),
        sides,
        cuts=cuts,
        settings=settings.tiers,
        before=before,
        overrides=read_overrides(store, as_of),
        left_out=left_out,
    )


def read_cuts(store: Store, quarter: str) -> Cuts | None:
    """Read the cuts of a quarter; None before its first run."""
    with store.reading() as connection:
        plain = connection.scalar(sa.select(TIER_CUTS.c.cuts).where(TIER_CUTS.c.quarter == quarter))
    return Cuts.from_dict(plain) if plain else None


def _freeze_cuts(settings: Settings, store: Store, sides: pd.DataFrame, as_of: datetime) -> Cuts:
    """Freeze the cuts of a quarter; those of another process that was first count."""
    cuts = Cuts.freeze(name_quarter(as_of), sides, settings.tiers)
    row = {"quarter": cuts.quarter, "as_of": to_micros(as_of), "cuts": cuts.as_dict(), "frozen_at": _now()}
    with store.writing() as connection:
        first = connection.scalar(sa.select(TIER_CUTS.c.cuts).where(TIER_CUTS.c.quarter == cuts.quarter))
        if first is None:
            connection.execute(sa.insert(TIER_CUTS), row)
    return cuts if first is None else Cuts.from_dict(first)


def forget_cuts(store: Store, quarter: str) -> None:
    """Forget the cuts of a quarter, so that its next run freezes them anew: say they were those of harmed data.

    Raises:
        GarrisonError: There are none.
    """
    with store.writing() as connection:
        deleted = connection.execute(sa.delete(TIER_CUTS).where(TIER_CUTS.c.quarter == quarter)).rowcount
    if not deleted:
        raise GarrisonError(f"there are no cuts of {quarter}", hint="Write a quarter as 2026-Q1")


def read_overrides(store: Store, as_of: datetime) -> dict[str, Override]:
    """Read the overrides that are in force at an instant, by account; of several the newest counts."""
    at, c = to_micros(as_of), TIER_OVERRIDES.c
    query = sa.select(c.account_id, c.tier, c.reason, c.by, c.until).where(
        c.withdrawn_at.is_(None), c.until.is_(None) | (c.until > at)
    )
    with store.reading() as connection:
        return {row.account_id: Override(*row) for row in connection.execute(query.order_by(c.set_at))}


def set_override(  # noqa: PLR0913  # what an override is
    store: Store, account_id: str, tier: str, *, reason: str, until: datetime | None = None, by: str | None = None
) -> Override:
    """Set an account's tier from the next run on, in place of an earlier override.

    Raises:
        GarrisonError: There is no such tier, the reason is empty, or the end is past.
    """
    if tier not in TIER_NAMES:
        raise GarrisonError(f"there is no tier {tier}", hint=f"Name one of {', '.join(TIER_NAMES)}")
    if not reason.strip():
        raise GarrisonError("an override needs a reason", hint="Say why with --reason")
    override = Override(account_id, tier, reason, by or name_user(), None if until is None else to_micros(until))
    values = {"account_id": account_id, "tier": tier, "reason": reason, "by": override.by, "until": override.until}
    with store.writing() as connection:
        _withdraw(connection, account_id)
        connection.execute(sa.insert(TIER_OVERRIDES), values | {"id": uuid.uuid4().hex, "set_at": _now()})
    return override


def clear_override(store: Store, account_id: str) -> None:
    """Withdraw an account's override.

    Raises:
        GarrisonError: It has none.
    """
    with store.writing() as connection:
        if not _withdraw(connection, account_id):
            raise GarrisonError(f"nobody has set the tier of {account_id}", hint="`tiers` lists the overrides")


def _withdraw(connection: sa.Connection, account_id: str) -> int:
    standing = sa.update(TIER_OVERRIDES).where(
        TIER_OVERRIDES.c.account_id == account_id, TIER_OVERRIDES.c.withdrawn_at.is_(None)
    )
    return connection.execute(standing.values(withdrawn_at=_now())).rowcount


def describe_until(override: Override) -> str:
    """Return until when an override counts."""
    return "no end" if override.until is None else str(from_micros(override.until).date())


def _now() -> int:
    return to_micros(datetime.now(UTC))

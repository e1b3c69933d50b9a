"""Keep what was promised to accounts, by whom and until when; and whether it was kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.safe_line import to_safe_line
from features.core.timestamps import from_micros, to_micros
from features.state.account_tables import ACCOUNT_PROMISES
from features.state.database import Store
from monitoring.lifetime.account_tables import AccountTables
from monitoring.lifetime.notes import tidy_text

State = Literal["open", "overdue", "kept", "kept late"]
# Characters that are shown of a text of the company's table.
_LONGEST = 500
_FIELDS = ("made_at", "due", "by", "text", "kept_at")
_c = ACCOUNT_PROMISES.c
_PROMISES = sa.select(_c.id, *(_c[name] for name in _FIELDS)).where(_c.account_id == sa.bindparam("account"))


@dataclass(frozen=True)
class Promise:
    """Something that was promised to an account.

    Args:
        key: Unique among the account's promises.
        made_at: When (µs).
        due: Until when (µs).
        by: Who keeps it; None where not recorded.
        text: What; None where not recorded.
        kept_at: When it was kept (µs); None for not yet.
        known_at: When the promise was known (µs); None for when it was made.
        id: Of one that was recorded here, which may be marked as kept; None of one in the company's table.
    """

    key: str
    made_at: int
    due: int
    by: str | None
    text: str | None
    kept_at: int | None
    known_at: int | None = None
    id: str | None = None

    def find_state(self, now: datetime) -> State:
        """Find whether it was kept, and in time."""
        if self.kept_at is not None:
            return "kept" if self.kept_at <= self.due else "kept late"
        return "overdue" if self.due < to_micros(now) else "open"

    def as_dict(self, now: datetime) -> dict[str, Any]:
        """Return plain data for JSON."""
        plain = asdict(self)
        for name in ("made_at", "due", "kept_at", "known_at"):
            plain[name] = None if plain[name] is None else from_micros(plain[name]).isoformat()
        return plain | {"state": self.find_state(now)}


def read_promises(tables: AccountTables, store: Store) -> list[Promise]:
    """Read the promises to an account: those that are not kept first, by when they are due; then the newest."""
    rows: list[Promise] = []
    if "promises" in tables.tables:
        sql = 'SELECT made_at, due, "by", "text", kept_at, known_at FROM promises WHERE account_id = $account'
        listed = tables.query_company(f"{sql} ORDER BY ALL", account=tables.account_id)
        for n, row in enumerate(listed):
            words = {name: row[name] and to_safe_line(row[name], _LONGEST) for name in ("by", "text")}
            rows.append(Promise(f"table {n:06}", **{**row, **words}))
    with store.reading() as connection:
        found = connection.execute(_PROMISES, {"account": tables.account_id})
        rows += [Promise(r.id, r.made_at, r.due, r.by, r.text, r.kept_at, id=r.id) for r in found]
    return sort_promises(rows)


def sort_promises(promises: Sequence[Promise]) -> list[Promise]:
    """Sort promises: those not kept first, by when they are due; then those kept, the newest first."""
    return sorted(promises, key=lambda p: (p.kept_at is not None, p.due if p.kept_at is None else -p.due, p.key))


def make_promise(  # noqa: PLR0913  # what a promise is
    connection: sa.Connection,
    account_id: str,
    text: str,
    *,
    due: datetime,
    by: str,
    recorded_by: str,
    key: str,
    now: datetime | None = None,
) -> Promise:
    """Record a promise, in the caller's transaction.

    Args:
        connection: A writing transaction.
        account_id: Of the account.
        text: What was promised.
        due: Until when.
        by: Who keeps it.
        recorded_by: Who records it.
        key: Its id.
        now: The instant; by default the clock's.

    Raises:
        GarrisonError: There is no text or nobody to keep it, or it is due before it is made.
    """
    at, words = to_micros(now or datetime.now(UTC)), tidy_text(text, "a promise")
    if not by.strip():
        raise GarrisonError("a promise needs somebody who keeps it", hint="Name them")
    if to_micros(due) <= at:
        raise GarrisonError(
            "a promise can't be due before it is made", found=f"{due:%Y-%m-%d}", hint="Name a day ahead"
        )
    promise = Promise(key, at, to_micros(due), to_safe_line(by, 200), words, None, id=key)
    row = {name: getattr(promise, name) for name in ("id", "made_at", "due", "by", "text")}
    own = {"account_id": account_id, "recorded_by": to_safe_line(recorded_by, 200)}
    connection.execute(sa.insert(ACCOUNT_PROMISES), row | own)
    return promise


def keep_promise(
    connection: sa.Connection, account_id: str, promise_id: str, *, by: str, now: datetime | None = None
) -> None:
    """Mark a promise as kept, in the caller's transaction.

    Raises:
        GarrisonError: There is no such promise, or it was kept already.
    """
    c = ACCOUNT_PROMISES.c
    own = (c.id == promise_id) & (c.account_id == account_id)
    values = {"kept_at": to_micros(now or datetime.now(UTC)), "kept_by": to_safe_line(by, 200)}
    if connection.execute(sa.update(ACCOUNT_PROMISES).where(own, c.kept_at.is_(None)).values(values)).rowcount:
        return
    kept = connection.execute(sa.select(c.kept_at, c.kept_by).where(own)).first()
    if kept is None:
        raise GarrisonError("there is no such promise", hint="Look at the account again")
    raise GarrisonError(
        "this promise was kept already",
        found=f"recorded by {kept.kept_by} on {from_micros(kept.kept_at):%Y-%m-%d %H:%M} UTC",
        hint="Nothing was changed",
    )

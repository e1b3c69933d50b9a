"""Keep who did what to which row, when."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from features.core.safe_line import to_safe_line
from features.core.timestamps import from_micros, to_micros
from features.state.console_tables import CONSOLE_ACTS
from features.state.database import Store
from monitoring.console.sign_in.person import Person


@dataclass(frozen=True)
class Act:
    """One act.

    Args:
        at: When.
        by: Address of who did it.
        roles: Of that person at that instant, joined by commas.
        act: What, such as acknowledge.
        table: Name of the table of the row.
        row: Key of the row.
        details: What else is known, as plain data.
    """

    at: datetime
    by: str
    roles: str
    act: str
    table: str
    row: str
    details: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self) | {"at": self.at.isoformat(), "details": dict(self.details)}


def record_act(  # noqa: PLR0913, PLR0917  # what is kept of it
    connection: sa.Connection, person: Person, act: str, table: str, row: str, details: Mapping[str, Any] | None = None
) -> None:
    """Record an act, in the transaction that does it: both are kept, or neither.

    Args:
        connection: Of that transaction.
        person: Who acts.
        act: What, such as acknowledge.
        table: Name of the table of the row.
        row: Key of the row.
        details: What else to keep, as plain data; no secrets.
    """
    roles = ",".join(sorted(person.roles))
    write_act(connection, person.address, act, table, row, details, roles=roles)


def write_act(  # noqa: PLR0913, PLR0917  # one for each column
    connection: sa.Connection,
    by: str,
    act: str,
    table: str,
    row: str,
    details: Mapping[str, Any] | None = None,
    *,
    roles: str = "",
) -> None:
    """Record an act of somebody who is not signed in yet, such as the sign-in itself."""
    connection.execute(
        sa.insert(CONSOLE_ACTS),
        {
            "id": uuid.uuid4().hex,
            "at": to_micros(datetime.now(UTC)),
            "by": by,
            "roles": roles,
            "act": act,
            "table_name": table,
            "row_id": row,
            "details": dict(details or {}),
        },
    )


def read_acts(
    store: Store, *, by: str | None = None, row: str | None = None, since: datetime | None = None, limit: int = 100
) -> list[Act]:
    """Read acts, newest first.

    Args:
        store: The state database.
        by: Of this person alone.
        row: On the row with this key alone.
        since: From this instant on.
        limit: At most so many.
    """
    c = CONSOLE_ACTS.c
    query = sa.select(c.at, c.by, c.roles, c.act, c.table_name, c.row_id, c.details)
    if by is not None:
        query = query.where(c.by == by.lower())
    if row is not None:
        query = query.where(c.row_id == row)
    if since is not None:
        query = query.where(c.at >= to_micros(since))
    with store.reading() as connection:
        rows = connection.execute(query.order_by(c.at.desc(), c.id).limit(limit)).all()
    return [Act(from_micros(at), *rest) for at, *rest in rows]


def format_acts(acts: list[Act]) -> Iterator[tuple[str, ...]]:
    """Yield an act as cells: when, who, what, on which row, details."""
    for act in acts:
        details = ", ".join(f"{key}: {value}" for key, value in act.details.items())
        yield (
            f"{act.at:%Y-%m-%d %H:%M:%S}",
            to_safe_line(act.by),
            act.act,
            to_safe_line(f"{act.table} {act.row}"),
            to_safe_line(details, 200) if details else "",
        )

"""Read the tickets of the company's tables, as far as they were known at an instant, with the text of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from features.core.safe_line import to_safe_line
from features.core.sql_text import SqlText
from features.core.timestamps import to_micros
from features.definitions.visibility_rule import SQL, Opening, is_outcome_visible, is_visible
from features.sources.history import History

_LONGEST_SUBJECT = 160
# Columns of the contract that a company may not map.
_OPTIONAL = ("subject", "body", "topic", "resolved_at", "reopened")


@dataclass(frozen=True)
class TicketText:
    """A ticket with its text; instants in µs.

    Args:
        ticket_id: Of the ticket.
        account_id: Of its account.
        opened_at: When.
        resolved_at: When; None while it is open.
        reopened: Whether it was opened again.
        subject: Its subject, or the beginning of its text, on one line.
        text: All of it; the topic's name where tickets have no text.
    """

    ticket_id: str
    account_id: str
    opened_at: int
    resolved_at: int | None
    reopened: bool
    subject: str
    text: str

    @property
    def digest(self) -> str:
        """Return a short checksum of the text."""
        return hashlib.blake2b(self.text.encode(), digest_size=8).hexdigest()


def has_texts(history: History) -> bool:
    """Return whether the company's tickets have a subject or a text."""
    return "tickets" in history.tables and not {"subject", "body"}.isdisjoint(_list_columns(history))


def read_tickets(history: History, until: datetime) -> Iterator[TicketText]:
    """Yield the tickets known at an instant, in the order in which they were opened."""
    if "tickets" not in history.tables:
        return
    columns, at = _list_columns(history), to_micros(until)
    wanted = ", ".join(name if name in columns else f"NULL AS {name}" for name in _OPTIONAL)
    opening = Opening(SqlText("opened_at"), SqlText("known_at"), SqlText("first_known_at"))
    resolved = is_outcome_visible(opening, SqlText("resolved_at"), SqlText("resolved_known_at"), SqlText(at), SQL)
    visible = is_visible(opening.opened_at, opening.known_at, SqlText(at))
    sql = f"SELECT ticket_id, account_id, opened_at, coalesce({resolved}, false) AS is_resolved, {wanted} FROM tickets "  # noqa: S608  # names of the contract
    sql += f"WHERE {visible} ORDER BY opened_at, ticket_id"
    for batch in history.query_arrow(sql).to_batches(max_chunksize=20_000):
        for row in batch.to_pylist():
            yield _build_ticket(row)


def _build_ticket(row: dict[str, object]) -> TicketText:
    written = [str(row[name]) for name in ("subject", "body") if row[name]]
    text = "\n".join(written) or str(row["topic"] or "")
    is_resolved = bool(row["is_resolved"]) and row["resolved_at"] is not None
    first = to_safe_line(written[0].split("\n", 1)[0], _LONGEST_SUBJECT) if written else str(row["topic"] or "")
    return TicketText(
        str(row["ticket_id"]),
        str(row["account_id"]),
        int(str(row["opened_at"])),
        int(str(row["resolved_at"])) if is_resolved else None,
        bool(row["reopened"]) and is_resolved,
        first,
        text,
    )


def _list_columns(history: History) -> set[str]:
    return set(history.query("SELECT column_name FROM (DESCRIBE tickets)")["column_name"])

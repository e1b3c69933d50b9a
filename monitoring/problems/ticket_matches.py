"""Find the problems nearest to a ticket that the library knows, or to the newest ones of an account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.timestamps import from_micros
from features.state.problem_tables import PROBLEM_TICKETS
from monitoring.problems import ticket_words
from monitoring.problems.nearest import NearProblem, find_nearest
from monitoring.problems.problem_acts import TOPICS

# What a link says beside the words, in nats: that of a topic, which the ticket's vector chose, and that of a person.
_BY_TOPIC, _BY_PERSON = 3.0, 1_000.0
_c = PROBLEM_TICKETS.c
_OPEN = (
    sa.select(_c.ticket_id, _c.subject, _c.opened_at)
    .where(_c.account_id == sa.bindparam("account"), _c.resolved_at.is_(None))
    .order_by(_c.opened_at.desc(), _c.number)
    .limit(sa.bindparam("most"))
)


@dataclass(frozen=True)
class OpenTicket:
    """An account's ticket that is not resolved, with the problems that it may be about."""

    ticket_id: str
    subject: str
    opened_at: int
    near: tuple[NearProblem, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        near = [match.as_dict() for match in self.near]
        return {
            "ticket_id": self.ticket_id,
            "subject": self.subject,
            "opened_at": from_micros(self.opened_at).isoformat(),
            "near": near,
        }


def find_for_ticket(connection: sa.Connection, ticket_id: str, *, most: int = 3) -> list[NearProblem]:
    """Find the problems nearest to a ticket, the best first; one that it is linked to stands first.

    Raises:
        GarrisonError: The library does not know the ticket.
    """
    c = PROBLEM_TICKETS.c
    query = sa.select(c.number, c.problem_id, c.linked_by).where(c.ticket_id == ticket_id)
    row = connection.execute(query).first()
    if row is None or not ticket_words.has_table(connection):
        hint = "`python -m monitoring problems update` reads new tickets"
        raise GarrisonError(f"the library knows no ticket {ticket_id}", hint=hint)
    words = ticket_words.read_words(connection, [row.number]).get(row.number, [])
    hints = {row.problem_id: _BY_TOPIC if row.linked_by == TOPICS else _BY_PERSON} if row.problem_id else {}
    return find_nearest(connection, " ".join(words), most=most, hints=hints)


def find_for_account(connection: sa.Connection, account_id: str, *, most: int = 3) -> list[OpenTicket]:
    """Find the problems nearest to each of an account's newest open tickets."""
    rows = connection.execute(_OPEN, {"account": account_id, "most": most}).all()
    return [OpenTicket(*row, tuple(find_for_ticket(connection, row.ticket_id))) for row in rows]

"""Take new and changed tickets into the library: their rows, their words, and how often each word is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import sqlalchemy as sa

from features.state.database import Store
from features.state.problem_tables import PROBLEM_TICKETS
from monitoring.problems import ticket_words, token_counts
from monitoring.problems.ticket_texts import TicketText
from monitoring.problems.tokens import tokenize

# Tickets of a transaction: others write between two.
_CHUNK = 10_000


class KnownTicket(NamedTuple):
    """What the library holds of a ticket."""

    number: int
    digest: str
    resolved_at: int | None
    reopened: bool
    problem_id: str | None


@dataclass(frozen=True)
class IndexedTickets:
    """What was taken in: tickets new to the library, with another text, and with another state."""

    new: int
    rewritten: int
    updated: int


def index_tickets(store: Store, tickets: Iterable[TicketText]) -> IndexedTickets:
    """Take tickets into the library; those that it holds as they are cost a look."""
    with store.writing() as connection:
        ticket_words.make_table(connection)
        known = _read_known(connection)
    following = 1 + max((ticket.number for ticket in known.values()), default=0)
    new = rewritten = updated = 0
    for chunk in _divide(_iterate_changed(tickets, known)):
        fresh = [t for t in chunk if t.ticket_id not in known]
        old = [t for t in chunk if t.ticket_id in known]
        changed = [t for t in old if known[t.ticket_id].digest != t.digest]
        numbers = {t.ticket_id: n for n, t in enumerate(fresh, following)}
        following += len(fresh)
        with store.writing() as connection:
            _insert(connection, fresh, numbers)
            _rewrite(connection, changed, known)
            _update(connection, old)
        new, rewritten, updated = new + len(fresh), rewritten + len(changed), updated + len(old)
    return IndexedTickets(new, rewritten, updated)


def _read_known(connection: sa.Connection) -> dict[str, KnownTicket]:
    c = PROBLEM_TICKETS.c
    query = sa.select(c.ticket_id, c.number, c.digest, c.resolved_at, c.reopened, c.problem_id)
    return {row[0]: KnownTicket(*row[1:]) for row in connection.execute(query)}


def _iterate_changed(tickets: Iterable[TicketText], known: Mapping[str, KnownTicket]) -> Iterator[TicketText]:
    for ticket in tickets:
        held = known.get(ticket.ticket_id)
        is_same = held is not None and (held.digest, held.resolved_at, held.reopened) == (
            ticket.digest,
            ticket.resolved_at,
            ticket.reopened,
        )
        if not is_same:
            yield ticket


def _divide(tickets: Iterator[TicketText]) -> Iterator[list[TicketText]]:
    while chunk := list(islice(tickets, _CHUNK)):
        yield chunk


def _insert(connection: sa.Connection, tickets: Sequence[TicketText], numbers: Mapping[str, int]) -> None:
    if not tickets:
        return
    rows = [_build_row(ticket) | {"number": numbers[ticket.ticket_id]} for ticket in tickets]
    connection.execute(sa.insert(PROBLEM_TICKETS), rows)
    words = {numbers[ticket.ticket_id]: tokenize(ticket.text) for ticket in tickets}
    ticket_words.write_words(connection, words.items())
    token_counts.add_tickets(connection, ((None, tokens) for tokens in words.values()))


def _rewrite(connection: sa.Connection, tickets: Sequence[TicketText], known: Mapping[str, KnownTicket]) -> None:
    if not tickets:
        return
    before = ticket_words.read_words(connection, [known[t.ticket_id].number for t in tickets])
    old = ((known[t.ticket_id].problem_id, before.get(known[t.ticket_id].number, [])) for t in tickets)
    token_counts.add_tickets(connection, old, sign=-1)
    now = [(known[t.ticket_id], tokenize(t.text)) for t in tickets]
    ticket_words.write_words(connection, ((held.number, tokens) for held, tokens in now))
    token_counts.add_tickets(connection, ((held.problem_id, tokens) for held, tokens in now))


def _update(connection: sa.Connection, tickets: Sequence[TicketText]) -> None:
    if not tickets:
        return
    changed = ("resolved_at", "reopened", "subject", "digest")
    statement = (
        sa.update(PROBLEM_TICKETS)
        .where(PROBLEM_TICKETS.c.ticket_id == sa.bindparam("_ticket"))
        .values({name: sa.bindparam(f"_{name}") for name in changed})
    )
    rows = [_build_row(ticket) for ticket in tickets]
    values = [{"_ticket": row["ticket_id"]} | {f"_{name}": row[name] for name in changed} for row in rows]
    connection.execute(statement, values)


def _build_row(ticket: TicketText) -> dict[str, object]:
    return {
        "ticket_id": ticket.ticket_id,
        "account_id": ticket.account_id,
        "opened_at": ticket.opened_at,
        "resolved_at": ticket.resolved_at,
        "reopened": ticket.reopened,
        "subject": ticket.subject,
        "digest": ticket.digest,
    }

"""Search the library by words: the problems that fit, and the tickets that have these words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import sqlalchemy as sa

from features.core.timestamps import from_micros
from features.state.problem_tables import PROBLEM_TICKETS, PROBLEM_TOKENS
from monitoring.problems import ticket_words
from monitoring.problems.nearest import NearProblem, find_nearest
from monitoring.problems.token_counts import ALL
from monitoring.problems.tokens import AskedToken, tokenize_query

# Where no ticket has all words: those with any of the rarest so many, of the newest so many, are ranked.
_RAREST, _RANKED = 3, 200
# A word of more tickets than this says too little to look for alone.
_COMMON = 20_000


@dataclass(frozen=True)
class FoundTicket:
    """A ticket that was found: its id, account, subject, problem if it has one, and when it was opened (µs)."""

    ticket_id: str
    account_id: str
    subject: str
    problem_id: str | None
    opened_at: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {**vars(self), "opened_at": from_micros(self.opened_at).isoformat()}


@dataclass(frozen=True)
class SearchResult:
    """What a search found: problems, the best first, and tickets, those with most of the words and the newest first."""

    problems: tuple[NearProblem, ...]
    tickets: tuple[FoundTicket, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "problems": [found.as_dict() for found in self.problems],
            "tickets": [ticket.as_dict() for ticket in self.tickets],
        }


def search_library(
    connection: sa.Connection, text: str, *, problems: int = 5, tickets: int = 10, accounts: Sequence[str] | None = None
) -> SearchResult:
    """Search problems and tickets by words of any language.

    Args:
        connection: To the state database, SQLite or PostgreSQL: both find the same.
        text: What a person typed; the last word may be unfinished.
        problems: At most so many.
        tickets: At most so many.
        accounts: Ids of the accounts whose tickets may be shown; None for all.
    """
    near = find_nearest(connection, text, most=problems, is_query=True)
    return SearchResult(tuple(near), tuple(_find_tickets(connection, tokenize_query(text), tickets, accounts)))


def _find_tickets(
    connection: sa.Connection, asked: Sequence[AskedToken], most: int, accounts: Sequence[str] | None
) -> list[FoundTicket]:
    if not asked or not ticket_words.has_table(connection):
        return []
    given = {"most": most, "accounts": accounts}
    rows = ticket_words.find_by_words(connection, asked, every=True, **given)  # type: ignore[arg-type]  # by name
    if not rows:
        weights = _weigh(connection, asked)
        rare = sorted((t for t in asked if t in weights), key=lambda t: (-weights[t], t.text))[:_RAREST]
        found = ticket_words.find_by_words(connection, rare, every=False, most=_RANKED, accounts=accounts)
        texts = ((set(words), number) for number, words in found)
        ranked = [(sum(w for t, w in weights.items() if t.is_in(words)), number) for words, number in texts]
        rows = [(number, []) for _, number in sorted(ranked, key=lambda pair: (-round(pair[0], 6), -pair[1]))[:most]]
    return _read_found(connection, [number for number, _ in rows])


def _weigh(connection: sa.Connection, asked: Sequence[AskedToken]) -> dict[AskedToken, float]:
    """Weigh tokens by how rare they are; leave out those of no ticket, and of very many."""
    c = PROBLEM_TOKENS.c
    query = sa.select(c.token, c.tickets).where(c.token.in_([t.text for t in asked]), c.problem_id == ALL)
    counts = {token: tickets for token, tickets in connection.execute(query) if tickets > 0}
    return {t: log(1 + 1e6 / counts[t.text]) for t in asked if t.text in counts and counts[t.text] <= _COMMON}


def _read_found(connection: sa.Connection, numbers: Sequence[int]) -> list[FoundTicket]:
    c = PROBLEM_TICKETS.c
    columns = (c.number, c.ticket_id, c.account_id, c.subject, c.problem_id, c.opened_at)
    rows = {
        row[0]: FoundTicket(*row[1:]) for row in connection.execute(sa.select(*columns).where(c.number.in_(numbers)))
    }
    return [rows[number] for number in numbers if number in rows]

"""Count in how many tickets each token is: of all tickets, and of each problem's."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from features.state.problem_tables import PROBLEM_TOKENS
from monitoring.problems import ticket_words
from monitoring.problems.tokens import is_unspaced

# Stand in for all tickets, and for those that have a token of a script; no token is like them.
ALL, SPACED, UNSPACED = "", "#spaced", "#unspaced"
_ROWS = 5_000


def list_counted(tokens: Iterable[str]) -> list[str]:
    """Return the tokens of a ticket with the marks of its scripts."""
    listed = list(tokens)
    marks = {UNSPACED if is_unspaced(token) else SPACED for token in listed}
    return [*listed, *sorted(marks)]


def add_tickets(connection: sa.Connection, texts: Iterable[tuple[str | None, Sequence[str]]], *, sign: int = 1) -> None:
    """Add tickets to the counts, or with sign -1 take them out, in a writing transaction.

    Args:
        connection: Of that transaction.
        texts: Problem and tokens of each ticket; None for no problem.
        sign: 1 or -1.
    """
    counts = defaultdict[str, Counter[str]](Counter)
    for problem, tokens in texts:
        counted = list_counted(tokens)
        counts[ALL].update(counted)
        if problem:
            counts[problem].update(counted)
    _write(connection, counts, sign)


def move_tickets(connection: sa.Connection, moves: Mapping[int, tuple[str | None, str | None]]) -> None:
    """Move tickets, by their numbers, from one problem's counts to another's; None is no problem's."""
    moved = {number: ends for number, ends in moves.items() if ends[0] != ends[1]}
    if not moved or not ticket_words.has_table(connection):
        return
    words = ticket_words.read_words(connection, list(moved))
    for sign, end in ((-1, 0), (1, 1)):
        counts = defaultdict[str, Counter[str]](Counter)
        for number, ends in moved.items():
            if (problem := ends[end]) and number in words:
                counts[problem].update(list_counted(words[number]))
        _write(connection, counts, sign)


def move_all(connection: sa.Connection, source: str, target: str) -> None:
    """Move all of a problem's counts to another one's."""
    c = PROBLEM_TOKENS.c
    rows = connection.execute(sa.select(c.token, c.tickets).where(c.problem_id == source))
    _write(connection, {target: Counter({row.token: row.tickets for row in rows})}, 1)
    connection.execute(sa.delete(PROBLEM_TOKENS).where(c.problem_id == source))


def _write(connection: sa.Connection, counts: Mapping[str, Counter[str]], sign: int) -> None:
    insert = (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(PROBLEM_TOKENS)
    added = {"tickets": PROBLEM_TOKENS.c.tickets + insert.excluded.tickets}
    statement = insert.on_conflict_do_update(index_elements=["token", "problem_id"], set_=added)
    rows = [
        {"token": token, "problem_id": problem, "tickets": sign * tickets}
        for problem, tokens in counts.items()
        for token, tickets in sorted(tokens.items())
    ]
    for start in range(0, len(rows), _ROWS):
        connection.execute(statement, rows[start : start + _ROWS])

"""Keep the tokens of tickets in the full-text table of the database's own kind, and find tickets by them.

SQLite has them in an FTS5 table, PostgreSQL in a tsvector under a GIN index. Neither cuts the texts itself: both get
the same tokens, so that both find the same tickets. The table is made when it is first needed; `build` fills it anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from monitoring.problems.tokens import AskedToken

_TABLE = "problem_ticket_words"
_MADE = {
    # The tokens hold letters and digits alone, which unicode61 does not cut.
    "sqlite": (
        "CREATE VIRTUAL TABLE IF NOT EXISTS problem_ticket_words"
        " USING fts5(tokens, detail=none, tokenize='unicode61 remove_diacritics 0', prefix='1 3 4')"
    ),
    "postgresql": (
        "CREATE TABLE IF NOT EXISTS problem_ticket_words (number integer PRIMARY KEY, tokens text NOT NULL,"
        " words tsvector);"
        " CREATE INDEX IF NOT EXISTS problem_ticket_words_words"
        " ON problem_ticket_words USING gin (words) WITH (fastupdate = off)"
    ),
}
_WRITES = {
    "sqlite": "INSERT INTO problem_ticket_words (rowid, tokens) VALUES (:number, :tokens)",
    "postgresql": (
        "INSERT INTO problem_ticket_words (number, tokens, words)"
        " VALUES (:number, :tokens, array_to_tsvector(string_to_array(:tokens, ' ')))"
    ),
}
_NUMBER = {"sqlite": "rowid", "postgresql": "number"}
_MATCH = {"sqlite": f"{_TABLE} MATCH :asked", "postgresql": "words @@ CAST(:asked AS tsquery)"}
# Numbers of a statement.
_CHUNK = 5_000
# SQL of the reading side: the newest first.
_FIND = "SELECT {number} AS number, tokens FROM {table} WHERE {match}{within} ORDER BY {number} DESC LIMIT :most"
_PLAIN = re.compile(r"[\w]+")


def make_table(connection: sa.Connection) -> None:
    """Make the full-text table where it is missing, in a writing transaction."""
    for statement in _MADE[connection.dialect.name].split(";"):
        connection.execute(sa.text(statement))


def has_table(connection: sa.Connection) -> bool:
    """Return whether the full-text table was made."""
    return sa.inspect(connection).has_table(_TABLE)


def write_words(connection: sa.Connection, rows: Iterable[tuple[int, Sequence[str]]]) -> None:
    """Write the tokens of tickets by their numbers, in place of earlier ones, in a writing transaction."""
    named = [{"number": number, "tokens": " ".join(tokens)} for number, tokens in rows]
    if named:
        delete_words(connection, [row["number"] for row in named])  # type: ignore[misc]  # numbers
        connection.execute(sa.text(_WRITES[connection.dialect.name]), named)


def delete_words(connection: sa.Connection, numbers: Sequence[int]) -> None:
    """Delete the tokens of tickets by their numbers."""
    key = _NUMBER[connection.dialect.name]
    if numbers:
        connection.execute(sa.text(f"DELETE FROM {_TABLE} WHERE {key} = :n"), [{"n": n} for n in numbers])  # noqa: S608  # constants


def read_words(connection: sa.Connection, numbers: Sequence[int]) -> dict[int, list[str]]:
    """Read the tokens of tickets by their numbers."""
    key, found = _NUMBER[connection.dialect.name], dict[int, list[str]]()
    for start in range(0, len(numbers), _CHUNK):
        listed = ", ".join(str(int(n)) for n in numbers[start : start + _CHUNK])
        rows = connection.execute(sa.text(f"SELECT {key}, tokens FROM {_TABLE} WHERE {key} IN ({listed})"))  # noqa: S608  # numbers
        found |= {int(number): tokens.split(" ") for number, tokens in rows}
    return found


def find_by_words(
    connection: sa.Connection,
    asked: Sequence[AskedToken],
    *,
    every: bool,
    most: int,
    accounts: Sequence[str] | None = None,
) -> list[tuple[int, list[str]]]:
    """Find tickets by their tokens, those that came last first.

    Args:
        connection: To SQLite or PostgreSQL.
        asked: Tokens; none finds nothing.
        every: Whether all of them must match, or any.
        most: At most so many.
        accounts: Ids of the accounts to look among; None for all.

    Returns:
        Number and tokens of each.
    """
    if not asked or (accounts is not None and not accounts):
        return []
    dialect = connection.dialect.name
    key, values = _NUMBER[dialect], {"asked": _write_query(asked, dialect, every=every), "most": most}
    within = ""
    binds: list[sa.BindParameter[Any]] = []
    if accounts is not None:
        own = "SELECT number FROM problem_tickets WHERE account_id IN :accounts"
        within, binds = f" AND {key} IN ({own})", [sa.bindparam("accounts", list(accounts), expanding=True)]
    sql = _FIND.format(number=key, table=_TABLE, match=_MATCH[dialect], within=within)
    rows = connection.execute(sa.text(sql).bindparams(*binds), values)
    return [(int(row.number), row.tokens.split(" ")) for row in rows]


def _write_query(asked: Sequence[AskedToken], dialect: str, *, every: bool) -> str:
    """Write the match expression of a database; tokens hold letters and digits alone, and are quoted besides."""
    tokens = [token for token in asked if _PLAIN.fullmatch(token.text)]
    if dialect == "sqlite":
        return (" AND " if every else " OR ").join(f'"{t.text}"{" *" if t.is_prefix else ""}' for t in tokens)
    return (" & " if every else " | ").join(f"'{t.text}'{':*' if t.is_prefix else ''}" for t in tokens)

"""Read the library: problems, their fixes, and what happened to them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.timestamps import from_micros
from features.state.database import Store
from features.state.problem_tables import PROBLEM_EVENTS, PROBLEM_FIXES, PROBLEM_TICKETS, PROBLEMS

NEW, KNOWN, WORKAROUND, FIXED = "new", "known", "workaround", "fixed"
STATES = (NEW, KNOWN, WORKAROUND, FIXED)
_INSTANTS = ("made_at", "fixed_at", "reopened_at", "first_seen", "last_seen")


@dataclass(frozen=True)
class Problem:
    """A known cause behind tickets; instants in µs.

    Args:
        id: Of the problem.
        names: What people call it, by language.
        cause: What is behind it; None before anybody found out.
        owner: Address of who answers for it.
        team: Address of the team whose part the cause is.
        state: new, known, workaround or fixed.
        topic_id: The topic that it was made from; None where a person made it.
        made_at: When it came into the library.
        made_by: `topics`, or a person.
        fixed_at: Since when its cause should be gone.
        reopened_at: When it was found that it is not gone.
        effect: Of its fix, as the last update measured it: plain data of a `FixEffect`.
        first_seen: Its first ticket.
        last_seen: Its last ticket.
        tickets: Their number.
        accounts: Accounts that it hit.
        repeats: Tickets of an account that had it before.
        version: Grows by each act.
    """

    id: str
    names: Mapping[str, str]
    cause: str | None
    owner: str | None
    team: str | None
    state: str
    topic_id: str | None
    made_at: int
    made_by: str
    fixed_at: int | None
    reopened_at: int | None
    effect: Mapping[str, Any] | None
    first_seen: int | None
    last_seen: int | None
    tickets: int
    accounts: int
    repeats: int
    version: int

    @property
    def name(self) -> str:
        """Return the English name, or else any."""
        return self.get_name()

    def get_name(self, language: str = "en") -> str:
        """Return the name in a language, or else in any."""
        return self.names.get(language) or next(iter(self.names.values()), self.id)

    @property
    def shown_state(self) -> str:
        """Return the state as people see it: one that came back after its fix says so."""
        return "reopened" if self.reopened_at is not None and self.state != FIXED else self.state

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        plain = asdict(self) | {"names": dict(self.names), "name": self.name, "shown_state": self.shown_state}
        return plain | {n: from_micros(plain[n]).isoformat() for n in _INSTANTS if plain[n] is not None}


@dataclass(frozen=True)
class Fix:
    """What removes a problem, in words for the person who answers a ticket.

    Args:
        id: Of the fix.
        problem_id: Of its problem.
        texts: By language, `en` or `zh_Hans`.
        since: From when it is known (µs).
        by: Who wrote it.
        worked: Tickets that were resolved with it and did not return.
        failed: Tickets that did.
    """

    id: str
    problem_id: str
    texts: Mapping[str, str]
    since: int
    by: str
    worked: int
    failed: int

    def get_text(self, language: str) -> str:
        """Return the text in a language, or else in any."""
        return self.texts.get(language) or next(iter(self.texts.values()), "")

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self) | {"texts": dict(self.texts), "since": from_micros(self.since).isoformat()}


@dataclass(frozen=True)
class ProblemEvent:
    """Something that happened to a problem: when (µs), by whom, what, and what else is known."""

    at: int
    by: str
    event: str
    details: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self) | {"at": from_micros(self.at).isoformat(), "details": dict(self.details)}


@dataclass(frozen=True)
class LinkedTicket:
    """A ticket of a problem: its id, account, subject, and when it was opened and resolved (µs)."""

    ticket_id: str
    account_id: str
    opened_at: int
    resolved_at: int | None
    subject: str
    linked_by: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        ends = {"opened_at": from_micros(self.opened_at).isoformat()}
        ends["resolved_at"] = from_micros(self.resolved_at).isoformat() if self.resolved_at else ""
        return asdict(self) | ends


_COLUMNS = [PROBLEMS.c[field.name] for field in fields(Problem)]
_FIX_COLUMNS = [PROBLEM_FIXES.c[field.name] for field in fields(Fix)]
_TICKET_COLUMNS = [PROBLEM_TICKETS.c[field.name] for field in fields(LinkedTicket)]


def read_problems(connection: sa.Connection, ids: Collection[str] | None = None) -> list[Problem]:
    """Read problems that were not merged into others, those with the most tickets first.

    Args:
        connection: To the state database.
        ids: Of these alone.
    """
    query = sa.select(*_COLUMNS).where(PROBLEMS.c.merged_into.is_(None))
    if ids is not None:
        query = query.where(PROBLEMS.c.id.in_(ids))
    return [Problem(*row) for row in connection.execute(query.order_by(PROBLEMS.c.tickets.desc(), PROBLEMS.c.id))]


def find_problem(connection: sa.Connection, name: str) -> Problem:
    """Find a problem by its id, the beginning of it, or its name; one that was merged leads to the one it became.

    Raises:
        GarrisonError: There is none, or several.
    """
    rows = [Problem(*row) for row in connection.execute(sa.select(*_COLUMNS).where(PROBLEMS.c.merged_into.is_(None)))]
    tests = (
        lambda problem: problem.id == name,
        lambda problem: name.casefold() in {said.casefold() for said in problem.names.values()},
        lambda problem: bool(name) and problem.id.casefold().startswith(name.casefold()),
    )
    found = next((matches for test in tests if (matches := [row for row in rows if test(row)])), [])
    if not found:
        became = connection.scalar(sa.select(PROBLEMS.c.merged_into).where(PROBLEMS.c.id == name))
        if became:
            return find_problem(connection, became)
    if len(found) != 1:
        ids = ", ".join(sorted(row.id for row in found)[:5]) or None
        problem = f"several problems are called {name!r}" if found else f"there is no problem {name!r}"
        raise GarrisonError(problem, found=ids, hint="`python -m monitoring problems list` names them")
    return found[0]


def read_fixes(connection: sa.Connection, problems: Collection[str]) -> dict[str, list[Fix]]:
    """Read the fixes of problems, the one that worked in the largest share of its tickets first."""
    found: dict[str, list[Fix]] = {problem: [] for problem in problems}
    query = sa.select(*_FIX_COLUMNS).where(PROBLEM_FIXES.c.problem_id.in_(list(problems)))
    for row in connection.execute(query.order_by(PROBLEM_FIXES.c.since.desc(), PROBLEM_FIXES.c.id)):
        found[row.problem_id].append(Fix(*row))
    for fixes in found.values():
        fixes.sort(key=lambda fix: -(fix.worked + 1) / (fix.worked + fix.failed + 2))  # half where nothing is known
    return found


def read_events(store: Store, problem_id: str, *, limit: int = 50) -> list[ProblemEvent]:
    """Read what happened to a problem, newest first."""
    c = PROBLEM_EVENTS.c
    query = sa.select(c.at, c.by, c.event, c.details).where(c.problem_id == problem_id)
    with store.reading() as connection:
        return [ProblemEvent(*row) for row in connection.execute(query.order_by(c.at.desc(), c.id).limit(limit))]


def read_linked(
    connection: sa.Connection, problem_id: str, *, limit: int = 20, accounts: Sequence[str] | None = None
) -> list[LinkedTicket]:
    """Read the tickets of a problem, newest first; of these accounts alone, where some are named."""
    c = PROBLEM_TICKETS.c
    query = sa.select(*_TICKET_COLUMNS).where(c.problem_id == problem_id)
    if accounts is not None:
        query = query.where(c.account_id.in_(accounts))
    return [LinkedTicket(*r) for r in connection.execute(query.order_by(c.opened_at.desc(), c.number).limit(limit))]


def find_account(connection: sa.Connection, ticket_id: str) -> str:
    """Find the account of a ticket.

    Raises:
        GarrisonError: The library does not know the ticket.
    """
    c = PROBLEM_TICKETS.c
    account = connection.scalar(sa.select(c.account_id).where(c.ticket_id == ticket_id))
    if account is None:
        hint = "`python -m monitoring problems update` reads new tickets"
        raise GarrisonError(f"the library knows no ticket {ticket_id}", hint=hint)
    return str(account)


def read_account_problems(connection: sa.Connection, account_id: str, *, since: int) -> list[tuple[Problem, int]]:
    """Read the problems of an account's tickets since an instant (µs), and their number, the most first."""
    c = PROBLEM_TICKETS.c
    mine = (c.account_id == account_id) & (c.opened_at >= since) & c.problem_id.is_not(None)
    query = sa.select(c.problem_id, sa.func.count()).where(mine).group_by(c.problem_id)
    counts = {row[0]: int(row[1]) for row in connection.execute(query)}
    problems = read_problems(connection, list(counts)) if counts else []
    return sorted(((p, counts[p.id]) for p in problems), key=lambda pair: (-pair[1], pair[0].id))

"""Let people name problems, say who answers for them, merge them, link tickets, and give fixes; every act is kept."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from features.core.addresses import parse_address
from features.core.errors import GarrisonError
from features.core.language import LANGUAGES
from features.core.safe_line import to_safe_line, to_safe_text
from features.core.timestamps import to_micros
from features.state.problem_tables import PROBLEM_EVENTS, PROBLEM_FIXES, PROBLEM_TICKETS, PROBLEMS
from monitoring.problems import token_counts
from monitoring.problems.library import FIXED, KNOWN, NEW, STATES, WORKAROUND, Problem, find_problem

TOPICS = "topics"  # who links tickets and makes problems where no person does
_LONGEST_NAME, _LONGEST_TEXT = 120, 10_000


def make_problem(  # noqa: PLR0913  # what a problem is
    connection: sa.Connection,
    name: str,
    *,
    by: str,
    cause: str = "",
    team: str = "",
    key: str | None = None,
    now: datetime | None = None,
) -> Problem:
    """Make a problem that people know of, in a writing transaction.

    Raises:
        GarrisonError: It has no name, or its team no address.
    """
    problem_id = key or f"P-{uuid.uuid4().hex[:8]}"
    names = _read_names(name)
    given = {"names": names, "cause": _tidy_text(cause) or None, "team": _read_address(team)}
    row = {"id": problem_id, "state": KNOWN, "made_at": _at(now), "made_by": by, **given}
    connection.execute(sa.insert(PROBLEMS), row)
    record_event(connection, problem_id, "made", by=by, details=names, now=now)
    return find_problem(connection, problem_id)


def change_problem(
    connection: sa.Connection, problem: Problem, changes: Mapping[str, str], *, by: str, now: datetime | None = None
) -> Problem:
    """Change what people say of a problem, in a writing transaction.

    Args:
        connection: Of that transaction.
        problem: As the person saw it.
        changes: Any of name, cause, owner, team and state; what is not named stays.
        by: Who.
        now: The instant; by default the clock's.

    Raises:
        GarrisonError: A value can't be, or somebody changed the problem meanwhile.
    """
    readers = {"names": _read_names, "cause": _tidy_text, "owner": _read_address, "team": _read_address}
    given = {"names" if name == "name" else name: value for name, value in changes.items()}
    values: dict[str, Any] = {name: read(given[name]) or None for name, read in readers.items() if name in given}
    state = given.get("state", "")
    if state:
        if state not in STATES:
            raise GarrisonError(f"a problem can't be {state!r}", hint=f"One of {', '.join(STATES)}")
        values |= {"state": state} | ({"fixed_at": _at(now)} if state == FIXED and problem.state != FIXED else {})
    changed = {name: value for name, value in values.items() if value != getattr(problem, name)}
    if changed and problem.state == NEW and "state" not in changed:
        changed["state"] = KNOWN  # somebody looked at it
    if not changed:
        return problem
    _update(connection, problem, changed)
    said = {name: value for name, value in changed.items() if name != "fixed_at"}
    record_event(connection, problem.id, "changed", by=by, details=said, now=now)
    return find_problem(connection, problem.id)


def give_fix(  # noqa: PLR0913  # what a fix is
    connection: sa.Connection,
    problem: Problem,
    texts: Mapping[str, str],
    *,
    by: str,
    removes_cause: bool = False,
    key: str | None = None,
    now: datetime | None = None,
) -> str:
    """Give a problem a fix, in a writing transaction; returns its id.

    Args:
        connection: Of that transaction.
        problem: As the person saw it.
        texts: By language; at least one.
        by: Who.
        removes_cause: Whether the cause is gone from now on, so that the rate should fall; else it is a workaround.
        key: Its id; by default a new one.
        now: The instant; by default the clock's.

    Raises:
        GarrisonError: There is no text, a language is none of ours, or somebody changed the problem meanwhile.
    """
    tidy = {language: text for language, given in texts.items() if (text := _tidy_text(given))}
    if not tidy or not set(tidy) <= set(LANGUAGES):
        raise GarrisonError("a fix needs a text", hint=f"Write one in any of {', '.join(LANGUAGES)}")
    fix_id, at = key or uuid.uuid4().hex, _at(now)
    connection.execute(
        sa.insert(PROBLEM_FIXES), {"id": fix_id, "problem_id": problem.id, "texts": tidy, "since": at, "by": by}
    )
    is_fixed = removes_cause or problem.state == FIXED
    fixed = {"state": FIXED, "fixed_at": at} if removes_cause else {}
    _update(connection, problem, fixed or {"state": FIXED if is_fixed else WORKAROUND})
    details = {"fix": fix_id, "removes_cause": removes_cause, **{k: v[:500] for k, v in tidy.items()}}
    record_event(connection, problem.id, "fix given", by=by, details=details, now=now)
    return fix_id


def merge_problems(
    connection: sa.Connection, source: Problem, target: Problem, *, by: str, now: datetime | None = None
) -> Problem:
    """Merge a problem into another one, with its tickets and fixes, in a writing transaction.

    Raises:
        GarrisonError: Both are the same, or somebody changed one of them meanwhile.
    """
    if source.id == target.id:
        raise GarrisonError("a problem can't be merged into itself", found=source.name, hint="Name another one")
    _update(connection, source, {"merged_into": target.id, "tickets": 0, "accounts": 0, "repeats": 0})
    _update(connection, target, {"state": KNOWN if target.state == NEW else target.state})
    connection.execute(sa.update(PROBLEMS).where(PROBLEMS.c.merged_into == source.id).values(merged_into=target.id))
    for table in (PROBLEM_TICKETS, PROBLEM_FIXES):
        moved = sa.update(table).where(table.c.problem_id == source.id)
        connection.execute(moved.values(problem_id=target.id))
    token_counts.move_all(connection, source.id, target.id)
    for problem, other in ((source, target), (target, source)):
        event = "merged into" if problem is source else "took in"
        record_event(connection, problem.id, event, by=by, details={"problem": other.id, "name": other.name}, now=now)
    return find_problem(connection, target.id)


def link_tickets(  # noqa: PLR0913  # who links what to what
    connection: sa.Connection,
    problem: Problem | None,
    tickets: Sequence[str],
    *,
    by: str,
    fix_id: str | None = None,
    now: datetime | None = None,
) -> int:
    """Link tickets to a problem, or to none, in a writing transaction; topics never change this again.

    Args:
        connection: Of that transaction.
        problem: None takes the link away.
        tickets: Their ids.
        by: Who.
        fix_id: The fix that was used on them, if a person says so.
        now: The instant; by default the clock's.

    Returns:
        The number of tickets that are known.

    Raises:
        GarrisonError: None of the tickets is known to the library.
    """
    c = PROBLEM_TICKETS.c
    known = connection.execute(sa.select(c.number, c.problem_id).where(c.ticket_id.in_(list(tickets)))).all()
    if not known:
        hint = "`python -m monitoring problems update` reads new tickets"
        raise GarrisonError("no such ticket is known", found=", ".join(tickets)[:200], hint=hint)
    target = problem.id if problem else None
    token_counts.move_tickets(connection, {row.number: (row.problem_id, target) for row in known})
    values = {"problem_id": target, "linked_by": by, "fix_id": fix_id}
    connection.execute(sa.update(PROBLEM_TICKETS).where(c.number.in_([row.number for row in known])).values(values))
    if problem:
        details = {"tickets": list(tickets)[:50], **({"fix": fix_id} if fix_id else {})}
        record_event(connection, problem.id, "tickets linked", by=by, details=details, now=now)
    lost = Counter(row.problem_id for row in known if row.problem_id and row.problem_id != target)
    for other, number in lost.items():
        record_event(connection, other, "tickets taken away", by=by, details={"tickets": number}, now=now)
    return len(known)


def record_event(  # noqa: PLR0913  # what is kept of it
    connection: sa.Connection,
    problem_id: str,
    event: str,
    *,
    by: str,
    details: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> None:
    """Record what happened to a problem, in the transaction that does it."""
    row = {"id": uuid.uuid4().hex, "problem_id": problem_id, "at": _at(now), "by": to_safe_line(by, 200)}
    connection.execute(sa.insert(PROBLEM_EVENTS), row | {"event": event, "details": dict(details or {})})


def _update(connection: sa.Connection, problem: Problem, values: Mapping[str, Any]) -> None:
    """Update a problem that nobody changed since it was read.

    Raises:
        GarrisonError: Somebody did.
    """
    c = PROBLEMS.c
    same = (c.id == problem.id) & (c.version == problem.version) & c.merged_into.is_(None)
    changed = sa.update(PROBLEMS).where(same).values({**values, "version": problem.version + 1})
    if not connection.execute(changed).rowcount:
        raise GarrisonError("this problem has changed since you saw it", found=problem.name, hint="Look at it again")


def _read_names(name: str) -> dict[str, str]:
    tidy = to_safe_line(name.strip(), _LONGEST_NAME) if name.strip() else ""
    if not tidy:
        raise GarrisonError("a problem needs a name", hint="Write what people would call it")
    return dict.fromkeys(LANGUAGES, tidy)


def _tidy_text(text: str) -> str:
    tidy = to_safe_text(text.replace("\r\n", "\n")).strip()
    if len(tidy) > _LONGEST_TEXT:
        raise GarrisonError("this text is too long", found=f"{len(tidy):,} characters", hint="Write at most 10,000")
    return tidy


def _read_address(text: str) -> str | None:
    if not text.strip():
        return None
    if (address := parse_address(text.strip())) is None:
        raise GarrisonError("this is not one e-mail address", found=repr(text[:80]), hint="Write name@example.com")
    return address


def _at(now: datetime | None) -> int:
    return to_micros(now or datetime.now(UTC))

"""Count a problem's tickets, accounts and repeats, and how often its fixes worked: resolved without a return."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from typing import Any

import sqlalchemy as sa

from features.core.timestamps import DAY
from features.state.problem_tables import PROBLEM_FIXES, PROBLEM_TICKETS, PROBLEMS


def count_all(connection: sa.Connection, *, days: int, now: int) -> None:
    """Count anew, in a writing transaction.

    Args:
        connection: Of that transaction.
        days: Within so many days after a ticket was resolved, another one of its account and problem is a return.
        now: The instant (µs): a ticket resolved less than so many days before it is not counted yet.
    """
    c = PROBLEM_TICKETS.c
    counts = sa.select(
        c.problem_id,
        sa.func.min(c.opened_at).label("first_seen"),
        sa.func.max(c.opened_at).label("last_seen"),
        sa.func.count().label("tickets"),
        sa.func.count(c.account_id.distinct()).label("accounts"),
    ).where(c.problem_id.is_not(None))
    rows = {row.problem_id: row for row in connection.execute(counts.group_by(c.problem_id))}
    connection.execute(sa.update(PROBLEMS).values(first_seen=None, last_seen=None, tickets=0, accounts=0, repeats=0))
    values = [
        {
            "_id": problem,
            "_first": row.first_seen,
            "_last": row.last_seen,
            "_tickets": row.tickets,
            "_accounts": row.accounts,
            # Each account's first ticket of a problem is none.
            "_repeats": row.tickets - row.accounts,
        }
        for problem, row in sorted(rows.items())
    ]
    if values:
        named = {"first_seen": "_first", "last_seen": "_last", "tickets": "_tickets", "accounts": "_accounts"}
        binds: dict[str, sa.BindParameter[Any]] = {
            name: sa.bindparam(bind) for name, bind in (named | {"repeats": "_repeats"}).items()
        }
        connection.execute(sa.update(PROBLEMS).where(PROBLEMS.c.id == sa.bindparam("_id")).values(binds), values)
    _count_fixes(connection, days, now)


def _count_fixes(connection: sa.Connection, days: int, now: int) -> None:
    f = PROBLEM_FIXES.c
    by_problem = defaultdict[str, list[tuple[int, str]]](list)
    for problem, since, fix in connection.execute(sa.select(f.problem_id, f.since, f.id).order_by(f.since, f.id)):
        by_problem[problem].append((since, fix))
    worked, failed = Counter[str](), Counter[str]()
    for problem, fixes in by_problem.items():
        begins = [since for since, _ in fixes]
        for row in connection.execute(_select_resolved(problem)):
            if row.resolved_at + days * DAY > now:
                continue
            place = bisect_right(begins, row.resolved_at) - 1
            fix = row.fix_id or (fixes[place][1] if place >= 0 else None)
            if fix is None:
                continue
            is_back = row.reopened or (row.following is not None and row.following <= row.resolved_at + days * DAY)
            (failed if is_back else worked)[fix] += 1
    values = [
        {"_id": fix, "_worked": worked[fix], "_failed": failed[fix]}
        for fixes in by_problem.values()
        for _, fix in fixes
    ]
    if values:
        changed = sa.update(PROBLEM_FIXES).where(f.id == sa.bindparam("_id"))
        counted = changed.values(worked=sa.bindparam("_worked"), failed=sa.bindparam("_failed"))
        connection.execute(counted, values)


def _select_resolved(problem: str) -> sa.Select[Any]:
    """Select a problem's resolved tickets, each with the opening of its account's next one of the same problem."""
    c = PROBLEM_TICKETS.c
    following = sa.func.lead(c.opened_at).over(partition_by=c.account_id, order_by=(c.opened_at, c.number))
    tickets = (
        sa.select(c.resolved_at, c.reopened, c.fix_id, following.label("following"))
        .where(c.problem_id == problem)
        .subquery()
    )
    return sa.select(tickets).where(tickets.c.resolved_at.is_not(None))

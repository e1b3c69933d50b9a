"""Read what a period's report tells of service: repeats, the fixes that worked, and what serving cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from features.core.timestamps import DAY, to_micros
from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from features.state.problem_tables import PROBLEM_FIXES, PROBLEM_TICKETS
from monitoring.cost_to_serve.service_tickets import read_service_tickets
from monitoring.journey.costly_topics import CostlyTopics, read_costly_topics
from monitoring.journey.ticket_costs import cost_tickets, read_staff
from monitoring.problems.library import read_problems

_SHOWN = 3


@dataclass(frozen=True)
class WorkedFix:
    """A fix that worked: its problem and text, and how often."""

    problem_id: str
    problem: str
    text: str
    worked: int
    failed: int


@dataclass(frozen=True)
class ServicePart:
    """The service of a period.

    Args:
        tickets: Opened in it.
        known: Of these, tickets of a known problem.
        repeats: Of these, tickets of an account that had the problem before.
        reopened: Names of problems whose fix did not hold, found in the period.
        fixes: Those that worked most often so far.
        cost: Money of the tickets; None where no rate is known.
        measured: Share of the tickets whose cost is measured.
        costly: Topics that are said to cost accounts; None before there is a map with effects.
    """

    tickets: int
    known: int
    repeats: int
    reopened: tuple[str, ...]
    fixes: tuple[WorkedFix, ...]
    cost: float | None
    measured: float
    costly: CostlyTopics | None = None

    def lines(self, currency: str) -> Iterator[str]:
        """Yield the lines for the terminal."""
        if self.known:
            yield f"Tickets with a known problem: {self.known:,}, of these repeats {self.repeats:,}"
        yield from (f"  reopened: {name}" for name in self.reopened)
        for fix in self.fixes:
            yield f"  {fix.problem}: a fix worked {fix.worked:,} of {fix.worked + fix.failed:,} times"
        if self.cost is not None:
            yield f"Cost to serve: {currency} {self.cost:,.0f} for {self.tickets:,} tickets"
        if self.costly:
            yield from self.costly.lines(currency)


def read_service(
    settings: Settings, store: Store, history: History, since: datetime, until: datetime
) -> ServicePart | None:
    """Read the service of a period; None where there are no tickets."""
    if "tickets" not in history.tables:
        return None
    begin, end = to_micros(since), to_micros(until)
    tickets = read_service_tickets(history, until, days=-(-(end - begin) // DAY))
    costs = cost_tickets(settings, tickets[tickets["opened_at"] >= begin], read_staff(history))
    measured = float(costs.frame["is_measured"].mean()) if len(costs.frame) else 1.0
    cost = float(costs.frame["cost"].sum()) if costs.has_costs else None
    with store.reading() as connection:
        known, repeats = _count_repeats(connection, begin, end)
        problems = {problem.id: problem for problem in read_problems(connection)}
        f = PROBLEM_FIXES.c
        query = sa.select(f.problem_id, f.texts, f.worked, f.failed).where(f.worked > f.failed)
        rows = connection.execute(query.order_by(f.worked.desc(), f.id).limit(_SHOWN)).all()
    fixes = tuple(
        WorkedFix(row.problem_id, problems[row.problem_id].name, str(next(iter(row.texts.values()))), *row[2:])
        for row in rows
        if row.problem_id in problems
    )
    back = tuple(p.name for p in problems.values() if p.reopened_at is not None and begin <= p.reopened_at <= end)
    return ServicePart(
        len(costs.frame), known, repeats, back, fixes, cost, measured, read_costly_topics(settings, store)
    )


def _count_repeats(connection: sa.Connection, begin: int, end: int) -> tuple[int, int]:
    """Count the tickets of a period with a known problem, and those whose account had it before."""
    ticket, earlier = PROBLEM_TICKETS.alias("ticket"), PROBLEM_TICKETS.alias("earlier")
    inside = ticket.c.problem_id.is_not(None) & (ticket.c.opened_at >= begin) & (ticket.c.opened_at < end)
    is_same = (earlier.c.problem_id == ticket.c.problem_id) & (earlier.c.account_id == ticket.c.account_id)
    is_before = sa.exists().where(is_same, earlier.c.opened_at < ticket.c.opened_at)
    known = connection.scalar(sa.select(sa.func.count()).select_from(ticket).where(inside)) or 0
    repeats = connection.scalar(sa.select(sa.func.count()).select_from(ticket).where(inside, is_before)) or 0
    return int(known), int(repeats)

"""Put together what is known of one problem, for a page or the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from features.core.safe_line import to_safe_line
from features.core.timestamps import from_micros
from features.settings import Settings
from features.state.database import Store
from features.state.problem_tables import PROBLEM_TICKETS
from monitoring.problems import fix_counts
from monitoring.problems.library import (
    Fix,
    LinkedTicket,
    Problem,
    ProblemEvent,
    find_problem,
    read_events,
    read_fixes,
    read_linked,
)
from monitoring.problems.problem_money import ProblemMoney, read_money


@dataclass(frozen=True)
class ProblemFile:
    """What is known of a problem.

    Args:
        problem: Which.
        fixes: The one that worked best first.
        tickets: Its newest.
        events: What happened to it, newest first.
        money: What its topic costs; None where the map does not say.
    """

    problem: Problem
    fixes: tuple[Fix, ...]
    tickets: tuple[LinkedTicket, ...]
    events: tuple[ProblemEvent, ...]
    money: ProblemMoney | None

    def lines(self) -> Iterator[str]:
        """Yield the lines for the terminal."""
        problem = self.problem
        yield f"{' · '.join(dict.fromkeys(problem.names.values()))} ({problem.id}), {problem.shown_state}"
        yield f"Cause: {problem.cause or 'not known yet'}"
        yield f"Team: {problem.team or 'none'}; owner: {problem.owner or 'none'}"
        yield (
            f"{problem.tickets:,} tickets of {problem.accounts:,} accounts, {problem.repeats:,} of them repeats; "
            f"{_say_day(problem.first_seen)} to {_say_day(problem.last_seen)}"
        )
        if self.money:
            yield f"Money: {self.money}"
        for fix in self.fixes:
            yield f"Fix of {_say_day(fix.since)} by {fix.by}, worked {fix.worked:,} of {fix.worked + fix.failed:,}:"
            yield from (f"  {language}: {text}" for language, text in fix.texts.items())
        if problem.effect:
            yield f"Since the fix of {_say_day(problem.fixed_at)}: {describe_effect(problem.effect)}"
        for ticket in self.tickets[:10]:
            yield f"  {_say_day(ticket.opened_at)} {ticket.ticket_id} ({ticket.account_id}) {ticket.subject[:80]}"
        for event in self.events[:10]:
            yield f"  {_say_day(event.at)} {event.event} by {to_safe_line(event.by)}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "problem": self.problem.as_dict(),
            "fixes": [fix.as_dict() for fix in self.fixes],
            "tickets": [ticket.as_dict() for ticket in self.tickets],
            "events": [event.as_dict() for event in self.events],
            "money": self.money and self.money.as_dict(),
        }


def read_problem_file(
    settings: Settings, store: Store, name: str, *, accounts: Sequence[str] | None = None
) -> ProblemFile:
    """Read what is known of a problem.

    Args:
        settings: The company's.
        store: Its state database.
        name: Of the problem, or its id.
        accounts: Ids of those whose tickets may be shown; None for all.

    Raises:
        GarrisonError: There is no such problem.
    """
    with store.reading() as connection:
        problem = find_problem(connection, name)
        fixes = read_fixes(connection, [problem.id])[problem.id]
        tickets = read_linked(connection, problem.id, accounts=accounts)
    money = read_money(settings).get(problem.topic_id or "")
    return ProblemFile(problem, tuple(fixes), tuple(tickets), tuple(read_events(store, problem.id)), money)


def count_now(settings: Settings, store: Store) -> None:
    """Count anew after an act, as of the newest thing that happened to any ticket."""
    c = PROBLEM_TICKETS.c
    with store.writing() as connection:
        newest = connection.execute(sa.select(sa.func.max(c.opened_at), sa.func.max(c.resolved_at))).one()
        now = max((at for at in newest if at is not None), default=0)
        fix_counts.count_all(connection, days=settings.problems.return_days, now=now)


def describe_effect(effect: dict[str, Any] | Any) -> str:
    """Describe the effect of a fix, as it is stored, in a sentence."""
    if effect["ratio"] is None:
        return f"{effect['verdict']}; {effect['before']:,} accounts hit before, {effect['after']:,} after"
    high = "…" if effect["high"] is None else f"{effect['high']:.2f}"
    ratio = f"rate after to before {effect['ratio']:.2f}, with 95 % between {effect['low']:.2f} and {high}"
    return f"{effect['verdict']}; {ratio}; {effect['before']:,} accounts hit before, {effect['after']:,} after"


def _say_day(at: int | None) -> str:
    return "–" if at is None else f"{from_micros(at):%Y-%m-%d}"  # noqa: RUF001  # the dash of a table

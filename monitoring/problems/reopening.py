"""Reopen problems whose fix did not hold, and tell their team once through the outbox."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from features.core.language import Language, Phrase
from features.core.local_formats import Day
from features.core.safe_line import to_safe_line
from features.core.timestamps import from_micros, to_micros
from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from features.state.message_states import PENDING
from features.state.problem_tables import PROBLEM_EVENTS, PROBLEMS
from features.state.tables import OUTBOX
from monitoring.binding.reader_language import find_language
from monitoring.letters.text_lines import wrap
from monitoring.problems.fix_effect import ActiveAccounts, FixEffect, measure_effect
from monitoring.problems.library import FIXED, KNOWN, Problem, read_problems
from monitoring.problems.problem_acts import record_event

REOPENED = "problem_reopened"
_BY = "garrison"
_FELL = "rate fell"
_SPACE = uuid.UUID("b0f3d3a2-1b0d-5a55-8d0f-5e7f5a9a1b33")


@dataclass(frozen=True)
class ReopenedProblem:
    """A problem that was reopened, the effect that says why, and whom it was told."""

    problem: Problem
    effect: FixEffect
    told: str | None

    def __str__(self) -> str:
        told = f"told {self.told}" if self.told else "nobody is told: it has no team"
        return f"Reopened: {self.problem.name} ({self.problem.id}); {self.effect}; {told}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"problem": self.problem.id, "effect": self.effect.as_dict(), "told": self.told}


def watch_fixes(settings: Settings, store: Store, history: History, now: datetime) -> Iterator[ReopenedProblem]:
    """Measure the effect of each fix, and reopen problems whose rate did not fall, or rose again; yields those."""
    with store.reading() as connection:
        fixed = [problem for problem in read_problems(connection) if problem.fixed_at is not None]
    if not fixed:
        return
    active, at = ActiveAccounts.read(history), to_micros(now)
    for problem in fixed:
        with store.writing() as connection:
            effect = read_effect(settings, connection, problem, active, at)
            if effect is None:
                continue
            measured = sa.update(PROBLEMS).where(PROBLEMS.c.id == problem.id)
            connection.execute(measured.values(effect=effect.as_dict()))
            if problem.state != FIXED:
                continue
            if effect.verdict == "fell" and not _has_fallen(connection, problem):
                record_event(connection, problem.id, _FELL, by=_BY, details=effect.as_dict(), now=now)
            elif effect.verdict in {"did not fall", "came back"}:
                yield _reopen(settings, connection, problem, effect, now)


def read_effect(
    settings: Settings, connection: sa.Connection, problem: Problem, active: ActiveAccounts, now: int
) -> FixEffect | None:
    """Measure the effect of a problem's fix so far; None where it was never fixed."""
    if problem.fixed_at is None or problem.fixed_at >= now:
        return None
    return measure_effect(
        connection,
        problem.id,
        active,
        fixed_at=problem.fixed_at,
        now=now,
        return_days=settings.problems.return_days,
        has_fallen=_has_fallen(connection, problem),
    )


def _has_fallen(connection: sa.Connection, problem: Problem) -> bool:
    """Return whether the rate was seen to have fallen after the fix that counts now."""
    c = PROBLEM_EVENTS.c
    fell = (c.problem_id == problem.id) & (c.event == _FELL) & (c.at >= problem.fixed_at)
    return connection.scalar(sa.select(c.id).where(fell).limit(1)) is not None


def _reopen(
    settings: Settings, connection: sa.Connection, problem: Problem, effect: FixEffect, now: datetime
) -> ReopenedProblem:
    values = {"state": KNOWN, "reopened_at": to_micros(now), "version": problem.version + 1}
    connection.execute(sa.update(PROBLEMS).where(PROBLEMS.c.id == problem.id).values(values))
    recipient = problem.team or problem.owner or settings.binding.teams.get("service")
    details = {"why": effect.verdict, "told": recipient, **effect.as_dict()}
    record_event(connection, problem.id, "reopened", by=_BY, details=details, now=now)
    if recipient:
        _write_message(settings, connection, problem, effect, recipient)
    return ReopenedProblem(problem, effect, recipient)


def _write_message(
    settings: Settings, connection: sa.Connection, problem: Problem, effect: FixEffect, recipient: str
) -> None:
    """Put the message to the team into the outbox, unless one about the same fix is there."""
    parts = (settings.company.name, problem.id, str(problem.fixed_at), REOPENED)
    message = str(uuid.uuid5(_SPACE, "\x1f".join(parts)))
    if connection.scalar(sa.select(OUTBOX.c.id).where(OUTBOX.c.id == message)):
        return
    language, at = find_language(settings, recipient), to_micros(datetime.now(UTC))
    row = {
        "id": message,
        "kind": REOPENED,
        "recipient": recipient,
        "subject": to_safe_line(language.say("Reopened: {name}", name=problem.get_name(language.name)), 120),
        "body": write_body(problem, effect, language),
        "state": PENDING,
        "attempts": 0,
        "position": 0,
        "created_at": at,
        "next_try_at": at,
    }
    connection.execute(sa.insert(OUTBOX), row)


def write_body(problem: Problem, effect: FixEffect, language: Language) -> str:
    """Write the message: what was fixed, what the rate did, and what to do."""
    say, fixed = language.say, Day(from_micros(effect.fixed_at))
    came = "The problem {name} was fixed on {day}, went away, and is back."
    stayed = "The problem {name} was fixed on {day}, but accounts still have it."
    first = came if effect.verdict == "came back" else stayed
    figures = "It hit {before} accounts in {days_before} days before, and {after} in {days_after} days since."
    counts = {"before": effect.before, "after": effect.after}
    spans = {"days_before": round(effect.days[0]), "days_after": round(effect.days[1])}
    ratio = Phrase(
        "Per active account that is {ratio} times the rate before; with 95 % between {low} and {high}.",
        {name: "–" if (n := getattr(effect, name)) is None else f"{n:.2f}" for name in ("ratio", "low", "high")},  # noqa: RUF001  # the dash of a table
    )
    advice = "What to do: look at its newest tickets, find what the fix left out, and give another one."
    lines = [
        *wrap(say(first, name=to_safe_line(problem.get_name(language.name), 120), day=fixed)),
        "",
        *wrap(say(figures, **counts, **spans)),
        *wrap(say(ratio.template, **ratio.values)),
        "",
        *wrap(say(advice)),
        f"  python -m monitoring problems show {problem.id}",
        "",
        "--",
        *wrap(say("You get this once, as the team of this problem.")),
    ]
    return "\n".join(lines) + "\n"

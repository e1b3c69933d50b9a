"""Store verdicts on runs and people's decisions about them; find the last run that was accepted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.timestamps import from_micros, to_micros
from features.core.user import name_user
from features.state.database import Store, upsert
from features.state.tables import RUN_DECISIONS, RUN_VERDICTS
from serving.gate.verdict import Reason, RunVerdict

Choice = Literal["released", "discarded", "delivered"]
LATEST = "latest"


@dataclass(frozen=True)
class Decision:
    """What a person decided about a run.

    Args:
        run: The run.
        decided_at: When.
        decision: `released` and `discarded` hold for the run; `delivered` is one delivery of a held run.
        covers: The reasons that it was taken on, each as kind and subject.
        reason: Why, in the person's words.
        decided_by: The person's name on the machine.
    """

    run: str
    decided_at: datetime
    decision: Choice
    covers: frozenset[tuple[str, str]]
    reason: str
    decided_by: str

    def __str__(self) -> str:
        return f"{self.decision} by {self.decided_by} on {self.decided_at:%Y-%m-%d}: {self.reason}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        plain = {"decision": self.decision, "reason": self.reason, "decided_by": self.decided_by}
        return plain | {"decided_at": self.decided_at.isoformat()}


@dataclass(frozen=True)
class JudgedRun:
    """A verdict, and the decision that holds for it, if a person took one."""

    verdict: RunVerdict
    decision: Decision | None

    def lines(self) -> Iterator[str]:
        """Yield the lines for the terminal."""
        yield from self.verdict.lines()
        if self.decision:
            yield f"  {self.decision}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        decision = self.decision and self.decision.as_dict()
        return self.verdict.as_dict() | {"accepted": self.is_accepted, "decision": decision}

    @property
    def is_discarded(self) -> bool:
        """Return whether a person discarded the run."""
        return self.decision is not None and self.decision.decision == "discarded"

    @property
    def is_accepted(self) -> bool:
        """Return whether the run may be acted on: it is not held, or it was released; and nobody discarded it."""
        return not self.is_discarded and (self.verdict.state != "hold" or self.decision is not None)

    @property
    def obstacle(self) -> str:
        """Return why the run may not be acted on, in one line; "" where it may."""
        if self.is_accepted:
            return ""
        if self.decision:
            return f"run {self.verdict.name} was {self.decision}"
        reasons = "; ".join(str(reason) for reason in self.verdict.reasons if reason.state == "hold")
        return f"run {self.verdict.name} is held: {reasons}"

    @property
    def note(self) -> str:
        """Return what a reader of an accepted run's scores should know, in one line; "" where all is well."""
        if self.verdict.state == "hold" and self.decision:
            return f"this run was held for {self.verdict.cause}, and {self.decision}"
        return "; ".join(map(str, self.verdict.reasons))


def write_verdict(state: Store, verdict: RunVerdict) -> JudgedRun:
    """Store a verdict, in place of an earlier one on the same run, and return it with the decision that holds for it.

    The newest decision on any run of the same `as_of` counts. A release holds for a run that was scored again too, as
    long as nothing speaks against that one that was not known when the release was given; a discard is of one run.
    """
    row = {
        "run": verdict.run,
        "as_of": to_micros(verdict.as_of),
        "judged_at": to_micros(verdict.judged_at),
        "judged_until": to_micros(verdict.judged_until),
        "state": verdict.state,
        "reasons": [reason.as_dict() for reason in verdict.reasons],
        "figures": dict(verdict.figures),
        "compared_with": verdict.compared_with,
        "models": dict(verdict.models),
    }
    with state.writing() as connection:
        upsert(connection, RUN_VERDICTS, [row])
        return _judge(connection, [verdict])[0]


def read_history(state: Store, *, before: datetime | None = None, limit: int | None = None) -> tuple[JudgedRun, ...]:
    """Read the judged runs, the newest `as_of` first.

    Args:
        state: The state database.
        before: Only runs of an earlier `as_of`.
        limit: At most so many.
    """
    query = sa.select(RUN_VERDICTS).order_by(RUN_VERDICTS.c.as_of.desc(), RUN_VERDICTS.c.judged_at.desc()).limit(limit)
    if before is not None:
        query = query.where(RUN_VERDICTS.c.as_of < to_micros(before))
    with state.reading() as connection:
        verdicts = [_read_verdict(row) for row in connection.execute(query).mappings()]
        return _judge(connection, verdicts)


def look_up_decision(state: Store, verdict: RunVerdict) -> JudgedRun:
    """Return a verdict with the decision that holds for it, as `write_verdict` does, and write nothing."""
    with state.reading() as connection:
        return _judge(connection, [verdict])[0]


def find_run(state: Store, name: str) -> RunVerdict:
    """Find a judged run by its id, the beginning of it, or `latest`: the newest `as_of`, of these the last judged.

    Raises:
        GarrisonError: There is none, or more than one.
    """
    query = sa.select(RUN_VERDICTS).order_by(RUN_VERDICTS.c.as_of.desc(), RUN_VERDICTS.c.judged_at.desc())
    query = query.limit(1) if name == LATEST else query.where(RUN_VERDICTS.c.run.startswith(name, autoescape=True))
    with state.reading() as connection:
        rows = list(connection.execute(query.limit(1 if name == LATEST else 2)).mappings())
    hint = "`python -m monitoring verdicts` lists the runs"
    if not rows or not name:
        raise GarrisonError(f"there is no judged run {name}", hint=hint)
    if len(rows) > 1 and rows[0]["run"] != name:
        raise GarrisonError(f"more than one run begins with {name}", hint=hint)
    return _read_verdict(rows[0])


def write_decision(
    state: Store, verdict: RunVerdict, decision: Choice, *, reason: str, by: str | None = None
) -> Decision:
    """Store what a person decided about a run.

    Args:
        state: The state database.
        verdict: On the run.
        decision: What.
        reason: Why.
        by: Who decided; by default the user of this machine.

    Raises:
        GarrisonError: No reason is given.
    """
    if not reason.strip():
        raise GarrisonError("a decision needs a reason", hint="Say in --reason what you found")
    covers = frozenset((held.kind, held.subject) for held in verdict.reasons if held.state == "hold")
    made = Decision(verdict.run, datetime.now(UTC), decision, covers, reason.strip(), by or name_user())
    row = {
        "run": made.run,
        "decided_at": to_micros(made.decided_at),
        "decision": made.decision,
        "covers": sorted(map(list, covers)),
        "reason": made.reason,
        "decided_by": made.decided_by,
    }
    with state.writing() as connection:
        connection.execute(sa.insert(RUN_DECISIONS), row)
    return made


def _judge(connection: sa.Connection, verdicts: Sequence[RunVerdict]) -> tuple[JudgedRun, ...]:
    """Add to each verdict the decision that holds for it; one query for all."""
    if not verdicts:
        return ()
    instants = [to_micros(verdict.as_of) for verdict in verdicts]
    query = (
        sa.select(RUN_VERDICTS.c.as_of, *RUN_DECISIONS.c)
        .join(RUN_VERDICTS, RUN_VERDICTS.c.run == RUN_DECISIONS.c.run)
        .where(RUN_VERDICTS.c.as_of.between(min(instants), max(instants)), RUN_DECISIONS.c.decision != "delivered")
        .order_by(RUN_DECISIONS.c.decided_at)
    )
    newest = {row["as_of"]: row for row in connection.execute(query).mappings()}
    return tuple(
        JudgedRun(verdict, _find_decision(verdict, newest.get(at)))
        for verdict, at in zip(verdicts, instants, strict=True)
    )


def _find_decision(verdict: RunVerdict, row: sa.RowMapping | None) -> Decision | None:
    """Return the newest decision on a run of the verdict's `as_of`, if it holds for the verdict's run."""
    if row is None:
        return None
    covers = frozenset((kind, subject) for kind, subject in row["covers"])
    made = {name: value for name, value in row.items() if name != "as_of"}
    decision = Decision(**{**made, "decided_at": from_micros(row["decided_at"]), "covers": covers})
    if decision.decision == "discarded":
        return decision if decision.run == verdict.run else None
    reasons = {(held.kind, held.subject) for held in verdict.reasons if held.state == "hold"}
    return decision if reasons <= covers else None


def _read_verdict(row: sa.RowMapping) -> RunVerdict:
    return RunVerdict(
        run=row["run"],
        as_of=from_micros(row["as_of"]),
        judged_at=from_micros(row["judged_at"]),
        judged_until=from_micros(row["judged_until"]),
        reasons=tuple(Reason(**reason) for reason in row["reasons"]),
        figures=row["figures"],
        compared_with=row["compared_with"],
        models=row["models"],
    )

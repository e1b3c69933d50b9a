"""Compare a replay with the runs that took place: message by message, and candidate by candidate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from features.core.timestamps import from_micros, to_micros
from features.state.database import Store
from features.state.tables import ALERT_CHOICES, ALERT_RUNS, OUTBOX
from monitoring.alerts.queries import TARGET

_MESSAGE = ("id", "kind", "recipient", "subject")
# Differences that are listed.
_SHOWN = 20


@dataclass(frozen=True)
class Equality:
    """How far a replay is what took place.

    Args:
        runs: Runs compared.
        messages: Messages that the runs wrote.
        missing: Of these, those that the replay lacks.
        added: Messages of the replay that the runs did not write.
        choices: Candidates of the runs.
        other_choices: Candidates that the replay lacks, or decided, ranked or valued otherwise.
        differences: The first few, in words.
    """

    runs: int
    messages: int
    missing: int
    added: int
    choices: int
    other_choices: int
    differences: tuple[str, ...] = ()

    @property
    def is_equal(self) -> bool:
        """Return whether nothing differs."""
        return not (self.missing or self.added or self.other_choices)

    def describe(self) -> str:
        """Return the comparison in a sentence."""
        compared = f"{self.runs:,} runs that took place, {self.messages:,} messages, {self.choices:,} candidates"
        if self.is_equal:
            return f"{compared}: the replay is the same, message by message."
        parts = [
            f"{self.missing:,} messages missing",
            f"{self.added:,} added",
            f"{self.other_choices:,} candidates differ",
        ]
        reason = "settings, tables or scores have changed since, or people's acts could not be repeated"
        return f"{compared}: {', '.join(parts)} ({reason})."

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {**vars(self), "differences": list(self.differences), "is_equal": self.is_equal}


def compare_with_runs(real: Store, replayed: Store, *, since: datetime) -> Equality:
    """Compare the messages and choices of each run from an instant on that both databases have.

    A message is the same if run, account and kind that it is headed by, recipient and subject are.
    """
    then, now = (_read_runs(state, since) for state in (real, replayed))
    shared = sorted(set(then) & set(now))
    messages = missing = added = choices = other = 0
    differences: list[str] = []
    for at in shared:
        sent, again = _read_messages(real, then[at]), _read_messages(replayed, now[at])
        chosen, chosen_again = _read_choices(real, at), _read_choices(replayed, at)
        messages, choices = messages + len(sent), choices + len(chosen)
        missing, added = missing + len(sent - again), added + len(again - sent)
        other += len(chosen - chosen_again)
        differences += _describe(at, "was sent", sent - again)
        differences += _describe(at, "is of the replay alone", again - sent)
    return Equality(len(shared), messages, missing, added, choices, other, tuple(differences[:_SHOWN]))


def _read_runs(state: Store, since: datetime) -> dict[int, int]:
    c = ALERT_RUNS.c
    with state.reading() as connection:
        rows = connection.execute(sa.select(c.as_of, c.run_at).where(c.target == TARGET, c.as_of >= to_micros(since)))
        return {row.as_of: row.run_at for row in rows}


def _read_messages(state: Store, run_at: int) -> set[tuple[Any, ...]]:
    """Read the messages that a run wrote: they were made at its own instant."""
    of_run = (OUTBOX.c.created_at == run_at, OUTBOX.c.copy_of.is_(None), OUTBOX.c.run.is_(None))
    with state.reading() as connection:
        return {tuple(r) for r in connection.execute(sa.select(*(OUTBOX.c[c] for c in _MESSAGE)).where(*of_run))}


def _read_choices(state: Store, at: int) -> set[tuple[Any, ...]]:
    with state.reading() as connection:
        return {tuple(r) for r in connection.execute(sa.select(ALERT_CHOICES).where(ALERT_CHOICES.c.as_of == at))}


def _describe(at: int, words: str, rows: set[tuple[Any, ...]]) -> Iterator[str]:
    for _, kind, recipient, _subject in sorted(rows, key=repr):
        yield f"{from_micros(at):%Y-%m-%d}: {kind} to {recipient or 'nobody'} {words}"

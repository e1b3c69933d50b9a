"""Delivery of scores to a destination: changed rows only, each row's fate known, safe to repeat and to kill."""

from __future__ import annotations

import csv
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from features.core.atomic_write import write_atomically
from features.core.errors import DeliveryError
from features.settings import Settings
from features.state.database import Store, shown
from serving.delivery import destinations, files
from serving.delivery.crm_client import RetryPolicy
from serving.delivery.destination import OutgoingRecord, StoppedError
from serving.delivery.destinations import Destination
from serving.delivery.ledger import Ledger

SENT, UNCHANGED, FAILED, QUARANTINED = "sent", "unchanged", "failed", "quarantined"
# Of a dry run.
NEW, CHANGED = "new", "changed"
# Changes that a dry run shows field by field.
_SHOWN = 5

Tell = Callable[..., None]


@dataclass(frozen=True)
class RecordChange:
    """What a delivery would change of an account: by field, the value there and the new one."""

    account_id: str
    fields: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True)
class DeliveryReport:
    """What a delivery did, or what it would do.

    Args:
        to: The destination, without a password.
        fates: Rows by fate: sent, unchanged, failed and quarantined; of a dry run new, changed and unchanged.
        recovered: Rows of an earlier delivery, cut off, that had arrived all the same.
        changes: Of a dry run, the first of them.
        dry_run: Nothing was sent.
        stopped: Why the destination took no more; "" where it did.
        result: Where every row's fate stands.
    """

    to: str
    fates: Mapping[str, int]
    recovered: int = 0
    changes: tuple[RecordChange, ...] = ()
    dry_run: bool = False
    stopped: str = ""
    result: Path | None = None

    def lines(self) -> Iterator[str]:
        """For people."""
        fates = ", ".join(f"{n:,} {fate}" for fate, n in self.fates.items()) or "no rows"
        yield f"{'Dry run, nothing was sent to' if self.dry_run else 'Rows in'} {self.to}: {fates}"
        if self.recovered:
            yield f"{self.recovered:,} rows of a delivery that was cut off had arrived"
        for change in self.changes:
            told = (f"{name} {_shown(old)} -> {_shown(new)}" for name, (old, new) in change.fields.items())
            yield f"  {change.account_id}: {', '.join(told)}"
        if self.result:
            yield f"Every row's fate: {self.result}"

    def raise_for_failures(self) -> None:
        """End a command with status 1 and one line, where not every row is where it belongs.

        Raises:
            DeliveryError: Rows failed or were quarantined.
        """
        left = {fate: self.fates[fate] for fate in (FAILED, QUARANTINED) if self.fates.get(fate)}
        if left:
            raise DeliveryError(
                f"{self.to} did not take every row: " + ", ".join(f"{n:,} {fate}" for fate, n in left.items()),
                found=self.stopped or None,
                hint=f"The reasons stand in {self.result}" if self.result else "--result FILE writes the reasons down",
            )

    def summary(self) -> dict[str, Any]:
        """For machines."""
        return {
            "to": self.to,
            "dry_run": self.dry_run,
            "rows": dict(self.fates),
            "recovered": self.recovered,
            "stopped": self.stopped or None,
        }


def deliver(  # noqa: PLR0913  # all but the first four named
    settings: Settings,
    store: Store,
    chunks: Iterable[pd.DataFrame],
    to: str,
    *,
    dry_run: bool = False,
    everything: bool = False,
    result: Path | None = None,
    tell: Tell | None = None,
) -> DeliveryReport:
    """Bring a destination up to date.

    Args:
        settings: Their `crm` says what a CRM gets.
        store: The state database, which holds the ledger.
        chunks: Frames of one row an account, all with the same columns; read one at a time.
        to: FILE.csv, FILE.parquet, FILE.xlsx, a SQLAlchemy URL with `#table` behind it, `salesforce` or `hubspot`.
        dry_run: Look what would change; nothing is written to the destination, nor to the ledger.
        everything: Send unchanged rows too.
        result: A CSV file for every row's fate.
        tell: Told how far it is: a step, rows done.

    Returns:
        What became of the rows; those that failed or were quarantined are sent anew by the next delivery.

    Raises:
        DeliveryError: The destination is not ready for the scores, or a file can't be written.
        GarrisonError: There is no such destination.
    """
    with _fates(result, tell or _silent) as fates:
        if destinations.is_file(to):
            _whole(Path(to), chunks, fates, dry_run=dry_run)
            return DeliveryReport(to, dict(fates.counts), dry_run=dry_run, result=result)
        destination = destinations.open_destination(to, settings)
        try:
            ledger = Ledger(store, destination.key, remembers=not destination.remembers)
            run = _Run(destination, ledger, fates, RetryPolicy(settings.crm.tries, settings.crm.wait_s))
            if dry_run:
                changes = run.look(chunks)
                return DeliveryReport(shown(to), dict(fates.counts), changes=changes, dry_run=True, result=result)
            run.deliver(chunks, everything=everything)
            return DeliveryReport(shown(to), dict(fates.counts), run.recovered, stopped=run.stopped, result=result)
        finally:
            destination.close()


def _silent(*_: Any) -> None:
    pass


@dataclass
class _Fates:
    """Every row's fate, counted, and written down where that is asked for."""

    write: Callable[[Sequence[Any]], Any]
    tell: Tell
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, fate: str, accounts: Iterable[str], reason: str = "", tries: int = 0) -> None:
        for account in accounts:
            self.write((account, fate, reason, tries))
            self.counts[fate] += 1
        self.tell("destination", self.counts.total())


@contextmanager
def _fates(result: Path | None, tell: Tell) -> Iterator[_Fates]:
    if result is None:
        yield _Fates(_silent, tell)
        return
    with write_atomically(result) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["account_id", "fate", "reason", "tries"])
        yield _Fates(writer.writerow, tell)


def _whole(file: Path, chunks: Iterable[pd.DataFrame], fates: _Fates, *, dry_run: bool) -> None:
    """A file is written whole each time: all its rows are sent."""

    def counted() -> Iterator[pd.DataFrame]:
        for chunk in chunks:
            yield chunk
            fates.add(NEW if dry_run else SENT, chunk["account_id"].astype(str), tries=0 if dry_run else 1)

    if dry_run:
        for _ in counted():
            pass
    else:
        files.write(file, counted())


class _Run:
    """One delivery to one destination that remembers accounts."""

    def __init__(self, destination: Destination, ledger: Ledger, fates: _Fates, patience: RetryPolicy) -> None:
        self._destination, self._ledger, self._fates, self._patience = destination, ledger, fates, patience
        self._memory: Any = destination if destination.remembers else ledger
        self.recovered = 0
        self.stopped = ""

    def deliver(self, chunks: Iterable[pd.DataFrame], *, everything: bool) -> None:
        """Send what has changed, as many rows at a time as the destination takes."""
        began_at = time.time_ns() // 1000
        self._recover()
        waiting: list[OutgoingRecord] = []
        try:
            for rows, held in self._prepared(chunks, dry_run=False):
                same = {row.account_id for row in rows if not everything and held.get(row.account_id) == row.digest}
                self._fates.add(UNCHANGED, (row.account_id for row in rows if row.account_id in same))
                waiting += [row for row in rows if row.account_id not in same]
                while len(waiting) >= self._destination.size:
                    self._send(waiting[: self._destination.size])
                    waiting = waiting[self._destination.size :]
            if waiting:
                self._send(waiting)
        finally:
            self._ledger.ran(began_at, self._fates.counts)

    def look(self, chunks: Iterable[pd.DataFrame]) -> tuple[RecordChange, ...]:
        """What `deliver` would change: all of it counted, the first rows field by field."""
        changes: list[RecordChange] = []
        for rows, held in self._prepared(chunks, dry_run=True):
            for row in rows:
                there = held.get(row.account_id)
                fate = NEW if there is None else UNCHANGED if there == row.digest else CHANGED
                self._fates.add(fate, [row.account_id])
                if fate != UNCHANGED and len(changes) < _SHOWN:
                    changes.append(_change(row, self._memory.before(row.account_id) or {}))
        return tuple(changes)

    def _prepared(
        self, chunks: Iterable[pd.DataFrame], *, dry_run: bool
    ) -> Iterator[tuple[list[OutgoingRecord], Mapping[str, str]]]:
        ready = False
        for chunk in chunks:
            if not ready:
                self._destination.prepare(chunk, dry_run=dry_run)
                ready = True
            rows = self._destination.rows(chunk)
            yield rows, self._memory.held([row.account_id for row in rows])

    def _recover(self) -> None:
        """Jobs that a killed delivery left under way: what they took is noted, the rest is sent like any row."""
        for job, rows in self._ledger.under_way().items():
            outcomes = self._destination.found(job, rows)
            taken = [row for row, outcome in zip(rows, outcomes, strict=True) if outcome.fate == "sent"]
            self._ledger.settle(rows, confirmed=taken, quarantined={})
            self.recovered += len(taken)

    def _send(self, rows: Sequence[OutgoingRecord]) -> None:
        """Send rows until each is confirmed, refused, or has been tried often enough."""
        waiting, tries = list(rows), 0
        while waiting and not self.stopped:
            tries += 1
            try:
                outcomes = self._destination.send(waiting, partial(self._ledger.begin, rows=waiting))
            except StoppedError as stop:
                self.stopped = str(stop)
                break
            told = list(zip(waiting, outcomes, strict=True))
            taken = [row for row, outcome in told if outcome.fate == "sent"]
            last = tries == self._patience.tries
            given_up = {r.account_id: o.reason for r, o in told if o.fate == "refused" or (last and o.fate == "failed")}
            quarantined = {account: (reason, tries) for account, reason in given_up.items()}
            self._ledger.settle(waiting, confirmed=taken, quarantined=quarantined)
            self._fates.add(SENT, (row.account_id for row in taken), tries=tries)
            for account, reason in given_up.items():
                self._fates.add(QUARANTINED, [account], reason, tries)
            waiting = [r for r, o in told if o.fate == "failed" and r.account_id not in given_up]
            if waiting:
                self._patience.wait(tries)
        if waiting:
            self._fates.add(FAILED, (row.account_id for row in waiting), self.stopped, tries)


def _shown(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else text[:39] + "…"


def _change(row: OutgoingRecord, before: Mapping[str, Any]) -> RecordChange:
    names = [name for name, value in row.content.items() if before.get(name) != value]
    return RecordChange(row.account_id, {name: (before.get(name), row.content[name]) for name in names})

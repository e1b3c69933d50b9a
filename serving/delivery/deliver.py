"""Deliver scores to a destination: only changed rows, each row's status known, safe to repeat and to kill."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from features.core.errors import DeliveryError
from features.core.progress import Progress, ignore
from features.core.redaction import hide_password
from features.settings import Settings
from features.state.database import Store
from features.state.locks import Lock, try_lock
from serving.delivery import destinations, files
from serving.delivery.destination import Destination, OutgoingRecord, StoppedError
from serving.delivery.ledger import Ledger
from serving.delivery.report import (
    CHANGED,
    FAILED,
    NEW,
    QUARANTINED,
    SENT,
    UNCHANGED,
    DeliveryReport,
    RecordChange,
    StatusTally,
    open_tally,
)
from serving.delivery.retries import RetryableError, RetryPolicy

_CHANGES_SHOWN = 5  # of a dry run, field by field


def deliver(  # noqa: PLR0913  # all but the first four named
    settings: Settings,
    store: Store,
    chunks: Iterable[pd.DataFrame],
    to: str,
    *,
    dry_run: bool = False,
    everything: bool = False,
    result: Path | None = None,
    progress: Progress = ignore,
) -> DeliveryReport:
    """Bring a destination up to date.

    Args:
        settings: Their `crm` says what a CRM gets.
        store: The state database, which holds the ledger.
        chunks: Frames of one row an account, all with the same columns; read one at a time.
        to: FILE.csv, FILE.parquet, FILE.xlsx, a SQLAlchemy URL with `#table` behind it, `salesforce` or `hubspot`.
        dry_run: Find what would change; nothing is written to the destination, nor to the ledger.
        everything: Send unchanged rows too.
        result: A CSV file for every row's status.
        progress: Called with the number of rows done.

    Returns:
        What became of the rows; those that failed or were quarantined are sent again by the next delivery.

    Raises:
        DeliveryError: The destination is not ready for the scores, another delivery to it is running, or a file
            can't be written.
        GarrisonError: There is no such destination.
    """
    with open_tally(result, progress) as tally:
        if destinations.is_file(to):
            _write_file(Path(to), chunks, tally, dry_run=dry_run)
            return DeliveryReport(to, dict(tally.counts), dry_run=dry_run, result=result)
        destination, shown = destinations.open_destination(to, settings), hide_password(to)
        try:
            ledger = Ledger(store, destination.key, stores_records=not destination.is_readable)
            run = _Delivery(destination, ledger, tally, RetryPolicy(settings.crm.tries, settings.crm.wait_s))
            if dry_run:
                changes = run.find_changes(chunks)
                return DeliveryReport(shown, dict(tally.counts), changes=changes, dry_run=True, result=result)
            with _lock_destination(store, destination):
                run.deliver(chunks, everything=everything)
            return DeliveryReport(shown, dict(tally.counts), run.recovered, stopped=run.stopped, result=result)
        finally:
            destination.close()


def check_not_running(settings: Settings, store: Store, to: str) -> None:
    """Check that no delivery to a destination is running, before anything is scored for it.

    Raises:
        DeliveryError: One is running.
        GarrisonError: There is no such destination.
    """
    if destinations.is_file(to):
        return
    destination = destinations.open_destination(to, settings)
    try:
        with _lock_destination(store, destination):
            pass
    finally:
        destination.close()


@contextmanager
def _lock_destination(store: Store, destination: Destination) -> Iterator[None]:
    """Hold a destination for this process: two deliveries at once would take each other's jobs for abandoned ones."""
    with try_lock(store.engine, Lock.DESTINATION, of=destination.key) as is_held:
        if not is_held:
            raise DeliveryError(
                f"another delivery to {destination.key} is running",
                hint="Wait until it has ended, then run this one again: it sends what has changed by then",
            )
        yield


def _write_file(file: Path, chunks: Iterable[pd.DataFrame], tally: StatusTally, *, dry_run: bool) -> None:
    """Write a file whole: all its rows count as sent, or in a dry run as new."""

    def count() -> Iterator[pd.DataFrame]:
        for chunk in chunks:
            yield chunk
            tally.add(NEW if dry_run else SENT, chunk["account_id"].astype(str), tries=0 if dry_run else 1)

    if dry_run:
        for _ in count():
            pass
    else:
        files.write(file, count())


@dataclass
class _Batch:
    """Records that are sent together, and again until none waits."""

    waiting: list[OutgoingRecord]
    tries: int = 0


class _Delivery:
    """One delivery to one destination.

    Attributes:
        recovered: Records of an earlier delivery that was cut off but had arrived.
        stopped: Why the destination took no more; "" where it did.
    """

    def __init__(self, destination: Destination, ledger: Ledger, tally: StatusTally, retries: RetryPolicy) -> None:
        self._destination, self._ledger, self._tally, self._retries = destination, ledger, tally, retries
        self._memory: Destination | Ledger = destination if destination.is_readable else ledger
        self.recovered = 0
        self.stopped = ""

    def deliver(self, chunks: Iterable[pd.DataFrame], *, everything: bool) -> None:
        """Send what has changed, as many records at a time as the destination takes."""
        began_at = time.time_ns() // 1000
        self._recover_jobs()
        waiting: list[OutgoingRecord] = []
        try:
            for records, digests in self._read_chunks(chunks, dry_run=False):
                unchanged = {r.account_id for r in records if not everything and digests.get(r.account_id) == r.digest}
                self._tally.add(UNCHANGED, (r.account_id for r in records if r.account_id in unchanged))
                waiting += [r for r in records if r.account_id not in unchanged]
                while len(waiting) >= self._destination.size:
                    self._send(waiting[: self._destination.size])
                    waiting = waiting[self._destination.size :]
            if waiting:
                self._send(waiting)
        finally:
            self._ledger.record_run(began_at, self._tally.counts)

    def find_changes(self, chunks: Iterable[pd.DataFrame]) -> tuple[RecordChange, ...]:
        """Return what `deliver` would change: all of it counted, the first records field by field."""
        changes: list[RecordChange] = []
        for records, digests in self._read_chunks(chunks, dry_run=True):
            for record in records:
                digest = digests.get(record.account_id)
                status = NEW if digest is None else UNCHANGED if digest == record.digest else CHANGED
                self._tally.add(status, [record.account_id])
                if status != UNCHANGED and len(changes) < _CHANGES_SHOWN:
                    changes.append(_compare(record, self._memory.read_record(record.account_id) or {}))
        return tuple(changes)

    def _read_chunks(
        self, chunks: Iterable[pd.DataFrame], *, dry_run: bool
    ) -> Iterator[tuple[list[OutgoingRecord], Mapping[str, str]]]:
        """Yield each chunk's records, and the digests of what the destination holds of those accounts."""
        for i, chunk in enumerate(chunks):
            if i == 0:
                self._destination.prepare(chunk, dry_run=dry_run)
            records = self._destination.build_records(chunk)
            yield records, self._memory.read_digests([record.account_id for record in records])

    def _recover_jobs(self) -> None:
        """Note what jobs of a killed delivery took; their other records are sent like any."""
        for job, records in self._ledger.read_unfinished_jobs().items():
            outcomes = self._destination.recover_job(job, records)
            taken = [record for record, outcome in zip(records, outcomes, strict=True) if outcome.status == "sent"]
            self._ledger.settle(records, confirmed=taken, quarantined={})
            self.recovered += len(taken)

    def _send(self, records: Sequence[OutgoingRecord]) -> None:
        """Send records until each is confirmed, refused, or has been tried often enough."""
        batch = _Batch(list(records))
        if not self.stopped:
            try:
                self._retries.call(partial(self._send_once, batch))
            except StoppedError as error:
                self.stopped = str(error)
        if batch.waiting:
            self._tally.add(FAILED, (record.account_id for record in batch.waiting), self.stopped, batch.tries)

    def _send_once(self, batch: _Batch) -> None:
        """Send what is left of a batch.

        Raises:
            RetryableError: Records are left that may be taken at another try.
            StoppedError: The destination takes nothing now.
        """
        batch.tries += 1
        on_job = partial(self._ledger.begin_job, records=batch.waiting)
        results = list(zip(batch.waiting, self._destination.send(batch.waiting, on_job), strict=True))
        taken = [record for record, outcome in results if outcome.status == "sent"]
        final = {"refused", "failed"} if batch.tries == self._retries.tries else {"refused"}
        reasons = {record.account_id: outcome.reason for record, outcome in results if outcome.status in final}
        quarantined = {account: (reason, batch.tries) for account, reason in reasons.items()}
        self._ledger.settle(batch.waiting, confirmed=taken, quarantined=quarantined)
        self._tally.add(SENT, (record.account_id for record in taken), tries=batch.tries)
        for account, reason in reasons.items():
            self._tally.add(QUARANTINED, [account], reason, batch.tries)
        batch.waiting = [r for r, outcome in results if outcome.status == "failed" and r.account_id not in reasons]
        if batch.waiting:
            raise RetryableError(self._destination.key, f"{len(batch.waiting):,} rows not taken")


def _compare(record: OutgoingRecord, before: Mapping[str, Any]) -> RecordChange:
    names = [name for name, value in record.content.items() if before.get(name) != value]
    return RecordChange(record.account_id, {name: (before.get(name), record.content[name]) for name in names})

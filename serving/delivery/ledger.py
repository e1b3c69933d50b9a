"""Keep the ledger: what each destination last took of each account, so that only what changed is sent again.

A record enters it when the destination has confirmed it. Records of a job stand in `DELIVERY_JOBS` from before their
upload until their outcome is known: a process that dies in between leaves the job's id for the next one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from features.state.database import Store, upsert
from features.state.tables import DELIVERIES, DELIVERY_JOBS, DELIVERY_QUARANTINE, DELIVERY_RUNS
from serving.delivery.destination import OutgoingRecord

_ACCOUNTS_PER_QUERY = 1_000


@dataclass(frozen=True)
class Ledger:
    """One destination's part of the ledger.

    Args:
        store: The state database.
        destination: The destination's key.
        stores_records: Whether to store what was taken; not needed for a destination that can be read.
    """

    store: Store
    destination: str
    stores_records: bool = True

    def read_digests(self, accounts: Sequence[str]) -> dict[str, str]:
        """Return the digests of the records last confirmed, by account."""
        digests: dict[str, str] = {}
        with self.store.reading() as connection:
            for chunk in _split(accounts):
                query = sa.select(DELIVERIES.c.account_id, DELIVERIES.c.hash).where(*self._match(DELIVERIES, chunk))
                digests |= {row.account_id: row.hash for row in connection.execute(query)}
        return digests

    def read_record(self, account_id: str) -> Mapping[str, Any] | None:
        """Return the values last confirmed of one account."""
        query = sa.select(DELIVERIES.c.sent).where(*self._match(DELIVERIES, [account_id]))
        with self.store.reading() as connection:
            values: Mapping[str, Any] | None = connection.scalar(query)
            return values

    def begin_job(self, job: str, records: Sequence[OutgoingRecord]) -> None:
        """Note that these records are about to go into a job."""
        with self.store.writing() as connection:
            upsert(connection, DELIVERY_JOBS, (self._row(record) | {"job": job} for record in records))

    def read_unfinished_jobs(self) -> dict[str, list[OutgoingRecord]]:
        """Return the records whose outcome is unknown, by job."""
        query = (
            sa.select(DELIVERY_JOBS)
            .where(DELIVERY_JOBS.c.destination == self.destination)
            .order_by(DELIVERY_JOBS.c.account_id)
        )
        jobs: dict[str, list[OutgoingRecord]] = {}
        with self.store.reading() as connection:
            for row in connection.execute(query):
                jobs.setdefault(row.job, []).append(OutgoingRecord(row.account_id, row.sent, row.hash))
        return jobs

    def settle(
        self,
        records: Sequence[OutgoingRecord],
        *,
        confirmed: Sequence[OutgoingRecord],
        quarantined: Mapping[str, tuple[str, int]],
    ) -> None:
        """Write down the outcomes of records, all or none.

        Args:
            records: Those whose job, if there was one, is over.
            confirmed: Those of them that the destination took.
            quarantined: By account, the reason and how often it was tried.
        """
        now = time.time_ns() // 1000
        quarantine_rows = (
            {"destination": self.destination, "account_id": account, "reason": reason, "tries": tries, "at": now}
            for account, (reason, tries) in quarantined.items()
        )
        with self.store.writing() as connection:
            upsert(connection, DELIVERIES, map(self._row, confirmed if self.stores_records else ()))
            upsert(connection, DELIVERY_QUARANTINE, quarantine_rows)
            for table, finished in ((DELIVERY_QUARANTINE, confirmed), (DELIVERY_JOBS, records)):
                for chunk in _split([record.account_id for record in finished]):
                    connection.execute(sa.delete(table).where(*self._match(table, chunk)))

    def record_run(self, began_at: int, counts: Mapping[str, int]) -> None:
        """Write down a run.

        Args:
            began_at: In µs.
            counts: Records by status.
        """
        statuses = ("sent", "unchanged", "failed", "quarantined")
        row = {"destination": self.destination, "began_at": began_at, "ended_at": time.time_ns() // 1000}
        with self.store.writing() as connection:
            upsert(connection, DELIVERY_RUNS, [row | {status: counts.get(status, 0) for status in statuses}])

    def _row(self, record: OutgoingRecord) -> dict[str, Any]:
        return {
            "destination": self.destination,
            "account_id": record.account_id,
            "hash": record.digest,
            "sent": dict(record.content),
            "at": time.time_ns() // 1000,
        }

    def _match(self, table: sa.Table, accounts: Sequence[str]) -> tuple[sa.ColumnElement[bool], ...]:
        return table.c.destination == self.destination, table.c.account_id.in_(accounts)


def _split(accounts: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(accounts), _ACCOUNTS_PER_QUERY):
        yield accounts[start : start + _ACCOUNTS_PER_QUERY]

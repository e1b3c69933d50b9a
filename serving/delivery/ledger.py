"""The ledger: what each destination last took of each account, so that only what changed is sent again.

A row enters it when the destination has confirmed it. Rows of a job stand in `DELIVERY_JOBS` before they are uploaded
until their fate is known: a process that dies in between leaves the job's id for the next one.
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

# Accounts a query.
_CHUNK = 1_000


@dataclass(frozen=True)
class Ledger:
    """The pages of one destination.

    Args:
        store: The state database.
        destination: Its key.
        remembers: Whether to remember what was taken; not needed of a destination that can be asked.
    """

    store: Store
    destination: str
    remembers: bool = True

    def held(self, accounts: Sequence[str]) -> dict[str, str]:
        """The digests of the rows last confirmed, by account."""
        found: dict[str, str] = {}
        with self.store.reading() as connection:
            for some in _some(accounts):
                query = sa.select(DELIVERIES.c.account_id, DELIVERIES.c.hash).where(*self._of(DELIVERIES, some))
                found |= {row.account_id: row.hash for row in connection.execute(query)}
        return found

    def before(self, account_id: str) -> Mapping[str, Any] | None:
        """The values last confirmed of one account."""
        with self.store.reading() as connection:
            found: Mapping[str, Any] | None = connection.scalar(
                sa.select(DELIVERIES.c.sent).where(*self._of(DELIVERIES, [account_id]))
            )
            return found

    def begin(self, job: str, rows: Sequence[OutgoingRecord]) -> None:
        """Note that these rows are about to go into a job."""
        with self.store.writing() as connection:
            upsert(connection, DELIVERY_JOBS, (self._row(row) | {"job": job} for row in rows))

    def under_way(self) -> dict[str, list[OutgoingRecord]]:
        """Jobs whose rows' fates are unknown, and those rows."""
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
        rows: Sequence[OutgoingRecord],
        *,
        confirmed: Sequence[OutgoingRecord],
        quarantined: Mapping[str, tuple[str, int]],
    ) -> None:
        """Write down the fates of rows, all or none.

        Args:
            rows: Those whose job, if there was one, is over.
            confirmed: Those of them that the destination took.
            quarantined: By account, the reason and how often it was tried.
        """
        with self.store.writing() as connection:
            upsert(connection, DELIVERIES, map(self._row, confirmed if self.remembers else ()))
            now = time.time_ns() // 1000
            held = (
                {"destination": self.destination, "account_id": a, "reason": reason, "tries": tries, "at": now}
                for a, (reason, tries) in quarantined.items()
            )
            upsert(connection, DELIVERY_QUARANTINE, held)
            for some in _some([row.account_id for row in confirmed]):
                connection.execute(sa.delete(DELIVERY_QUARANTINE).where(*self._of(DELIVERY_QUARANTINE, some)))
            for some in _some([row.account_id for row in rows]):
                connection.execute(sa.delete(DELIVERY_JOBS).where(*self._of(DELIVERY_JOBS, some)))

    def ran(self, began_at: int, fates: Mapping[str, int]) -> None:
        """Note a run (its begin in µs) and how many rows met which fate."""
        names = ("sent", "unchanged", "failed", "quarantined")
        row = {"destination": self.destination, "began_at": began_at, "ended_at": time.time_ns() // 1000}
        with self.store.writing() as connection:
            upsert(connection, DELIVERY_RUNS, [row | {name: fates.get(name, 0) for name in names}])

    def _row(self, row: OutgoingRecord) -> dict[str, Any]:
        return {
            "destination": self.destination,
            "account_id": row.account_id,
            "hash": row.digest,
            "sent": dict(row.content),
            "at": time.time_ns() // 1000,
        }

    def _of(self, table: sa.Table, accounts: Sequence[str]) -> tuple[sa.ColumnElement[bool], ...]:
        return table.c.destination == self.destination, table.c.account_id.in_(accounts)


def _some(accounts: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(accounts), _CHUNK):
        yield accounts[start : start + _CHUNK]

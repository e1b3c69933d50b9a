"""The ledger: what each destination last took of each account, so that only what changed is sent again.

A row enters it when the destination has confirmed it. Rows of a job stand in `JOBS` from before they are uploaded
until their fate is known: a process that dies in between leaves the job's id for the next one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from serving.row import Row
from serving.store import METADATA, Store, upsert


def _as_sent() -> list[sa.Column[Any]]:
    return [
        sa.Column("destination", sa.String, primary_key=True),
        sa.Column("account_id", sa.String, primary_key=True),
        sa.Column("hash", sa.String, nullable=False),
        sa.Column("sent", sa.JSON, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    ]


DELIVERIES = sa.Table("deliveries", METADATA, *_as_sent())
JOBS = sa.Table("delivery_jobs", METADATA, *_as_sent(), sa.Column("job", sa.String, nullable=False))

QUARANTINE = sa.Table(
    "delivery_quarantine",
    METADATA,
    sa.Column("destination", sa.String, primary_key=True),
    sa.Column("account_id", sa.String, primary_key=True),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
)

RUNS = sa.Table(
    "delivery_runs",
    METADATA,
    sa.Column("destination", sa.String, primary_key=True),
    sa.Column("began_at", sa.BigInteger, primary_key=True),
    sa.Column("ended_at", sa.BigInteger, nullable=False),
    sa.Column("sent", sa.Integer, nullable=False),
    sa.Column("unchanged", sa.Integer, nullable=False),
    sa.Column("failed", sa.Integer, nullable=False),
    sa.Column("quarantined", sa.Integer, nullable=False),
)

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

    def begin(self, job: str, rows: Sequence[Row]) -> None:
        """Note that these rows are about to go into a job."""
        with self.store.writing() as connection:
            upsert(connection, JOBS, (self._row(row) | {"job": job} for row in rows))

    def under_way(self) -> dict[str, list[Row]]:
        """Jobs whose rows' fates are unknown, and those rows."""
        query = sa.select(JOBS).where(JOBS.c.destination == self.destination).order_by(JOBS.c.account_id)
        jobs: dict[str, list[Row]] = {}
        with self.store.reading() as connection:
            for row in connection.execute(query):
                jobs.setdefault(row.job, []).append(Row(row.account_id, row.sent, row.hash))
        return jobs

    def settle(
        self, rows: Sequence[Row], *, confirmed: Sequence[Row], quarantined: Mapping[str, tuple[str, int]]
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
            upsert(connection, QUARANTINE, held)
            for some in _some([row.account_id for row in confirmed]):
                connection.execute(sa.delete(QUARANTINE).where(*self._of(QUARANTINE, some)))
            for some in _some([row.account_id for row in rows]):
                connection.execute(sa.delete(JOBS).where(*self._of(JOBS, some)))

    def ran(self, began_at: int, fates: Mapping[str, int]) -> None:
        """Note a run (its begin in µs) and how many rows met which fate."""
        names = ("sent", "unchanged", "failed", "quarantined")
        row = {"destination": self.destination, "began_at": began_at, "ended_at": time.time_ns() // 1000}
        with self.store.writing() as connection:
            upsert(connection, RUNS, [row | {name: fates.get(name, 0) for name in names}])

    def _row(self, row: Row) -> dict[str, Any]:
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

"""Rescores accounts that have events newer than the newest snapshot.

Every worker must know at once of events that another one stored, but a query at every request would cost more than
the answer. So whoever stores events changes eight bytes in a file that all workers have mapped into memory. Processes
on other machines find out within `POLL_SECONDS`.
"""

from __future__ import annotations

import json
import logging
import mmap
import os
import secrets
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from features.core.contract import EVENTS, RECORDS, TABLES
from features.core.errors import GarrisonError
from features.core.timestamps import from_micros, to_micros
from features.definitions.visibility_rule import ROWS, visible_from
from features.settings import Settings
from features.sources import posted_events
from features.sources.history import History
from features.sources.mapping import quote_literal
from features.sources.posted_events import LATER, LOGGED
from features.state.database import Store
from features.state.tables import EVENT_LOG
from serving.pacing import DueTimer
from serving.scoring import snapshot_store
from serving.scoring.scorer import PreparedSnapshots, Scorer

_log = logging.getLogger("bentoml.garrison")
_EVENT = ("source", "known_at", "content")
POLL_SECONDS = 1.0  # between looks at the database
_MAX_CACHED = 2_000  # accounts whose rows are kept


def notify_workers(settings: Settings) -> None:
    """Make all workers of this machine look for new events; call it once the events are committed."""
    with _ChangeMark(settings) as mark:
        # Never an earlier value, whoever writes last.
        mark.value = secrets.randbits(62)


class _ChangeMark:
    """Eight bytes in a mapped file that change with every write to the event log."""

    def __init__(self, settings: Settings) -> None:
        file = settings.var / "events.mark"
        file.parent.mkdir(parents=True, exist_ok=True)
        opened = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(opened).st_size < 8:
                os.ftruncate(opened, 8)
            self._map = mmap.mmap(opened, 8)
        finally:
            os.close(opened)
        # As one machine word, so that nobody reads half of it.
        self._word = memoryview(self._map).cast("q")

    @property
    def value(self) -> int:
        return self._word[0]

    @value.setter
    def value(self, value: int) -> None:
        self._word[0] = value

    def close(self) -> None:
        self._word.release()
        self._map.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class RescoredAccount:
    """An account's row with its newest events.

    Args:
        rows: One row, ready for the models.
        position: The place in the event log up to which events were read.
    """

    rows: PreparedSnapshots
    position: int


class Rescorer:
    """Knows which accounts have events after a snapshot, and prepares their rows; several threads may use it at once.

    Args:
        settings: The company's settings.
        store: The state database.
        history: The history that the snapshot was taken from.
        as_of: The instant of the snapshot.
    """

    def __init__(self, settings: Settings, store: Store, history: History, as_of: datetime) -> None:
        self._settings, self._store, self._history, self._as_of = settings, store, history, as_of
        self._mark = _ChangeMark(settings)
        self._lock = threading.Lock()
        # DuckDB refuses a second query on a connection while one runs.
        self._reading = threading.Lock()
        self._bearers = load_bearers(history)
        # By account, the place of its newest event in the log.
        self._newest: dict[str, int] = {}
        self._position = history.cache.position if history.cache else 0
        self._seen_mark, self._timer = -1, DueTimer(POLL_SECONDS)
        self._rescored: dict[str, RescoredAccount | None] = {}
        self.refresh()

    @classmethod
    def open(cls, settings: Settings, store: Store, key: str | None, as_of: datetime) -> Self | None:
        """Open the history behind a snapshot; return None if that history is gone.

        Args:
            settings: The company's settings.
            store: The state database.
            key: Of the cached history, as the snapshot has it.
            as_of: The instant of the snapshot.
        """
        history = History.reopen(settings, key) if key else None
        if history is None:
            _log.warning("scores by id ignore posted events: the history behind the snapshot is gone; score again")
            return None
        return cls(settings, store, history, as_of)

    @property
    def is_stale(self) -> bool:
        """Return whether there may be events since the last `refresh`; takes a microsecond."""
        return self._mark.value != self._seen_mark or self._timer.is_due

    def refresh(self) -> None:
        """Read which accounts have new events.

        Raises:
            GarrisonError: The state database can't be read.
        """
        with self._lock:
            # Read before the log, so that an event stored in between is found the next time.
            mark, now = self._mark.value, time.monotonic()
            query = sa.select(EVENT_LOG.c.account_id, sa.func.max(EVENT_LOG.c.seq)).where(
                EVENT_LOG.c.seq > self._position
            )
            with self._store.reading() as connection:
                rows = connection.execute(query.group_by(EVENT_LOG.c.account_id)).all()
            # The order of accounts does not matter: the places of one account ascend.
            for account_id, seq in rows:
                for bearer in (account_id, *self._bearers.get(account_id, ())):
                    self._newest[bearer] = max(seq, self._newest.get(bearer, 0))
                self._position = max(self._position, seq)
            self._seen_mark = mark
            self._timer.restart(now)

    def has_new_events(self, account_ids: Iterable[str]) -> bool:
        """Return whether one of these accounts has events after the snapshot.

        The log is read if it is time to. If it can't be read, the answer is from the last reading.
        """
        if self.is_stale:
            mark = self._mark.value
            try:
                self.refresh()
            except GarrisonError as error:
                _log.warning("reading new events failed, scores ignore the latest ones: %s", error)
                # No event can be posted meanwhile either, so the next look can wait.
                self._seen_mark = mark
                self._timer.restart()
        return bool(self._newest) and any(account_id in self._newest for account_id in account_ids)

    def rescore(self, scorer: Scorer, account_id: str) -> RescoredAccount | None:
        """Return an account's row from its history and its new events; takes some milliseconds the first time.

        Its `as_of` is the first instant at which all its events are visible, but not before the snapshot's.

        Returns:
            None if it has no events after the snapshot, or there is no such account.
        """
        newest = self._newest.get(account_id)
        if newest is None:
            return None
        account = self._rescored.get(account_id)
        if account_id not in self._rescored or (account and account.position < newest):
            account = self._prepare(scorer, account_id, newest)
            if len(self._rescored) >= _MAX_CACHED:
                self._rescored.clear()
            self._rescored[account_id] = account
        return account

    def _prepare(self, scorer: Scorer, account_id: str, newest: int) -> RescoredAccount | None:
        with self._store.reading() as connection:
            revisions = read_revisions(connection, self._history, [account_id], until=newest)
        with self._reading:
            tables = read_account_rows(self._settings, self._history, [account_id], revisions)
        if not tables["accounts"]:
            return None
        as_of = max(to_micros(self._as_of), find_seen_from(revisions))
        rows = snapshot_store.prepare_rows(self._settings, scorer, tables, from_micros(as_of))
        return RescoredAccount(rows, newest) if len(rows) else None

    def close(self) -> None:
        """Close the history and the mapped file."""
        self._history.close()
        self._mark.close()


def load_bearers(history: History) -> dict[str, tuple[str, ...]]:
    """Load, by merged account, the other accounts that its events count for."""
    bearers: dict[str, tuple[str, ...]] = {}
    rows = history.query("SELECT account_id, bearer FROM identity.bearers WHERE bearer <> account_id ORDER BY ALL")
    for account_id, bearer in rows.itertuples(index=False):
        bearers[account_id] = (*bearers.get(account_id, ()), bearer)
    return bearers


def read_revisions(connection: sa.Connection, history: History, account_ids: Sequence[str], *, until: int) -> pa.Table:
    """Read the events of some accounts that came after a history was read, up to a place of the log."""
    wanted = set(account_ids)
    merged = (a for a, others in load_bearers(history).items() if wanted.intersection(others))
    after = history.cache.position if history.cache else 0
    return posted_events.query_revisions(connection, sorted(wanted.union(merged)), after=after, until=until)


def read_account_rows(
    settings: Settings, history: History, account_ids: Sequence[str], revisions: pa.Table
) -> dict[str, list[dict[str, Any]]]:
    """Read canonical rows of some accounts by table, with events that came after the history was read.

    Args:
        settings: The company's settings.
        history: Its cached history.
        account_ids: Of the accounts.
        revisions: As `features.sources.posted_events.query_revisions` reads them.
    """
    of_accounts = f"account_id IN ({', '.join(map(quote_literal, account_ids))})"
    rows: dict[str, list[dict[str, Any]]] = {}
    with history.open_cursor() as cursor:
        # Identities name accounts by other ids, and rates and staff are nobody's.
        for table in (t for t in history.tables if t not in {"identities", "rates", "staff"}):
            has_number = table in {"accounts", *EVENTS, *RECORDS}
            columns = "* EXCLUDE (account_no)" if has_number else "*"
            sql = f"SELECT {columns} FROM main.{table} WHERE {of_accounts}"  # noqa: S608  # quoted
            if table in LOGGED and posted_events.count_events(revisions, table):
                rows[table] = _read_joined(cursor, settings, table, revisions, condition=of_accounts, own=sql)
            else:
                rows[table] = cursor.sql(sql).to_arrow_table().to_pylist()
    return rows


def _read_joined(  # noqa: PLR0913  # all but the first four named
    cursor: duckdb.DuckDBPyConnection, settings: Settings, table: str, revisions: pa.Table, *, condition: str, own: str
) -> list[dict[str, Any]]:
    """Read the rows of one table that meet a condition, its own rows joined with posted ones."""
    with posted_events.register_revisions(cursor, revisions):
        posted = posted_events.select_rows(settings, table)
        if table == "tickets":
            # A ticket belongs to the account that the table has it under, whoever posted it.
            own += f" OR ticket_id IN (SELECT ticket_id FROM ({posted}))"  # noqa: S608  # the contract's own names
        sql = posted_events.merge_rows(settings, table, own, posted)
        rows = cursor.sql(f"SELECT * FROM ({sql}) WHERE {condition}")  # noqa: S608  # as above
        return rows.to_arrow_table().to_pylist()


def find_seen_from(revisions: pa.Table) -> int:
    """Return the first instant at which all of these events have happened and are known, in µs; 0 without any."""
    latest = 0
    for source, known_at, content in zip(*(revisions[c].to_pylist() for c in _EVENT), strict=True):
        row = json.loads(content)
        times = [row[c] for c in (str(TABLES[source].time), *LATER) if c in row]
        latest = max([latest, known_at, *(visible_from(t, known_at, ROWS) for t in times)])
    return latest

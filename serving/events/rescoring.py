"""Events that came after the newest snapshot was taken: whose they are, and those accounts worked out anew.

Every worker must know at once of what another one took in, and asking the database at every request would cost more
than the answer. So whoever writes events changes eight bytes in a file that all workers have mapped into memory.
Processes on other machines find out within `EACH`.
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

from features.core.contract import EVENTS, TABLES
from features.core.errors import GarrisonError
from features.core.timestamps import from_micros, to_micros
from features.definitions.visibility_rule import ROWS, visible_from
from features.settings import Settings
from features.sources import posted_events
from features.sources.history import History
from features.sources.mapping import quote_literal
from features.sources.posted_events import LATER, SOURCES
from features.state.database import Store
from features.state.tables import EVENT_LOG
from serving.scoring import snapshot_store
from serving.scoring.scorer import PreparedSnapshots, Scorer

_log = logging.getLogger("bentoml.garrison")
_EVENT = ("source", "known_at", "content")
POLL_SECONDS = 1.0  # seconds between looks at the database
_MOST = 2_000  # accounts whose rows are remembered


def notify_workers(settings: Settings) -> None:
    """Have all workers of this machine look for new events: to be called when they are committed."""
    with _Mark(settings) as mark:
        # Never a value that was there before, whoever writes last.
        mark.value = secrets.randbits(62)


class _Mark:
    """The eight bytes that change with every write to the log."""

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
        # As one machine word, so that nobody meets half of it.
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
    """An account worked out anew.

    Args:
        rows: One row, ready for the models.
        position: The place in the log of events that it was read up to.
    """

    rows: PreparedSnapshots
    position: int


class Rescorer:
    """The accounts that have something newer than a snapshot; several threads may ask at once.

    Args:
        settings: The company's.
        opened: Its state database.
        history: What the snapshot was taken from.
        as_of: Where the snapshot looks from.
    """

    def __init__(self, settings: Settings, opened: Store, history: History, as_of: datetime) -> None:
        self._settings, self._store, self._history, self._as_of = settings, opened, history, as_of
        self._mark = _Mark(settings)
        self._lock = threading.Lock()
        self._bearers = load_bearers(history)
        # Of each account the place of its newest event.
        self._newest: dict[str, int] = {}
        self._position, self._told, self._looked_at = history.kept.position if history.kept else 0, -1, 0.0
        self._rows: dict[str, RescoredAccount | None] = {}
        self.refresh()

    @classmethod
    def of(cls, settings: Settings, opened: Store, key: str | None, as_of: datetime) -> Self | None:
        """That of a snapshot; None where the history that it was taken from is gone.

        Args:
            settings: The company's.
            opened: Its state database.
            key: Of the kept history, as the snapshot has it.
            as_of: Where the snapshot looks from.
        """
        history = History.reopen(settings, key) if key else None
        if history is None:
            _log.warning("scores by id see no posted events: the history behind the snapshot is gone; score again")
            return None
        return cls(settings, opened, history, as_of)

    @property
    def is_stale(self) -> bool:
        """Whether something may have come since the last `renew`; takes a microsecond."""
        return self._mark.value != self._told or time.monotonic() - self._looked_at > POLL_SECONDS

    def refresh(self) -> None:
        """Take note of what has come since.

        Raises:
            GarrisonError: The state database can't be read.
        """
        with self._lock:
            # Read before the log is: what comes in between is found the next time.
            told, now = self._mark.value, time.monotonic()
            query = sa.select(EVENT_LOG.c.account_id, sa.func.max(EVENT_LOG.c.seq)).where(
                EVENT_LOG.c.seq > self._position
            )
            with self._store.reading() as connection:
                found = connection.execute(query.group_by(EVENT_LOG.c.account_id)).all()
            # A place holds whatever the order of accounts: those of one account ascend.
            for account_id, seq in found:
                for bearer in (account_id, *self._bearers.get(account_id, ())):
                    self._newest[bearer] = max(seq, self._newest.get(bearer, 0))
                self._position = max(self._position, seq)
            self._told, self._looked_at = told, now

    def has_new_events(self, account_ids: Iterable[str]) -> bool:
        """Whether one of these has; the log is asked where it is time to. Where it can't be, what is known holds."""
        if self.is_stale:
            told = self._mark.value
            try:
                self.refresh()
            except GarrisonError as error:
                _log.warning("what was posted of late is not seen: %s", error)
                # Nothing can be posted meanwhile either; the next look is made in its time.
                self._told, self._looked_at = told, time.monotonic()
        return bool(self._newest) and any(account_id in self._newest for account_id in account_ids)

    def rescore(self, scorer: Scorer, account_id: str) -> RescoredAccount | None:
        """An account worked out from its history and its events; some milliseconds the first time.

        It is looked at from the first instant at which all its events are seen, and not before the snapshot's.

        Returns:
            None where it has no events after the snapshot, or no account is known by that id.
        """
        newest = self._newest.get(account_id)
        if newest is None:
            return None
        found = self._rows.get(account_id)
        if account_id not in self._rows or (found and found.position < newest):
            found = self._worked_out(scorer, account_id, newest)
            if len(self._rows) >= _MOST:
                self._rows.clear()
            self._rows[account_id] = found
        return found

    def _worked_out(self, scorer: Scorer, account_id: str, newest: int) -> RescoredAccount | None:
        with self._store.reading() as connection:
            found = read_revisions(connection, self._history, [account_id], until=newest)
        tables = read_account_rows(self._settings, self._history, [account_id], found)
        if not tables["accounts"]:
            return None
        as_of = max(to_micros(self._as_of), find_seen_from(found))
        rows = snapshot_store.prepare_rows(self._settings, scorer, tables, from_micros(as_of))
        return RescoredAccount(rows, newest) if len(rows) else None

    def close(self) -> None:
        """Give back what it holds."""
        self._history.close()
        self._mark.close()


def load_bearers(history: History) -> dict[str, tuple[str, ...]]:
    """By merged account, those that bear its events as well."""
    found: dict[str, tuple[str, ...]] = {}
    each = history.query("SELECT account_id, bearer FROM identity.bearers WHERE bearer <> account_id ORDER BY ALL")
    for account_id, bearer in each.itertuples(index=False):
        found[account_id] = (*found.get(account_id, ()), bearer)
    return found


def read_revisions(connection: sa.Connection, history: History, account_ids: Sequence[str], *, until: int) -> pa.Table:
    """What came after a history was read of events that some accounts bear, up to a place of the log."""
    wanted = set(account_ids)
    merged = (a for a, others in load_bearers(history).items() if wanted.intersection(others))
    after = history.kept.position if history.kept else 0
    return posted_events.revisions(connection, sorted(wanted.union(merged)), after=after, until=until)


def read_account_rows(
    settings: Settings, history: History, account_ids: Sequence[str], revisions: pa.Table
) -> dict[str, list[dict[str, Any]]]:
    """Canonical rows of some accounts by table, with events that came after the history was read.

    Args:
        settings: The company's.
        history: Its kept history.
        account_ids: Whose rows.
        revisions: As `features.sources.posted_events.revisions` reads them.
    """
    mine = f"account_id IN ({', '.join(map(quote_literal, account_ids))})"
    found: dict[str, list[dict[str, Any]]] = {}
    with history.cursor() as cursor:
        for table in (t for t in history.tables if t != "identities"):
            numbered = table == "accounts" or table in EVENTS
            sql = f"SELECT *{' EXCLUDE (account_no)' * numbered} FROM main.{table} WHERE {mine}"  # noqa: S608  # quoted
            if table in SOURCES and posted_events.count(revisions, table):
                found[table] = _joined(cursor, settings, table, revisions, mine=mine, own=sql)
            else:
                found[table] = cursor.sql(sql).to_arrow_table().to_pylist()
    return found


def _joined(  # noqa: PLR0913  # all but the first four named
    cursor: duckdb.DuckDBPyConnection, settings: Settings, table: str, revisions: pa.Table, *, mine: str, own: str
) -> list[dict[str, Any]]:
    with posted_events.shown(cursor, revisions):
        posted = posted_events.rows(settings, table)
        if table == "tickets":
            # A ticket that the table has of another account is that one's.
            own += f" OR ticket_id IN (SELECT ticket_id FROM ({posted}))"  # noqa: S608  # the contract's own names
        sql = posted_events.joined(settings, table, own, posted)
        found = cursor.sql(f"SELECT * FROM ({sql}) WHERE {mine}")  # noqa: S608  # as above
        return found.to_arrow_table().to_pylist()


def find_seen_from(revisions: pa.Table) -> int:
    """The first instant at which all of these events have happened and are known, in µs; 0 without any."""
    latest = 0
    for source, known_at, content in zip(*(revisions[c].to_pylist() for c in _EVENT), strict=True):
        row = json.loads(content)
        times = [row[c] for c in (str(TABLES[source].time), *LATER) if c in row]
        latest = max([latest, known_at, *(visible_from(t, known_at, ROWS) for t in times)])
    return latest

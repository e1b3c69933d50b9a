"""Keep who is signed in: sessions on the server, found by the hash of a random token in a cookie."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.timestamps import to_micros
from features.settings.console import ConsoleSettings
from features.state.console_tables import CONSOLE_SESSIONS
from features.state.database import Store
from monitoring.console.kept_reads import KeptReads

_MICROSECOND = timedelta(microseconds=1)
# A session's last request is noted once in so many microseconds, and at least so often before it ends for want of one:
# reading pages writes little, since each write lets all that is kept of the state database be read anew.
_NOTED_EVERY, _NOTES = 300_000_000, 60


def hash_token(token: str) -> str:
    """Return what is stored of a random token."""
    return hashlib.sha256(token.encode()).hexdigest()


def create_token() -> str:
    """Return a new random token of 256 bits."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class Session:
    """A session.

    Args:
        hash: Of its token.
        address: Of the person, in lower case.
        groups: Of the provider that the person signed in with.
        until: Before this instant (µs) it neither ends by itself, nor is a request noted.
    """

    hash: str
    address: str
    groups: tuple[str, ...]
    until: int


@dataclass(frozen=True)
class Sessions:
    """Starts, finds and ends sessions.

    Args:
        store: The state database.
        settings: How long sessions last.
        clock: Returns the instant.
    """

    store: Store
    settings: ConsoleSettings
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def start(self, connection: sa.Connection, address: str, groups: Collection[str], method: str) -> str:
        """Start a session in the caller's transaction, and return its token: always a new one.

        Args:
            connection: Of the transaction that signs the person in.
            address: Of the person.
            groups: Of the provider.
            method: link or oidc.
        """
        token, now = create_token(), self.read_clock()
        connection.execute(sa.delete(CONSOLE_SESSIONS).where(CONSOLE_SESSIONS.c.ends_at <= now))
        row = {
            "hash": hash_token(token),
            "address": address.lower(),
            "groups": sorted(groups),
            "method": method,
            "created_at": now,
            "seen_at": now,
            "ends_at": now + self.settings.longest // _MICROSECOND,
        }
        connection.execute(sa.insert(CONSOLE_SESSIONS), row)
        return token

    def find(self, token: str, kept: KeptReads | None = None) -> Session | None:
        """Find the session of a token; None if there is none, or it has ended.

        Args:
            token: Of the browser's cookie.
            kept: What is kept of the state database; None reads anew.
        """
        hashed, now = hash_token(token), self.read_clock()
        row = kept.get(("session", hashed), lambda: self._read(hashed)) if kept else self._read(hashed)
        idle = self.settings.idle // _MICROSECOND
        if row is None or row.ends_at <= now or row.seen_at <= now - idle:
            return None
        note_after = min(_NOTED_EVERY, idle // _NOTES)
        if now - row.seen_at > note_after:
            # Where another process writes for long, the next request notes it.
            with suppress(GarrisonError), self.store.writing() as connection:
                connection.execute(
                    sa.update(CONSOLE_SESSIONS).where(CONSOLE_SESSIONS.c.hash == row.hash).values(seen_at=now)
                )
        until = min(row.ends_at, row.seen_at + note_after)
        return Session(row.hash, row.address, tuple(row.groups), until)

    def _read(self, hashed: str) -> Any:
        c = CONSOLE_SESSIONS.c
        query = sa.select(c.hash, c.address, c.groups, c.seen_at, c.ends_at).where(c.hash == hashed)
        with self.store.reading() as connection:
            return connection.execute(query).first()

    def end(self, connection: sa.Connection, token: str) -> None:
        """End the session of a token, in the caller's transaction."""
        connection.execute(sa.delete(CONSOLE_SESSIONS).where(CONSOLE_SESSIONS.c.hash == hash_token(token)))

    def end_all(self, connection: sa.Connection, address: str) -> int:
        """End all sessions of a person, in the caller's transaction; return their number."""
        ended = sa.delete(CONSOLE_SESSIONS).where(CONSOLE_SESSIONS.c.address == address.lower())
        return connection.execute(ended).rowcount

    def read_clock(self) -> int:
        """Return the instant (µs)."""
        return to_micros(self.clock())

"""Remember who was erased, as a keyed hash, so that no import and no post brings them back.

Whoever has the hashes but not the key can't try ids on them. The key comes from the environment, or is made once beside
the state.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from features.core.errors import SettingsError
from features.core.timestamps import to_micros
from features.core.user import name_user
from features.settings import Settings
from features.state.erasure_tables import ERASURES

Kind = Literal["account", "person"]
_LEAST = 32
# In the company's folder.
KEY_FILE = "privacy.key"
# The row by which a key is recognised.
_KEY = "key"


def read_key(settings: Settings) -> bytes:
    """Return the company's key, from the environment or else from a private file, which is made if it is missing.

    Raises:
        SettingsError: The variable is too short.
    """
    given = os.environ.get(settings.privacy.key_env, "").strip()
    if given and len(given) < _LEAST:
        raise SettingsError(
            f"the environment variable {settings.privacy.key_env} is too short for a key",
            found=f"{len(given)} characters",
            hint=f"Give at least {_LEAST}, such as of `openssl rand -hex 32`",
        )
    return given.encode() if given else _read_file(settings.var / KEY_FILE)


def _read_file(file: Path) -> bytes:
    if not file.exists():
        _write_file(file, secrets.token_hex(32).encode())
    return file.read_bytes().strip()


def keep_key(settings: Settings, key: bytes) -> None:
    """Write a key into the company's file if it has none, and the environment has not that key."""
    if os.environ.get(settings.privacy.key_env, "").strip().encode() != key:
        _write_file(settings.var / KEY_FILE, key)


def _write_file(file: Path, key: bytes) -> None:
    """Write the file, private, unless there is one: of two processes the first makes it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        part.touch(mode=0o600)
        with part.open("wb") as opened:
            opened.write(key)
            opened.flush()
            os.fsync(opened.fileno())  # without the key nobody who was erased is known any more
        with contextlib.suppress(FileExistsError):
            os.link(part, file)
    finally:
        part.unlink(missing_ok=True)


@dataclass(frozen=True)
class Tombstones:
    """Who was erased.

    Args:
        key: The company's.
        hashes: Of all that were erased.
    """

    key: bytes
    hashes: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.hashes)

    def find(self, kind: Kind, ids: Iterable[str]) -> set[str]:
        """Return those of the ids that were erased."""
        return {one for one in ids if hash_id(self.key, kind, one) in self.hashes} if self.hashes else set()


NOBODY = Tombstones(b"", frozenset())


def hash_id(key: bytes, kind: str, one: str) -> str:
    """Return the keyed hash of an id (HMAC with SHA-256) as 64 hexadecimal digits."""
    return hmac.digest(key, f"{kind}\x1f{one}".encode(), "sha256").hex()


def make_pseudonyms(settings: Settings) -> Callable[[str], str] | None:
    """Return what gives a user's id its pseudonym, 16 hexadecimal digits by the company's key; None where ids stay."""
    if settings.privacy.user_ids == "keep":
        return None
    key = read_key(settings)
    return cache(lambda one: hash_id(key, "user", one)[:16])


def query_tombstones(connection: sa.Connection, settings: Settings) -> Tombstones:
    """Read who was erased; the key is read only where somebody was.

    Raises:
        SettingsError: The key is not the one that they were erased by.
    """
    hashes = frozenset(connection.execute(sa.select(ERASURES.c.hash)).scalars())
    if not hashes:
        return NOBODY
    key = read_key(settings)
    if hash_id(key, _KEY, "") not in hashes:
        raise SettingsError(
            "the privacy key is not the one by which accounts or people were erased",
            hint=f"Set {settings.privacy.key_env}, or bring back {settings.var / KEY_FILE}: else they would come back",
        )
    return Tombstones(key, hashes)


def write_tombstone(connection: sa.Connection, settings: Settings, kind: Kind, one: str, reason: str) -> str:
    """Write that somebody is being erased, and by whom, in the caller's transaction; return the hash.

    Raises:
        SettingsError: The key is not the one of earlier erasures.
    """
    query_tombstones(connection, settings)
    key, now = read_key(settings), to_micros(datetime.now(UTC))
    hashed = hash_id(key, kind, one)
    known = set(connection.execute(sa.select(ERASURES.c.hash)).scalars())
    for row_hash, row_kind in ((hash_id(key, _KEY, ""), _KEY), (hashed, kind)):
        if row_hash not in known:
            row = {"hash": row_hash, "kind": row_kind, "reason": reason, "by": name_user(), "at": now, "done_at": None}
            connection.execute(sa.insert(ERASURES), row)
    return hashed


def mark_done(connection: sa.Connection, hashed: str) -> None:
    """Write that an erasure went through to its end."""
    done = {"done_at": to_micros(datetime.now(UTC))}
    connection.execute(sa.update(ERASURES).where(ERASURES.c.hash == hashed).values(done))

"""Creates, lists, revokes and checks the keys of the HTTP service; they are stored hashed.

A key has scopes: `score` allows scoring, `read` accounts, models and metrics, `ingest` posting events, `admin` all.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import sqlalchemy as sa

from features.core.errors import GarrisonError, nearest
from features.core.timestamps import from_micros, to_micros
from features.state.database import Store
from features.state.tables import API_KEYS

SCOPES = ("score", "read", "ingest", "admin")
DEFAULT_SCOPE = "score,read"
_SHAPE = re.compile(r"garrison_([0-9a-f]{12})_([0-9a-f]{64})")


@dataclass(frozen=True)
class Key:
    """A key's record, with the hash of its secret."""

    key_id: str
    name: str
    hash: str
    scope: str
    created_at: datetime
    revoked_at: datetime | None

    def has_scope(self, scope: str) -> bool:
        """Return whether the key has a scope; admin has all."""
        return scope in self.scopes

    @cached_property
    def scopes(self) -> frozenset[str]:
        """Return all scopes that the key has."""
        scopes = frozenset(self.scope.split(","))
        return frozenset(SCOPES) if "admin" in scopes else scopes


def create_key(store: Store, name: str, scope: str = DEFAULT_SCOPE) -> str:
    """Create a key and store its hash.

    Args:
        store: The state database.
        name: Who or what will use it.
        scope: One of `SCOPES`, or several, joined by commas.

    Returns:
        The key's text, which is stored nowhere: show it once.

    Raises:
        GarrisonError: The name is empty, or a scope does not exist.
    """
    scopes = {word.strip() for word in scope.split(",")}
    for word in sorted(scopes - set(SCOPES)):
        raise GarrisonError(f"there is no scope {word!r}", hint=nearest(word, SCOPES))
    if not name.strip():
        raise GarrisonError("a key needs a name", hint="Name who or what will use it: --name billing")
    key_id, secret = secrets.token_hex(6), secrets.token_hex(32)
    row = {
        "key_id": key_id,
        "name": name.strip(),
        "hash": _hash(secret),
        "scope": ",".join(word for word in SCOPES if word in scopes),
        "created_at": to_micros(datetime.now(UTC)),
    }
    with store.writing() as connection:
        connection.execute(sa.insert(API_KEYS).values(row))
    return f"garrison_{key_id}_{secret}"


def list_keys(store: Store) -> list[Key]:
    """Return all keys, revoked ones too, oldest first."""
    query = sa.select(API_KEYS).order_by(API_KEYS.c.created_at, API_KEYS.c.key_id)
    with store.reading() as connection:
        return [
            Key(
                **{
                    **row,
                    "created_at": from_micros(row["created_at"]),
                    "revoked_at": None if row["revoked_at"] is None else from_micros(row["revoked_at"]),
                }
            )
            for row in connection.execute(query).mappings()
        ]


def revoke_key(store: Store, key_id: str) -> None:
    """Revoke a key for good; one that is revoked already keeps its date.

    Raises:
        GarrisonError: There is no such key.
    """
    known = {key.key_id: key for key in list_keys(store)}
    if key_id not in known:
        raise GarrisonError(f"there is no key {key_id}", hint="List them: python -m serving key list")
    is_valid = (API_KEYS.c.key_id == key_id) & API_KEYS.c.revoked_at.is_(None)
    with store.writing() as connection:
        connection.execute(sa.update(API_KEYS).where(is_valid).values(revoked_at=to_micros(datetime.now(UTC))))


class Keyring:
    """The valid keys, in memory.

    Raises:
        GarrisonError: They can't be read.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._valid: Mapping[str, Key] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read the valid keys again; if that fails, the previous ones stay.

        Raises:
            GarrisonError: They can't be read.
        """
        self._valid = {key.key_id: key for key in list_keys(self._store) if key.revoked_at is None}

    def find_key(self, header: str | None) -> Key | None:
        """Return the key of an Authorization header; None if it has no valid one."""
        scheme, _, token = (header or "").partition(" ")
        match = _SHAPE.fullmatch(token.strip())
        if scheme.lower() != "bearer" or not match:
            return None
        key = self._valid.get(match[1])
        # Compared even if there is no such key, so that the time taken reveals nothing.
        is_right = hmac.compare_digest(_hash(match[2]), key.hash if key else _hash(""))
        return key if is_right else None


def _hash(secret: str) -> str:
    # A random secret of 256 bits can't be guessed, so it needs no salt and no slow hash.
    return hashlib.sha256(secret.encode()).hexdigest()

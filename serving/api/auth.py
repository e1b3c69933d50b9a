"""Keys of the HTTP service: made and revoked by a command, stored hashed, compared in constant time.

A key has scopes: `score` asks for scores, `read` sees accounts, models and figures, `ingest` sends events, `admin` does
all of it.
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
    """A key's record; of its secret there is only the hash."""

    key_id: str
    name: str
    hash: str
    scope: str
    created_at: datetime
    revoked_at: datetime | None

    def has_scope(self, scope: str) -> bool:
        """Whether it has a scope; admin has all."""
        return scope in self.scopes

    @cached_property
    def scopes(self) -> frozenset[str]:
        """What it may do."""
        given = frozenset(self.scope.split(","))
        return frozenset(SCOPES) if "admin" in given else given


def create_key(store: Store, name: str, scope: str = DEFAULT_SCOPE) -> str:
    """Make a key and store its hash. The text given back exists nowhere else: show it once.

    Args:
        store: Where.
        name: Who or what will use it.
        scope: One of `SCOPES`, or several, joined by commas.

    Raises:
        GarrisonError: There is no name, or a scope that doesn't exist.
    """
    given = {word.strip() for word in scope.split(",")}
    for word in sorted(given - set(SCOPES)):
        raise GarrisonError(f"there is no scope {word!r}", hint=nearest(word, SCOPES))
    if not name.strip():
        raise GarrisonError("a key needs a name", hint="Name who or what will use it: --name billing")
    key_id, secret = secrets.token_hex(6), secrets.token_hex(32)
    row = {
        "key_id": key_id,
        "name": name.strip(),
        "hash": _hash(secret),
        "scope": ",".join(word for word in SCOPES if word in given),
        "created_at": to_micros(datetime.now(UTC)),
    }
    with store.writing() as connection:
        connection.execute(sa.insert(API_KEYS).values(row))
    return f"garrison_{key_id}_{secret}"


def list_keys(store: Store) -> list[Key]:
    """All keys, oldest first, revoked ones among them."""
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
    """End a key, for good; one that is revoked already keeps its date.

    Raises:
        GarrisonError: There is no such key.
    """
    known = {key.key_id: key for key in list_keys(store)}
    if key_id not in known:
        raise GarrisonError(f"there is no key {key_id}", hint="List them: python -m serving key list")
    live = (API_KEYS.c.key_id == key_id) & API_KEYS.c.revoked_at.is_(None)
    with store.writing() as connection:
        connection.execute(sa.update(API_KEYS).where(live).values(revoked_at=to_micros(datetime.now(UTC))))


class Keyring:
    """The live keys, in memory.

    Raises:
        GarrisonError: They can't be read.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._live: Mapping[str, Key] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read the live keys again; where that fails, those read before stay in force.

        Raises:
            GarrisonError: They can't be read.
        """
        self._live = {key.key_id: key for key in list_keys(self._store) if key.revoked_at is None}

    def find_key(self, header: str | None) -> Key | None:
        """The key that an Authorization header carries, None unless it is a live one."""
        scheme, _, given = (header or "").partition(" ")
        match = _SHAPE.fullmatch(given.strip())
        if scheme.lower() != "bearer" or not match:
            return None
        key = self._live.get(match[1])
        # Compared even where there is no such key: the time taken tells nothing.
        right = hmac.compare_digest(_hash(match[2]), key.hash if key else _hash(""))
        return key if right else None


def _hash(secret: str) -> str:
    # A random secret of 256 bits needs no salt and no slow hash: there is nothing to guess.
    return hashlib.sha256(secret.encode()).hexdigest()

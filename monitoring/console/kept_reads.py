"""Keep what was read of the state database until anything in it changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from time import monotonic
from typing import Any, TypeVar, cast

from features.state.database import Store
from features.state.state_version import StateVersion

T = TypeVar("T")
_MOST = 4_096
# What follows from the clock too, such as who is away, is kept for so long at most.
_SECONDS = 10


def count_time() -> int:
    """Return a number that is another one every ten seconds, for the keys of what follows from the clock too."""
    return int(monotonic() / _SECONDS)


class KeptReads:
    """Answers of the state database by key; several threads may ask at once.

    Every read first asks whether anything was written since: what a person did is seen by the next request, whichever
    process did it.

    Args:
        store: The open state database.
    """

    def __init__(self, store: Store) -> None:
        self._version, self._lock = StateVersion(store), threading.Lock()
        self._seen: Hashable = None
        self._kept: dict[Hashable, Any] = {}
        self._making: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, read: Callable[[], T]) -> T:
        """Return what is kept under a key; read it where nothing is, or where something was written since.

        Args:
            key: Names the answer and all that it depends on, beside the state database: also the clock, if it does.
            read: Returns it; the caller must not change what it gets.
        """
        mark = self._version.read()
        with self._lock:
            if mark != self._seen or len(self._making) > _MOST:
                self._seen, self._kept, self._making = mark, {}, {}
            if key in self._kept:
                return cast("T", self._kept[key])
            kept, making = self._kept, self._making.setdefault(key, threading.Lock())
        with making:  # those who ask for the same at once wait for the first
            if key in kept:
                return cast("T", kept[key])
            # A write that comes in between changes the mark: the next one who asks reads anew.
            kept[key] = answer = read()
            return answer

    def peek(self, key: Hashable) -> Any:
        """Return what is kept under a key, at once; None where nothing is, or only a server could tell."""
        if not self._version.is_near:
            return None
        mark = self._version.read()
        with self._lock:
            return self._kept.get(key) if mark == self._seen else None

    def close(self) -> None:
        """Close its connection to the database."""
        self._version.close()

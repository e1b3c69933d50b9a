"""Keep in memory what was read from a file, and read it anew when another file takes its place."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from features.core.errors import GarrisonError

T = TypeVar("T")
Mark = tuple[Path | None, int]
_LOG = logging.getLogger("garrison.files")


class FileValue(Generic[T]):
    """What was read from the newest file of a kind; several threads may ask at once.

    It is read when it is first asked for, and again when the file is another one or was written anew.

    Args:
        find: Returns the newest file; None without one.
        read: Returns what that file holds.
        in_background: Whether a newer file is read in the background, since that takes long: who asks meanwhile gets
            what was read before.

    Examples:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "greeting"
        >>> _ = file.write_text("hello")
        >>> FileValue(lambda: file, lambda found: found and found.read_text()).get()
        'hello'
    """

    def __init__(
        self, find: Callable[[], Path | None], read: Callable[[Path | None], T], *, in_background: bool = False
    ) -> None:
        self._find, self._read, self._in_background = find, read, in_background
        self._lock = threading.Lock()
        self._kept: tuple[Mark, T] | None = None
        self._tried: Mark | None = None
        self._thread: threading.Thread | None = None

    def get(self) -> T:
        """Return what the newest file holds, or while that is read in the background, what the one before held.

        Raises:
            GarrisonError: It can't be read; in the background, only before anything was read.
        """
        mark, kept = self._mark(), self._kept
        if kept is not None and (kept[0] == mark or self._in_background):
            if kept[0] != mark:
                self._begin(mark)
            return kept[1]
        with self._lock:  # those who ask at the same time wait for the first
            if self._kept is None or self._kept[0] != mark:
                self._kept = mark, self._read(mark[0])
            return self._kept[1]

    @property
    def current(self) -> T | None:
        """Return what was read last, without looking for a newer file; None before the first."""
        return None if self._kept is None else self._kept[1]

    def wait(self) -> None:
        """Wait until what is read in the background is read."""
        if self._thread is not None:
            self._thread.join()

    def _begin(self, mark: Mark) -> None:
        with self._lock:
            # One that can't be read is tried once: what was read before stays in use.
            if self._tried != mark and (self._thread is None or not self._thread.is_alive()):
                self._tried = mark
                self._thread = threading.Thread(target=self._replace, args=(mark,), name="file-value", daemon=True)
                self._thread.start()

    def _replace(self, mark: Mark) -> None:
        try:
            self._kept = mark, self._read(mark[0])
        except GarrisonError as error:
            _LOG.warning("%s can't be read, keeping what was read before: %s", mark[0], error)

    def _mark(self) -> Mark:
        file = self._find()
        return file, 0 if file is None else file.stat().st_mtime_ns

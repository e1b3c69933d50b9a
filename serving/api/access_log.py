"""The audit log: who asked for whose scores, a line of JSON for each request that carried a live key.

A request puts its line on a queue and waits for nothing; a thread writes what is there, every second and at the end.
A line is never dropped: where the disk takes none for so long that the queue is full, the service refuses to score.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic_core import to_json

from features.settings import Settings

_log = logging.getLogger("bentoml.garrison")
# Bytes of lines that may wait: minutes of full load.
MAX_WAITING_BYTES = 32 * 2**20
WRITE_SECONDS = 1.0  # seconds between writes
_LONGEST = 200  # characters of an account id; what is longer is none


def access_log_folder(settings: Settings) -> Path:
    """Where a company's audit files lie: one a day and worker, kept until somebody removes them."""
    return settings.var / "audit"


class AccessLog:
    """One worker's audit log; close it, so that what waits is written.

    Args:
        place: Its folder; made.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._lines: list[bytes] = []
        self._waiting = 0
        self._second, self._said = 0, ""
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._troubled = False
        self._thread = threading.Thread(target=self._run, name="garrison-audit", daemon=True)
        self._thread.start()

    @property
    def is_full(self) -> bool:
        """Whether no line can be taken: nothing should be answered then."""
        return self._waiting >= MAX_WAITING_BYTES

    def record(self, key_id: str, route: str, status: int, accounts: Sequence[str | None]) -> None:
        """Say that a request was answered.

        Args:
            key_id: Whose key it carried; the name stays in the state database.
            route: Its route's name.
            status: HTTP status.
            accounts: Ids of the accounts asked for; None for an item that gave none.
        """
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second, self._said = second, datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        names = to_json([name and name[:_LONGEST] for name in accounts]).decode()
        at = f"{self._said}.{int(1000 * (now - second)):03}Z"
        # Nothing of ours needs JSON's escapes.
        line = f'{{"at":"{at}","key":"{key_id}","route":"{route}","status":{status},"count":{len(accounts)},'
        written = f'{line}"accounts":{names}}}\n'.encode()
        with self._lock:
            self._lines.append(written)
            self._waiting += len(written)

    def close(self) -> None:
        """Write what waits, and stop."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        left = b""
        while not self._over.wait(WRITE_SECONDS):
            left = self._write(left)
        self._write(left)

    def _write(self, left: bytes) -> bytes:
        """Write what waits; gives what the disk did not take."""
        with self._lock:
            lines, self._lines = self._lines, []
        left += b"".join(lines)
        if not left:
            return left
        try:
            self._place.mkdir(parents=True, exist_ok=True)
            file = self._place / f"{datetime.now(UTC):%Y-%m-%d}.{os.getpid()}.jsonl"
            opened = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                while left:
                    left = left[os.write(opened, left) :]
            finally:
                os.close(opened)
        except OSError as error:
            if not self._troubled:
                _log.error("the audit log can't be written, and scores end when its queue is full: %s", error.strerror)
        self._troubled = bool(left)
        with self._lock:
            self._waiting = len(left) + sum(map(len, self._lines))
        return left

"""Writes the access log: who asked for whose scores, a line of JSON for each request with a valid key.

A request only queues its line; a thread writes the lines every second and at the end. No line is ever dropped: if the
disk takes none for so long that the queue is full, the service refuses to score.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic_core import to_json

from features.settings import Settings
from serving.background_writer import BackgroundWriter

_log = logging.getLogger("bentoml.garrison")
# Minutes of full load.
MAX_WAITING_BYTES = 32 * 2**20
WRITE_SECONDS = 1.0
_MAX_ID = 200  # characters; nothing longer is an account id


def access_log_folder(settings: Settings) -> Path:
    """Return the folder of a company's files, one for each day and worker; the night removes old ones."""
    return settings.var / "audit"


class AccessLog:
    """One worker's access log; close it, so that waiting lines are written.

    Args:
        folder: Where its files lie; it is made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Each counter is changed by one thread alone, so neither needs a lock.
        self._queued_bytes, self._written_bytes = 0, 0
        self._second, self._second_text = 0, ""
        self._has_failed = False
        self._writer = BackgroundWriter("garrison-access-log", self._write, WRITE_SECONDS)

    @property
    def is_full(self) -> bool:
        """Return whether no line can be taken; no request should be answered then."""
        return self._queued_bytes - self._written_bytes >= MAX_WAITING_BYTES

    def record(self, key_id: str, route: str, status: int, accounts: Sequence[str | None]) -> None:
        """Queue the line of an answered request; call it from one thread only.

        Args:
            key_id: Of the request's key; the key's name stays in the state database.
            route: The route's name.
            status: HTTP status.
            accounts: Ids of the accounts asked for; None for an item that gave none.
        """
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._second_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        ids = to_json([account_id and account_id[:_MAX_ID] for account_id in accounts]).decode()
        at = f"{self._second_text}.{int(1000 * (now - second)):03}Z"
        # None of our own values needs JSON's escapes.
        start = f'{{"at":"{at}","key":"{key_id}","route":"{route}","status":{status},"count":{len(accounts)},'
        line = f'{start}"accounts":{ids}}}\n'.encode()
        self._queued_bytes += len(line)
        self._writer.put(line)

    def close(self) -> None:
        """Write what waits, and stop."""
        self._writer.close()

    def _write(self, lines: list[bytes]) -> list[bytes]:
        """Append lines to today's file; return what the disk did not take, which may begin within a line."""
        rest = b"".join(lines)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{datetime.now(UTC):%Y-%m-%d}.{os.getpid()}.jsonl"
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                while rest:
                    written = os.write(file, rest)
                    self._written_bytes += written
                    rest = rest[written:]
            finally:
                os.close(file)
        except OSError as error:
            if not self._has_failed:
                _log.error(
                    "the access log can't be written: %s. Once its queue is full, requests are refused", error.strerror
                )
        self._has_failed = bool(rest)
        return [rest] if rest else []

"""A mailbox to try alerts out: an SMTP server on this machine that accepts every message and saves it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from itertools import count
from pathlib import Path
from typing import Any

from features.core.errors import GarrisonError
from features.core.safe_line import to_safe_line

HOST = "127.0.0.1"
Say = Callable[[str], None]


class MailSaver:
    """aiosmtpd's handler: saves each message as .eml, and prints one line about it."""

    def __init__(self, folder: Path, say: Say) -> None:
        self._folder, self._say, self._numbers = folder, say, count(1)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802  # aiosmtpd's name
        """Save the message, then answer 250: an accepted message is on disk."""
        number = self._save(envelope.original_content)
        subject = message_from_bytes(envelope.original_content, policy=policy.default)["Subject"]
        self._say(to_safe_line(f"{number}.eml to {', '.join(envelope.rcpt_tos)}: {subject}", 500))
        return "250 saved"

    def _save(self, content: bytes) -> str:
        for number in self._numbers:
            try:
                with (self._folder / f"{number:04}.eml").open("xb") as file:
                    file.write(content)
            except FileExistsError:
                continue
            return f"{number:04}"
        raise AssertionError


@contextmanager
def open_mailbox(port: int, folder: Path, say: Say) -> Iterator[None]:
    """Accept messages on this port of the local machine while the context lasts.

    Raises:
        GarrisonError: aiosmtpd is not installed, the port is taken, or the folder can't be made.
    """
    try:
        from aiosmtpd.controller import Controller
    except ModuleNotFoundError:
        raise GarrisonError(
            "the mailbox needs aiosmtpd, which is for development", hint="Run `pip install aiosmtpd`"
        ) from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        socket.create_server((HOST, port)).close()  # aiosmtpd would take seconds to find that the port is taken
        server = Controller(MailSaver(folder, say), hostname=HOST, port=port)
        server.start()
    except OSError as error:
        raise GarrisonError(
            f"the mailbox can't open on {HOST}:{port} with folder {folder}",
            found=error.strerror or str(error),
            hint="Choose another --port or --folder",
        ) from error
    try:
        yield
    finally:
        server.stop()


def serve(port: int, folder: Path, seconds: float | None, say: Say) -> None:
    """Accept messages until the time is up, or until interrupted."""
    end = None if seconds is None else time.monotonic() + seconds
    with open_mailbox(port, folder, say):
        say(f"taking mail on {HOST}:{port}, into {folder}")
        while end is None or time.monotonic() < end:
            time.sleep(0.2 if end is None else max(0.0, min(0.2, end - time.monotonic())))

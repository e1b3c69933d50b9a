"""Channels: how a message leaves the outbox - by e-mail, or into a folder.

Handing over is in two steps, so that a crash leaves as little in doubt as can be: `offer` does all that can
fail harmlessly, `hand_over` is the point of no return.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from features.core.errors import DeliveryError, GarrisonError
from features.settings import Alerts
from monitoring.notifications.email_message import Message, Refused, compose


class Channel(Protocol):
    """A way to hand messages over, one at a time.

    Attributes:
        name: As the outbox records it.
        repeatable: Whether handing the same message over twice is the same as once.
    """

    name: str
    repeatable: bool

    def prepare(self, message: Message) -> None:
        """Prepare the hand-over; nothing has been accepted after it.

        Raises:
            Refused: This message will not be taken now.
            DeliveryError: The channel takes no messages at all now.
        """

    def commit(self, message: Message) -> None:
        """Hand over the message last offered.

        Raises:
            Refused: It was not taken.
            Unknown: It may have been taken.
        """

    def close(self) -> None:
        """Let go; a message offered and not handed over is forgotten."""


def open_for(alerts: Alerts) -> Channel:
    """The channel that the settings name; e-mail where both are named.

    Raises:
        GarrisonError: They name none, or one that can't be used.
    """
    if alerts.email is not None:
        # Apprise takes a while to import: only those who send wait for it.
        from monitoring.notifications.smtp import Mail

        return Mail(alerts.email)
    if alerts.folder is not None:
        return Folder(Path(alerts.folder))
    raise GarrisonError(
        "there is no channel to deliver alerts through",
        hint="Set [alerts.email] with host and sender, or alerts.folder, in the TOML file",
    )


class Folder:
    """Messages as .eml files, each named after its message: written twice, it is still one."""

    name = "folder"
    repeatable = True
    sender = "Garrison <garrison@localhost>"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self, message: Message) -> None:
        """Write the whole file, under a name that no reader looks for."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._part(message).open("wb") as file:
                file.write(compose(message, self.sender))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DeliveryError(
                f"the folder {self._folder} can't be written to",
                found=error.strerror,
                hint="All messages stay in the outbox; make it writable and run `python -m monitoring deliver` again",
            ) from error

    def commit(self, message: Message) -> None:
        """Give the file its name, at once."""
        try:
            self._part(message).replace(self._folder / f"{message.id}.eml")
        except OSError as error:
            raise Refused(error.strerror) from error

    def close(self) -> None:
        """Nothing is held."""

    def _part(self, message: Message) -> Path:
        return self._folder / f".{message.id}.part"

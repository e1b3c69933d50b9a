"""Channels: send a message from the outbox by e-mail, or write it into a folder.

Sending has two steps, so that a crash leaves as little in doubt as possible: `prepare` does everything that can fail
without harm, `commit` is the point of no return.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from features.core.errors import DeliveryError, GarrisonError
from features.settings import Alerts
from monitoring.notifications.email_message import MessageRefused, OutgoingMessage, compose_email
from monitoring.notifications.smtp import EmailChannel


class Channel(Protocol):
    """A way to send messages, one at a time.

    Attributes:
        name: As the outbox records it.
    """

    name: str

    def prepare(self, message: OutgoingMessage) -> None:
        """Do everything short of sending; nothing has been accepted after it.

        Raises:
            MessageRefused: The channel does not take this message now.
            DeliveryError: The channel takes no messages at all now.
        """

    def commit(self, message: OutgoingMessage) -> None:
        """Send the message prepared last.

        Raises:
            MessageRefused: It was not accepted.
            AnswerUnknown: It may have been accepted.
        """

    def close(self) -> None:
        """Close the channel; a message prepared and not committed is dropped."""


def open_channel(alerts: Alerts) -> Channel:
    """Open the channel that the settings name; e-mail if they name both.

    Raises:
        GarrisonError: They name none, or one that can't be used.
    """
    if alerts.email is not None:
        return EmailChannel(alerts.email)
    if alerts.folder is not None:
        return FolderChannel(Path(alerts.folder))
    raise GarrisonError(
        "there is no channel to deliver alerts through",
        hint="Set [alerts.email] with host and sender, or alerts.folder, in the TOML file",
    )


class FolderChannel:
    """Messages as .eml files, each named after its message: a message written twice is still one file."""

    name = "folder"
    sender = "Garrison <garrison@localhost>"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self, message: OutgoingMessage) -> None:
        """Write the whole file, under a name that no reader looks for."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._part(message).open("wb") as file:
                file.write(compose_email(message, self.sender))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DeliveryError(
                f"the folder {self._folder} can't be written to",
                found=error.strerror,
                hint="All messages stay in the outbox; make it writable and run `python -m monitoring deliver` again",
            ) from error

    def commit(self, message: OutgoingMessage) -> None:
        """Give the file its name, at once."""
        try:
            self._part(message).replace(self._folder / f"{message.id}.eml")
        except OSError as error:
            raise MessageRefused(error.strerror) from error

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _part(self, message: OutgoingMessage) -> Path:
        return self._folder / f".{message.id}.part"

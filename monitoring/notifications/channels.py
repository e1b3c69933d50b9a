"""Channels: send a message from the outbox by e-mail, by a webhook, or write it into a folder.

Sending has three steps, so that a crash leaves as little in doubt as possible: `prepare` and `transfer` do everything
that can fail without harm, `commit` sends the one byte or dot without which the message is none.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from features.core.errors import DeliveryError, GarrisonError
from features.core.language import Language
from features.settings import Alerts
from features.settings.channels import WebChannel
from monitoring.notifications import web_channels
from monitoring.notifications.email_message import MessageRefused, OutgoingMessage, compose_email
from monitoring.notifications.smtp import EmailChannel


class Channel(Protocol):
    """A way to send messages, one at a time.

    Attributes:
        name: As the outbox records it.
    """

    name: str

    def prepare(self, message: OutgoingMessage) -> None:
        """Do what comes before the message itself; nothing has been accepted after it.

        Raises:
            MessageRefused: The channel does not take this message now.
            DeliveryError: The channel takes no messages at all now.
        """

    def transfer(self, message: OutgoingMessage) -> None:
        """Send the message prepared last but for its end; nothing has been accepted after it.

        Raises:
            MessageRefused: The connection was lost.
        """

    def commit(self, message: OutgoingMessage) -> None:
        """Send the end of the message, and wait for the answer.

        Raises:
            MessageRefused: It was not accepted.
            DeliveryError: It was not, and no other will be.
            AnswerUnknown: It may have been accepted.
        """

    def close(self) -> None:
        """Close the channel; a message without its end is dropped."""


@dataclass(frozen=True)
class ChannelPlan:
    """A channel that the settings name.

    Args:
        name: Of the channel.
        open: Opens it.
        per_minute: Messages in any 60 seconds; None for as many as it takes.
        web: Its settings of which messages go there; None for e-mail and the folder, which get all.
    """

    name: str
    open: Callable[[], Channel]
    per_minute: int | None = None
    web: WebChannel | None = None


def list_channels(alerts: Alerts, folder: Path) -> dict[str, ChannelPlan]:
    """Return the channels that the settings name, the default one first: e-mail, else the folder, else another.

    Args:
        alerts: The settings of alerts.
        folder: Where relative paths start: that of the TOML file.

    Raises:
        GarrisonError: They name none.
    """
    plans = []
    if alerts.email is not None:
        plans.append(ChannelPlan("email", partial(EmailChannel, alerts.email), alerts.email.per_minute))
    elif alerts.folder is not None:
        plans.append(ChannelPlan("folder", partial(FolderChannel, folder / alerts.folder)))
    for name, chat in (("slack", alerts.slack), ("teams", alerts.teams)):
        if chat is not None:
            opening = partial(web_channels.open_chat, name, chat, Language(alerts.language))
            plans.append(ChannelPlan(name, opening, chat.per_minute, chat))
    if (hook := alerts.webhook) is not None:
        plans.append(ChannelPlan("webhook", partial(web_channels.open_webhook, hook), hook.per_minute, hook))
    if not plans:
        raise GarrisonError(
            "there is no channel to deliver alerts through",
            hint="Set [alerts.email] with host and sender, or alerts.folder, in the TOML file",
        )
    return {plan.name: plan for plan in plans}


class FolderChannel:
    """Messages as .eml files, each named after its message: a message written twice is still one file."""

    name = "folder"
    sender = "Garrison <garrison@localhost>"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self, message: OutgoingMessage) -> None:
        """Make the folder."""
        compose_email(message, self.sender)  # one that can't be written is not begun
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._trouble(error) from error

    def transfer(self, message: OutgoingMessage) -> None:
        """Write the whole file, under a name that no reader looks for."""
        try:
            with self._part(message).open("wb") as file:
                file.write(compose_email(message, self.sender))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._trouble(error) from error

    def commit(self, message: OutgoingMessage) -> None:
        """Give the file its name, at once."""
        try:
            self._part(message).replace(self._folder / f"{message.id}.eml")
        except OSError as error:
            raise MessageRefused(str(error.strerror)) from error

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _part(self, message: OutgoingMessage) -> Path:
        return self._folder / f".{message.id}.part"

    def _trouble(self, error: OSError) -> DeliveryError:
        return DeliveryError(
            f"the folder {self._folder} can't be written to",
            found=error.strerror,
            hint="All messages stay in the outbox; make it writable and run `python -m monitoring deliver` again",
        )

"""Slack, Teams and any webhook: messages posted as JSON."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from features.core.errors import DeliveryError, GarrisonError
from features.core.language import ENGLISH, Language
from features.core.safe_line import to_safe_line, to_safe_text
from features.settings.channels import ChatChannel, WebChannel, Webhook, check_webhook_url
from monitoring.notifications import chat_message, webhook_signature
from monitoring.notifications.email_message import MessageRefused, OutgoingMessage, hide_recipient
from monitoring.notifications.web_request import WebAnswer, WebRequest

# Answers about the URL and not about a message: moved, not for us, gone.
_OF_THE_URL = frozenset({401, 403, 404, 405, 410})
_LATER = frozenset({408, 425, 429})
# Seconds to wait where a channel says that it is too much, but not for how long, and the most that it can ask for.
_PAUSE, _LONGEST_PAUSE = 60.0, 86_400.0
_LONGEST_TEXT = 100_000  # characters


class PostingChannel:
    """A channel that takes each message as one POST; subclasses build its JSON.

    Args:
        name: Of the channel, as the settings call it.
        settings: Of the channel.
        url: Whole.
    """

    def __init__(self, name: str, settings: WebChannel, url: str) -> None:
        self.name = name
        self._request = WebRequest(url, name, allow_private=settings.allow_private)

    def build(self, message: OutgoingMessage) -> dict[str, Any]:
        """Return the message as JSON."""
        raise NotImplementedError

    def sign(self, message: OutgoingMessage, body: bytes) -> Mapping[str, str]:
        """Return further headers."""
        return {"Idempotency-Key": message.id} if body else {}

    def prepare(self, message: OutgoingMessage) -> None:
        """Connect; `message` is not looked at yet."""
        del message
        self._request.prepare()

    def transfer(self, message: OutgoingMessage) -> None:
        """Send the request but for its last byte."""
        body = json.dumps(self.build(message), ensure_ascii=False).encode()
        self._request.transfer(body, self.sign(message, body))

    def commit(self, message: OutgoingMessage) -> None:
        """Send the last byte, and wait for the answer."""
        answer = self._request.commit()
        if answer.status // 100 == 2:
            return
        said = f"{self.name} said {answer.status} {to_safe_line(answer.text)}"
        if answer.status // 100 == 3 or answer.status in _OF_THE_URL:
            problem = "it redirects, which is not followed" if answer.status // 100 == 3 else "its URL takes none"
            raise DeliveryError(
                f"the channel {self.name} takes no messages: {problem}",
                found=f"status {answer.status}",
                hint="All messages stay in the outbox; correct the URL and run `python -m monitoring deliver` again",
            )
        is_permanent = answer.status // 100 == 4 and answer.status not in _LATER
        pause = read_pause(answer)
        raise MessageRefused(hide_recipient(said, message), is_permanent=is_permanent, retry_after=pause)

    def close(self) -> None:
        """Hang up."""
        self._request.close()


class ChatChannelOfMany(PostingChannel):
    """A chat, whose many readers have the language of the company's letters."""

    def __init__(self, name: str, settings: ChatChannel, url: str, language: Language) -> None:
        super().__init__(name, settings, url)
        self.language = language


class SlackChannel(ChatChannelOfMany):
    """Messages to an incoming webhook of Slack."""

    def build(self, message: OutgoingMessage) -> dict[str, Any]:
        """Return the message in blocks of plain text."""
        return chat_message.build_slack(message, self.language)


class TeamsChannel(ChatChannelOfMany):
    """Messages to a webhook of Teams' Workflows."""

    def build(self, message: OutgoingMessage) -> dict[str, Any]:
        """Return the message as an Adaptive Card."""
        return chat_message.build_teams(message, self.language)


class WebhookChannel(PostingChannel):
    """Messages to a webhook of the company's own, signed."""

    def __init__(self, name: str, settings: Webhook, url: str) -> None:
        super().__init__(name, settings, url)
        self._secret = webhook_signature.parse_secret(_read_variable(settings.secret_env, "webhook.secret_env"))

    def build(self, message: OutgoingMessage) -> dict[str, Any]:
        """Return all fields of the message."""
        return {
            "type": message.kind,
            "timestamp": datetime.fromtimestamp(message.created_at / 1e6, UTC).isoformat(),
            "data": {
                "id": message.id,
                "recipient": message.recipient,
                "account_id": message.account_id,
                "run": message.run,
                "subject": to_safe_line(message.subject, 300),
                "text": to_safe_text(message.body)[:_LONGEST_TEXT],
            },
        }

    def sign(self, message: OutgoingMessage, body: bytes) -> Mapping[str, str]:
        """Return the headers of the Standard Webhooks specification."""
        signature = webhook_signature.sign(self._secret, message.id, int(time.time()), body)
        return {**super().sign(message, body), **signature}


def open_chat(name: str, settings: ChatChannel, language: Language = ENGLISH) -> PostingChannel:
    """Open Slack or Teams, whose readers have a language.

    Raises:
        GarrisonError: The environment lacks the URL, or it is none.
    """
    kind = SlackChannel if name == "slack" else TeamsChannel
    return kind(name, settings, _read_url(settings.url_env, f"{name}.url_env"), language)


def open_webhook(settings: Webhook) -> PostingChannel:
    """Open the company's own webhook.

    Raises:
        GarrisonError: The environment lacks the URL or the secret, or it can't be used.
    """
    url = settings.url or _read_url(str(settings.url_env), "webhook.url_env")
    return WebhookChannel("webhook", settings, url)


def read_pause(answer: WebAnswer) -> float | None:
    """Return the seconds for which the channel wants no messages; None where it says nothing of the kind."""
    if answer.status not in {429, 503}:
        return None
    pause = _PAUSE if answer.status == 429 else None
    text = (answer.retry_after or "").strip()
    if text.isascii() and text.isdigit():
        pause = float(text[:9])
    elif text:
        try:
            at = parsedate_to_datetime(text)
            pause = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
        except ValueError:
            pass
    return None if pause is None else min(max(pause, 1.0), _LONGEST_PAUSE)


def _read_url(variable: str, key: str) -> str:
    try:
        return check_webhook_url(_read_variable(variable, key))
    except ValueError as error:  # the URL itself is a secret
        raise GarrisonError(f"the URL in {variable}, which alerts.{key} names, {error}") from None


def _read_variable(variable: str, key: str) -> str:
    if not (value := os.environ.get(variable)):
        raise GarrisonError(
            f"alerts.{key} names an environment variable that is not set", found=variable, hint="Set it"
        )
    return value

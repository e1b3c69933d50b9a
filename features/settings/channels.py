"""Define the settings of channels that are reached by an HTTP request: Slack, Teams, and any other by a webhook."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from features.settings.values import SettingsSection

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def check_webhook_url(url: str) -> str:
    """Return the URL if it is one that messages may be posted to.

    Raises:
        ValueError: It is not https (http is allowed to this machine alone), or holds a user or a fragment.
    """
    message = "is not an https address such as https://hooks.example.com/garrison"
    try:
        parts = urlsplit(url)
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        is_plain = bool(parts.hostname) and "@" not in parts.netloc and not parts.fragment and parts.port != 0
    except ValueError:
        raise ValueError(message) from None
    if not (is_safe and is_plain and url.isascii() and url.isprintable() and " " not in url):
        raise ValueError(message)
    return url


_WebhookUrl = Annotated[str, AfterValidator(check_webhook_url)]


class WebChannel(SettingsSection):
    """A channel that messages are posted to: which go there, and how fast."""

    # Kinds of episodes or messages, such as service_failure or held, and recipients. Default: all.
    kinds: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    # Whether they go there in place of e-mail. Default: there as well.
    instead: bool = False
    # Messages in any 60 seconds, of all processes together.
    per_minute: int = Field(default=60, ge=1)
    # Whether its host may have an address of a private network or of this machine.
    allow_private: bool = False


class ChatChannel(WebChannel):
    """An incoming webhook of Slack or Teams; its URL is a secret, so it comes from the environment variable."""

    # The environment variable with the URL.
    url_env: str


class Webhook(WebChannel):
    """A webhook of the company's own, signed as the Standard Webhooks specification says."""

    # One of the two.
    url: _WebhookUrl | None = None
    url_env: str | None = None
    # The environment variable with the secret that signs.
    secret_env: str

    @model_validator(mode="after")
    def _has_one_url(self) -> Webhook:
        if (self.url is None) == (self.url_env is None):
            message = "needs either url or url_env"
            raise ValueError(message)
        return self

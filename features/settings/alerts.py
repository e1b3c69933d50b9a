"""Define the settings of alerts: who gets them, when, and by which channel."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from features.settings.channels import ChatChannel, Webhook
from features.settings.values import SettingsSection


class Email(SettingsSection):
    """An SMTP server; user and password come from the environment variables named here."""

    host: str
    port: int = Field(default=587, ge=1, le=65535)
    sender: str
    security: Literal["starttls", "tls", "none"] = "starttls"
    user_env: str | None = None
    password_env: str | None = None
    # Messages in any 60 seconds, of all processes together. Default: as fast as the server takes them.
    per_minute: int | None = Field(default=None, ge=1)


class Alerts(SettingsSection):
    """Alerts: who gets them, when, and by which channel."""

    horizon: int | None = None
    per_owner: int = Field(default=10, ge=1)
    # Gets the alerts of accounts without an owner.
    fallback_owner: str | None = None
    email: Email | None = None
    # Without e-mail, messages are written into this folder.
    folder: str | None = None
    # Each gets the messages that its kinds and recipients name, beside e-mail or in place of it.
    slack: ChatChannel | None = None
    teams: ChatChannel | None = None
    webhook: Webhook | None = None

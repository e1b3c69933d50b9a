"""Define the settings of alerts: who gets them, when, and by which channel."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from features.core.language import LanguageName
from features.settings.channels import ChatChannel, Webhook
from features.settings.values import SettingsSection


class Email(SettingsSection):
    """An SMTP server; user and password come from the environment variables named here."""

    # The server's name.
    host: str
    # Its port; 465 is usual for tls.
    port: int = Field(default=587, ge=1, le=65535)
    # The address that messages come from.
    sender: str
    # How the connection is encrypted.
    security: Literal["starttls", "tls", "none"] = "starttls"
    # Environment variable with the user's name; without it nobody logs in.
    user_env: str | None = None
    # Environment variable with the password.
    password_env: str | None = None
    # Messages in any 60 seconds, of all processes together. Default: as fast as the server takes them.
    per_minute: int | None = Field(default=None, ge=1)


class Links(SettingsSection):
    """Links in letters, to pages that `python -m monitoring console` serves."""

    # Where readers reach these pages, such as "https://garrison.example.com".
    url: Annotated[str, Field(pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$")]
    # The environment variable with the secret that links are signed by, at least 32 characters.
    secret_env: str = "GARRISON_LINK_SECRET"  # noqa: S105  # the name of a variable
    # For so many days a link can be used.
    days: int = Field(default=30, ge=1, le=365)


class Alerts(SettingsSection):
    """Alerts: who gets them, when, and by which channel."""

    # The churn horizon that alerts use; by default the longest.
    horizon: int | None = None
    # New letters for one owner in a day; what is beyond comes together in one digest.
    per_owner: int = Field(default=5, ge=1)
    # Messages about one account in a week; what is beyond is not sent, and kept with the choices of the run.
    per_account_week: int = Field(default=3, ge=1)
    # All accounts of an owner in one mail a day: the most valuable `per_owner` in full, the rest a line each.
    digest: bool = False
    # Send only while the recipient works, by `[binding.working_time]`; those that the sponsor hears of go at once.
    in_working_time: bool = False
    # Where the letters' links lead.
    links: Links | None = None
    # The language of letters to those of whom `[binding.people]` names none.
    language: LanguageName = "en"
    # Gets the alerts of accounts without an owner.
    fallback_owner: str | None = None
    # Where letters are sent by.
    email: Email | None = None
    # Without e-mail, messages are written into this folder; from the TOML's folder on.
    folder: str | None = None
    # Each gets the messages that its kinds and recipients name, beside e-mail or in place of it.
    slack: ChatChannel | None = None
    teams: ChatChannel | None = None
    webhook: Webhook | None = None

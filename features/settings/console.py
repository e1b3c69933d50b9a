"""Define the settings of the console: where it is reached, who signs in how, and in which role."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from features.settings.values import SettingsSection, Span

RoleName = Literal["owner", "lead", "manager", "data_scientist", "admin"]
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def _check_url(url: str) -> str:
    """Return a URL that is https, or http on this machine.

    Raises:
        ValueError: It is not.
    """
    message = "is not an https address such as https://garrison.example.com (http is allowed on this machine alone)"
    try:
        parts = urlsplit(url)
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        is_plain = bool(parts.hostname) and "@" not in parts.netloc and not parts.fragment and not parts.query
        is_plain = is_plain and parts.port != 0
    except ValueError:
        raise ValueError(message) from None
    if not (is_safe and is_plain and url.isascii() and url.isprintable() and " " not in url):
        raise ValueError(message)
    return url.rstrip("/")


def _check_origin(url: str) -> str:
    url = _check_url(url)
    if urlsplit(url).path:
        message = "has a path: the console needs a host name of its own, such as https://garrison.example.com"
        raise ValueError(message)
    return url


class Oidc(SettingsSection):
    """An OpenID Connect provider that people sign in with; the client's secret comes from the environment."""

    # As the provider names itself, such as "https://login.example.com/realms/sales"; https, except on this machine.
    issuer: Annotated[str, AfterValidator(_check_url)]
    # Under which the console is registered there, with the address URL/sign-in/oidc/back.
    client_id: str = Field(min_length=1)
    # The environment variable with the client's secret.
    client_secret_env: str = "GARRISON_OIDC_SECRET"  # noqa: S105  # the name of a variable
    # What is asked for; openid and email are needed.
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    # The claim of the id token that lists a person's groups.
    groups_claim: str = "groups"
    # What the button says.
    label: str = Field(default="Sign in with your company account", min_length=1, max_length=80)


class ConsoleSettings(SettingsSection):
    """The console: where it is reached, who signs in how, and in which role."""

    # Where people reach it, such as "https://garrison.example.com". Default: the host of `[alerts.links] url` if that
    # is https, else the address that it listens on.
    url: Annotated[str, AfterValidator(_check_origin)] | None = None
    # Addresses of proxies in front of it: only their X-Forwarded-For and X-Forwarded-Proto are believed.
    proxies: tuple[str, ...] = ()
    # Without a proxy: files with the certificate and its key, so that it speaks TLS itself.
    certificate: Path | None = None
    key: Path | None = None
    # Processes that share the port. One makes a page at a time: where many people work at once, take more, up to the
    # processors to spare. Each has all accounts in memory, some GiB for a million.
    workers: int = Field(default=1, ge=1, le=16)
    # Whether people can ask for a one-time link by mail.
    mail_links: bool = True
    # Minutes for which such a link can be used.
    link_minutes: int = Field(default=15, ge=1, le=1440)
    # A session ends after so long without a request,
    idle: Span = timedelta(hours=8)
    # and after so long in any case.
    longest: Span = timedelta(days=3)
    # Who has a role: e-mail addresses, or groups of the provider. People who own accounts, or are bound to them, are
    # owners without being named here.
    roles: dict[RoleName, tuple[str, ...]] = Field(default_factory=dict)
    # A provider to sign in with.
    oidc: Oidc | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> ConsoleSettings:
        if (self.certificate is None) != (self.key is None):
            message = "needs both certificate and key, or neither"
            raise ValueError(message)
        if self.longest < self.idle:
            message = "longest is shorter than idle"
            raise ValueError(message)
        if not (self.mail_links or self.oidc):
            message = "leaves no way to sign in: set mail_links or [console.oidc]"
            raise ValueError(message)
        return self

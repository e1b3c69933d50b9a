"""Define the settings of loading: the systems that tables are fetched from, and how a REST API is read."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from features.settings.crm import Address
from features.settings.values import Instant, SettingsSection

_HOSTS = {"stripe": r"api\.stripe\.com", "hubspot": r"api\.hubapi\.com", "zendesk": r"[a-z0-9-]+\.zendesk\.com"}
_URLS = {"stripe": "https://api.stripe.com", "hubspot": "https://api.hubapi.com"}


def _several(given: object) -> object:
    return (given,) if isinstance(given, str) else given


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", text) or "__" in text:
        message = f"{text!r} is no name of small letters, digits and _"
        raise ValueError(message)
    return text


Names = Annotated[tuple[str, ...], BeforeValidator(_several)]
Name = Annotated[str, AfterValidator(_name)]


class LoadedTable(SettingsSection):
    """A table of a REST API that answers GET with JSON."""

    # From the url on, such as "v2/orders".
    path: str
    # JSON path of the list of rows, such as "data" or "result.items"; by default it is found.
    rows: str | None = None
    # Columns that tell rows apart; of a row that is fetched again the newest counts.
    key: Names = ()
    # Further parameters of the query.
    params: dict[str, str] = {}
    # A field that grows with each change, such as "updated_at"; without it the whole table is fetched each time.
    cursor: str | None = None
    # The parameter that takes the largest value of `cursor` of the time before.
    since_param: str | None = None
    # How pages follow one another: a Link header, a URL or a token in the answer, or a number that is counted up.
    pages: Literal["single", "link_header", "next_url", "next_token", "page", "offset"] = "single"
    # JSON path of the URL or token of the next page.
    next: str | None = None
    # The parameter that takes the token, the page or the offset.
    next_param: str | None = None
    # Rows of a page, and the parameter that takes them.
    page_size: int = Field(default=100, ge=1)
    page_size_param: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.cursor is None) != (self.since_param is None):
            message = "give both cursor and since_param, or neither"
            raise ValueError(message)
        if self.pages in {"next_url", "next_token"} and self.next is None:
            message = f'pages = "{self.pages}" needs next, the JSON path of it'
            raise ValueError(message)
        if self.pages in {"next_token", "page", "offset"} and self.next_param is None:
            message = f'pages = "{self.pages}" needs next_param'
            raise ValueError(message)
        return self


class LoadedSystem(SettingsSection):
    """A system that tables are fetched from, by its documented REST protocol."""

    # Whose protocol it speaks; rest is any API whose tables are described.
    kind: Literal["stripe", "zendesk", "hubspot", "rest"]
    # https; that of Stripe and HubSpot is known, that of Zendesk is https://NAME.zendesk.com.
    url: Address | None = None
    # Hosts beside those of the known systems that requests may go to.
    allow: Names = ()
    # The environment variable with the token or password.
    secret_env: str | None = None
    # How the secret is sent; "basic" with `user`, which for Zendesk is ADDRESS/token; "header" in the header `header`.
    auth: Literal["bearer", "basic", "header"] = "bearer"
    user: str | None = None
    header: str | None = None
    # Which of a known system's tables to fetch; by default all.
    only: Names = ()
    # The first time, rows changed since then.
    since: Instant | None = None
    # Further columns of HubSpot's objects.
    properties: Names = ()
    # Tables of other REST APIs, or further ones of a known system.
    tables: dict[Name, LoadedTable] = {}

    @property
    def base(self) -> str:
        """Return the address that paths are relative to."""
        return self.url or _URLS[self.kind]

    def allows(self, url: str) -> bool:
        """Return whether a request may go to an address."""
        host = urlsplit(url).hostname or ""
        return host in self.allow or re.fullmatch(_HOSTS.get(self.kind, r"(?!)"), host) is not None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.url is None and self.kind not in _URLS:
            example = " such as https://harbour.zendesk.com" if self.kind == "zendesk" else ""
            message = f'kind = "{self.kind}" needs a url{example}'
            raise ValueError(message)
        if not self.allows(self.base):
            host = urlsplit(self.base).hostname
            message = f'{host} is not a host of {self.kind}: if requests may go there, allow = ["{host}"]'
            raise ValueError(message)
        if self.kind == "rest" and not self.tables:
            message = 'kind = "rest" needs tables'
            raise ValueError(message)
        if self.kind != "rest" and self.secret_env is None:
            message = "needs secret_env, the name of the environment variable with the token"
            raise ValueError(message)
        if (self.auth == "basic") != (self.user is not None) or (self.auth == "header") != (self.header is not None):
            message = 'auth = "basic" goes with user, and auth = "header" with header'
            raise ValueError(message)
        return self

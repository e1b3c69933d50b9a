"""Hold what the console's process has one of, and render its pages."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import pyarrow as pa
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from features.settings import Settings
from features.state.database import Store
from monitoring.console import rendering
from monitoring.console.accounts.open_episodes import OpenEpisodes, OpenEpisodesReader
from monitoring.console.choices import Choices
from monitoring.console.kept_reads import KeptReads, count_time
from monitoring.console.navigation import find_pages
from monitoring.console.sign_in.access import RowFilter, build_row_filter
from monitoring.console.sign_in.cookies import Cookie
from monitoring.console.sign_in.oidc import Provider
from monitoring.console.sign_in.person import Person
from monitoring.console.sign_in.sessions import Sessions
from monitoring.letters.links import LinkSigner
from monitoring.lifetime.account_file import AccountFiles

if TYPE_CHECKING:
    from monitoring.console.accounts.account_index import AccountIndex


T = TypeVar("T")
_SWITCH_SECONDS = 0.001
_GARBAGE = (20_000, 20, 20)


def find_origin(url: str) -> str:
    """Return the scheme and host of an address, without its path."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class Cookies(NamedTuple):
    """The console's cookies with tokens: of a session, of a visitor's forms, of a sign-in under way."""

    session: Cookie
    visitor: Cookie
    sign_in: Cookie


@dataclass(frozen=True)
class ConsoleContext:
    """What the process has one of.

    Args:
        settings: The company's.
        store: Its state database, open for as long as the application runs.
        signer: Of the links in letters; None where letters have none.
        accounts: The index of accounts; None before anything was scored.
        origin: Where people reach the console, such as https://garrison.example.com; None, in tests, takes any host.
        provider: That people sign in with; None without one.
        attempts: Instants of sign-in attempts in the last minute, by network address.
    """

    settings: Settings
    store: Store
    signer: LinkSigner | None
    accounts: AccountIndex
    origin: str | None = None
    provider: Provider | None = None
    attempts: dict[str, list[float]] = field(default_factory=dict, compare=False)

    @cached_property
    def files(self) -> AccountFiles:
        """Return what reads the lifetime files of accounts."""
        return AccountFiles(self.settings, self.store)

    @cached_property
    def origins(self) -> tuple[str, ...]:
        """Return the addresses that pages are reached at: the console's, and that of the links in letters."""
        links = self.settings.alerts.links
        named = (self.origin, find_origin(links.url) if links else None)
        return () if self.origin is None else tuple(dict.fromkeys(origin for origin in named if origin))

    @cached_property
    def cookies(self) -> Cookies:
        """Return the cookies, named after how the console is reached."""
        is_secure = (self.origin or "").startswith("https:")
        return Cookies(*(Cookie(purpose, is_secure) for purpose in ("session", "visitor", "sign-in")))

    @cached_property
    def sessions(self) -> Sessions:
        """Return what starts, finds and ends sessions."""
        return Sessions(self.store, self.settings.console)

    @cached_property
    def kept(self) -> KeptReads:
        """Return what is kept of the state database until it changes."""
        return KeptReads(self.store)

    @cached_property
    def _page_thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, "pages")

    async def read_in_turn(self, read: Callable[..., T], *arguments: Any) -> T:
        """Call what a page is read by in the thread that makes pages: one at a time, whoever came first.

        Threads share one interpreter. With two at work, each waits for the other at every statement of SQL, and pages
        take several times as long as one after the other.
        """
        return await asyncio.get_running_loop().run_in_executor(self._page_thread, read, *arguments)

    async def make_page(
        self, request: Request, template: str, read: Callable[..., Mapping[str, Any]], *arguments: Any, **values: Any
    ) -> HTMLResponse:
        """Read and render a page in its turn.

        Args:
            request: Asks for it.
            template: As of `render`.
            read: Called with the arguments; returns values that the template uses.
            arguments: Of `read`.
            values: As of `render`; more that the template uses.
        """
        return await self.read_in_turn(lambda: self.render(request, template, **{**read(*arguments), **values}))

    def warm(self) -> None:
        """Read what all pages share, before the first one is asked for."""
        self.files.warm()
        self.read_open_episodes()
        # What stays for good is left out of each later look for garbage, which would take longer than a page.
        gc.collect()
        gc.freeze()
        # Pages make many objects that go at once: to look for garbage so often finds none.
        gc.set_threshold(*_GARBAGE)
        pa.default_memory_pool().release_unused()
        # Between two pages the thread of requests waits for the interpreter so long (5 ms by itself).
        sys.setswitchinterval(_SWITCH_SECONDS)

    def find_rows(self, person: Person) -> RowFilter:
        """Find the condition that every read of accounts for a person takes."""
        # Who is away follows from the clock too.
        key = ("rows", person.address, person.roles, count_time())
        return self.kept.get(
            key, lambda: build_row_filter(person, self.settings, self.store, self.read_open_episodes())
        )

    def read_open_episodes(self) -> OpenEpisodes:
        """Read all open episodes."""
        return self.kept.get("open episodes", self._open_episodes.read)

    @cached_property
    def _open_episodes(self) -> OpenEpisodesReader:
        return OpenEpisodesReader(self.settings, self.store)

    def render(
        self, request: Request, template: str, *, status: int = 200, language: str | None = None, **values: Any
    ) -> HTMLResponse:
        """Render a page for who asks: in their language, time zone and theme, with their navigation.

        Args:
            request: Asks for it.
            template: File in `templates/`, which extends base.html.
            status: Of the answer.
            language: Of the page, where it is not the one that who asks has.
            values: That the template uses.
        """
        state = request.state
        person: Person | None = getattr(state, "person", None)
        choices: Choices = getattr(state, "choices", None) or Choices()
        reader = rendering.Reader(
            language or (person.language if person else choices.language) or "en",
            (person and person.timezone) or self.settings.company.timezone,
            self.settings.company.currency,
        )
        shell = {
            "company": self.settings.company.name,
            "csrf": (token := getattr(state, "csrf", "")),
            "csrf_field": Markup('<input type="hidden" name="csrf" value="{}">').format(token),
            "navigation": find_pages(request, person),
            "path": request.url.path,
            "person": person,
            "theme": choices.theme,
            "static": "/static",
        }
        return HTMLResponse(rendering.render(template, reader, {**shell, **values}), status_code=status)

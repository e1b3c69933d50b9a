"""Recognise who sends a request: the person of a session, or a visitor whose browser only has a form's token."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from features.core.language import LANGUAGES, find_accepted
from monitoring.console.choices import THEMES, Choices, read_choices
from monitoring.console.context import ConsoleContext
from monitoring.console.sign_in.csrf import derive_token
from monitoring.console.sign_in.person import Person, Role, find_roles
from monitoring.console.sign_in.sessions import Session, create_token, hash_token

# Paths that know nobody.
_OPEN = ("/static/", "/healthz", "/act/")


@dataclass(frozen=True)
class Recognition:
    """ASGI middleware that puts `person`, `session`, `choices` and `csrf` into the request's state.

    Args:
        app: The application behind it.
        context: Of the process.
    """

    app: ASGIApp
    context: ConsoleContext

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request, state = HTTPConnection(scope), scope.setdefault("state", {})
        state |= {"person": None, "session": None, "csrf": "", "choices": read_browser_choices(request)}
        if scope["path"].startswith(_OPEN):
            await self.app(scope, receive, send)
            return
        cookies = self.context.cookies
        token, added = cookies.session.read(request), ""
        if token:
            found = self._peek(token) or await run_in_threadpool(self._find, token)
            if found is not None:
                self._recognise(*found, state)
        if state["person"] is None:
            token = cookies.visitor.read(request)
            if not token:
                token = create_token()
                added = cookies.visitor.build(token)
        state["csrf"] = derive_token(token or "")

        async def send_with_cookie(message: Message) -> None:
            if added and message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("set-cookie", added)
            await send(message)

        await self.app(scope, receive, send_with_cookie)

    def _peek(self, token: str) -> tuple[Session, Choices] | None:
        """Return what `_find` did before, if it still holds: most requests need no thread of their own for it."""
        found: tuple[Session, Choices] | None = self.context.kept.peek(_build_key(token))
        return found if found and self.context.sessions.read_clock() < found[0].until else None

    def _find(self, token: str) -> tuple[Session, Choices] | None:
        """Find the session of a token, and what its person chose; None if there is no session."""
        context = self.context
        session = context.sessions.find(token, context.kept)
        if session is None:
            return None
        return context.kept.get(_build_key(token), lambda: (session, read_choices(context.store, session.address)))

    def _recognise(self, session: Session, stored: Choices, state: dict[str, object]) -> None:
        settings, browser = self.context.settings, state["choices"]
        assert isinstance(browser, Choices)
        known = settings.binding.get_person(session.address)
        choices = Choices(
            stored.language or browser.language,
            stored.theme or browser.theme,
            stored.timezone or known.timezone or settings.company.timezone,
        )
        roles = find_roles(settings, session.address, session.groups) or frozenset({Role.OWNER})
        person = Person(session.address, roles, choices.language or "en", choices.timezone or "UTC")
        state |= {"session": session, "person": person, "choices": choices}


def _build_key(token: str) -> tuple[str, str]:
    return "visitor", hash_token(token)


def read_browser_choices(request: HTTPConnection) -> Choices:
    """Read what a browser asks for: language and theme that a visitor chose, else its language."""
    language = request.cookies.get("garrison-language", "")
    theme = request.cookies.get("garrison-theme", "")
    if language not in LANGUAGES:
        language = find_accepted(request.headers.get("accept-language", "")).name
    return Choices(language, theme if theme in THEMES else None)

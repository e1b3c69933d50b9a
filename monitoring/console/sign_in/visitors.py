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
from monitoring.console.sign_in.sessions import create_token

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
            await run_in_threadpool(self._recognise, token, state)
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

    def _recognise(self, token: str, state: dict[str, object]) -> None:
        context = self.context
        session = context.sessions.find(token, context.kept)
        if session is None:
            return
        settings, browser = context.settings, state["choices"]
        stored = context.kept.get(("choices", session.address), lambda: read_choices(context.store, session.address))
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


def read_browser_choices(request: HTTPConnection) -> Choices:
    """Read what a browser asks for: language and theme that a visitor chose, else its language."""
    language = request.cookies.get("garrison-language", "")
    theme = request.cookies.get("garrison-theme", "")
    if language not in LANGUAGES:
        language = find_accepted(request.headers.get("accept-language", "")).name
    return Choices(language, theme if theme in THEMES else None)

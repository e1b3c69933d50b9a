"""Sign people in and out: the pages, and the session that follows."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from features.core.addresses import parse_address
from features.core.errors import GarrisonError
from features.core.language import Language
from features.state.console_tables import CONSOLE_SESSIONS
from monitoring.console import audit
from monitoring.console.context import ConsoleContext
from monitoring.console.sign_in import mail_links
from monitoring.console.sign_in.access import build_row_filter
from monitoring.console.sign_in.mail_links import LinkUnusable, choose_path
from monitoring.console.sign_in.person import Person, Role, find_roles
from monitoring.console.sign_in.sessions import hash_token
from monitoring.notifications import outbox

_LOG = logging.getLogger(__name__)
# Sign-in attempts from one network address in a minute.
_MOST_A_MINUTE = 20


def is_known(context: ConsoleContext, address: str, groups: Collection[str] = ()) -> bool:
    """Return whether an address may sign in: it or a group has a role, it owns accounts, or is bound to some."""
    if find_roles(context.settings, address, groups):
        return True
    owner, episodes = Person(address.lower(), frozenset({Role.OWNER})), context.read_open_episodes()
    rows = build_row_filter(owner, context.settings, context.store, episodes)
    return context.accounts.sum_all(rows, filters={"show": "all"}).accounts > 0


@dataclass(frozen=True)
class SignIn:
    """The handlers of signing in by a link, and of signing out.

    Args:
        context: Of the process.
    """

    context: ConsoleContext

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/sign-in", self.ask, methods=["GET"]),
            Route("/sign-in", self.send, methods=["POST"]),
            Route("/sign-in/link/{token}", self.confirm, methods=["GET"]),
            Route("/sign-in/link/{token}", self.enter, methods=["POST"]),
            Route("/sign-out", self.leave, methods=["POST"]),
        ]

    async def ask(self, request: Request) -> Response:
        """Show the ways to sign in."""
        leads_to = choose_path(request.query_params.get("next"))
        if request.state.person is not None:
            return RedirectResponse(leads_to, status_code=303)
        return self._show(request, leads_to)

    async def send(self, request: Request) -> Response:
        """Send a link to an address, if it is known; the answer is the same for all, and comes as fast."""
        self.count_attempt(request)
        if not self.context.settings.console.mail_links:
            raise HTTPException(404)
        form = await request.form()
        leads_to = choose_path(str(form.get("next", "")))
        address = parse_address(str(form.get("address", ""))[:320])
        if address is None:
            return self._show(request, leads_to, problem=True, status=422)
        task = BackgroundTask(self._send, address, leads_to, request.state.choices.language or "en")
        page = self.context.render(request, "link_sent.html", minutes=self.context.settings.console.link_minutes)
        page.background = task
        return page

    async def confirm(self, request: Request) -> Response:
        """Show the button that uses a link up: programs that check mails open links, and press no buttons."""
        try:
            link = await run_in_threadpool(self._read, request.path_params["token"])
        except LinkUnusable as unusable:
            return self._refuse(request, unusable)
        return self.context.render(request, "link_confirm.html", address=link.address)

    async def enter(self, request: Request) -> Response:
        """Use a link up and start a session."""
        self.count_attempt(request)
        try:
            token, leads_to = await run_in_threadpool(self._use, request.path_params["token"], self._old(request))
        except LinkUnusable as unusable:
            return self._refuse(request, unusable)
        return self.admit(token, leads_to)

    async def leave(self, request: Request) -> Response:
        """End the session."""
        await run_in_threadpool(self._end, self._old(request), request.state.person)
        response = RedirectResponse("/sign-in", status_code=303)
        response.headers["Clear-Site-Data"] = '"cache"'
        self.context.cookies.session.remove(response)
        self.context.cookies.visitor.remove(response)
        return response

    def admit(self, token: str, leads_to: str) -> Response:
        """Send a person who signed in on, with the cookie of the new session and no older one."""
        response = RedirectResponse(choose_path(leads_to), status_code=303)
        longest = int(self.context.settings.console.longest.total_seconds())
        self.context.cookies.session.set(response, token, seconds=longest)
        self.context.cookies.visitor.remove(response)
        self.context.cookies.sign_in.remove(response)
        return response

    def start(self, address: str, groups: tuple[str, ...], method: str, old: str | None, connection: Any) -> str:
        """Start a session in a transaction, end the browser's older one, and keep both in the audit."""
        if old:
            self.context.sessions.end(connection, old)
        token = self.context.sessions.start(connection, address, groups, method)
        roles = ",".join(sorted(find_roles(self.context.settings, address, groups) or {Role.OWNER}))
        row = hash_token(token)[:12]
        audit.write_act(
            connection, address.lower(), "sign_in", CONSOLE_SESSIONS.name, row, {"method": method}, roles=roles
        )
        return token

    def count_attempt(self, request: Request) -> None:
        """Count an attempt of a network address.

        Raises:
            HTTPException: There were too many in the last minute (429).
        """
        now, attempts = time.monotonic(), self.context.attempts
        client = request.client.host if request.client else ""
        recent = [at for at in attempts.get(client, ()) if at > now - 60]
        if len(recent) >= _MOST_A_MINUTE:
            raise HTTPException(429, headers={"Retry-After": "60"})
        for other in [c for c, times in attempts.items() if times[-1] <= now - 60]:
            del attempts[other]
        attempts[client] = [*recent, now]

    def _old(self, request: Request) -> str | None:
        return self.context.cookies.session.read(request)

    def _show(self, request: Request, leads_to: str, *, problem: bool = False, status: int = 200) -> Response:
        console = self.context.settings.console
        values: Mapping[str, Any] = {"next": leads_to, "problem": problem, "oidc": console.oidc}
        return self.context.render(request, "sign_in.html", status=status, mail_links=console.mail_links, **values)

    def _refuse(self, request: Request, unusable: LinkUnusable) -> Response:
        return self.context.render(request, "link_unusable.html", status=403, problem=unusable.problem)

    def _read(self, token: str) -> mail_links.OneTimeLink:
        with self.context.store.reading() as connection:
            return mail_links.read_link(connection, token)

    def _use(self, token: str, old: str | None) -> tuple[str, str]:
        with self.context.store.writing() as connection:
            link = mail_links.use_link(connection, token)
            return self.start(link.address, (), "link", old, connection), link.leads_to

    def _end(self, token: str | None, person: Person | None) -> None:
        if token and person:
            with self.context.store.writing() as connection:
                self.context.sessions.end(connection, token)
                audit.record_act(connection, person, "sign_out", CONSOLE_SESSIONS.name, hash_token(token)[:12])

    def _send(self, address: str, leads_to: str, language: str) -> None:
        """Write the message and send it; a trouble is logged, not shown, since the page says the same to all."""
        try:
            if is_known(self.context, address):
                self._deliver(address, leads_to, Language(language))
        except (GarrisonError, OSError, sa.exc.SQLAlchemyError) as trouble:
            _LOG.warning("a sign-in link could not be sent: %s", type(trouble).__name__)

    def _deliver(self, address: str, leads_to: str, language: Language) -> None:
        minutes, store = self.context.settings.console.link_minutes, self.context.store
        token = mail_links.create_link(store, address, leads_to, minutes=minutes)
        if token is None:
            return
        url = f"{self.context.origin or ''}{mail_links.PATH}{token}"
        company = self.context.settings.company.name
        subject = language.say("Sign in to Garrison of {company}", company=company)
        says = language.say(
            "This link signs you in. It works once, for {minutes} minutes. If you did not ask for it, do nothing.",
            minutes=minutes,
        )
        mail_links.write_message(store, address, subject, f"{says}\n\n{url}\n", minutes=minutes)
        outbox.deliver(self.context.settings, store)

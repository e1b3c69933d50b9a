"""Send people to the OpenID Connect provider, and start a session for those who come back."""

from __future__ import annotations

import hmac
import logging
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from features.core.timestamps import to_micros
from features.state.console_tables import CONSOLE_SIGN_INS
from monitoring.console.context import ConsoleContext
from monitoring.console.sign_in.mail_links import choose_path
from monitoring.console.sign_in.mail_sign_in import SignIn, is_known
from monitoring.console.sign_in.oidc import Identity, Provider, SignInRefused
from monitoring.console.sign_in.sessions import create_token, hash_token

_LOG = logging.getLogger(__name__)
_MINUTES = 10


@dataclass(frozen=True)
class OidcSignIn:
    """The two handlers.

    Args:
        context: Of the process.
        provider: That people are sent to.
        sign_in: Starts sessions.
    """

    context: ConsoleContext
    provider: Provider
    sign_in: SignIn

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/sign-in/oidc", self.go, methods=["GET"]),
            Route("/sign-in/oidc/back", self.come_back, methods=["GET"]),
        ]

    async def go(self, request: Request) -> Response:
        """Send the browser to the provider, and remember which browser it was."""
        self.sign_in.count_attempt(request)
        browser, leads_to = create_token(), choose_path(request.query_params.get("next"))
        try:
            address = await run_in_threadpool(self._begin, browser, leads_to)
        except SignInRefused as refusal:
            return self._refuse(request, refusal)
        response = RedirectResponse(address, status_code=303)
        self.context.cookies.sign_in.set(response, browser, seconds=60 * _MINUTES)
        return response

    async def come_back(self, request: Request) -> Response:
        """Check what the provider says, and start a session."""
        self.sign_in.count_attempt(request)
        given = {name: request.query_params.get(name, "") for name in ("state", "code", "iss", "error")}
        browser = self.context.cookies.sign_in.read(request) or ""
        try:
            identity, leads_to = await run_in_threadpool(self._finish, given, browser)
        except SignInRefused as refusal:
            return self._refuse(request, refusal)
        if not await run_in_threadpool(is_known, self.context, identity.address, identity.groups):
            return self.context.render(request, "no_role.html", status=403, address=identity.address)
        old = self.context.cookies.session.read(request)
        return self.sign_in.admit(await run_in_threadpool(self._start, identity, old), leads_to)

    def _refuse(self, request: Request, refusal: SignInRefused) -> Response:
        _LOG.warning("a sign-in was refused: %s", refusal)
        return self.context.render(request, "sign_in_refused.html", status=403)

    def _begin(self, browser: str, leads_to: str) -> str:
        state, nonce, verifier = create_token(), create_token(), create_token()
        address = self.provider.build_address(state=state, nonce=nonce, verifier=verifier)
        now = to_micros(datetime.now(UTC))
        row = {
            "hash": hash_token(state),
            "browser": hash_token(browser),
            "nonce": nonce,
            "verifier": verifier,
            "leads_to": leads_to,
            "ends_at": now + _MINUTES * 60_000_000,
        }
        with self.context.store.writing() as connection:
            connection.execute(sa.delete(CONSOLE_SIGN_INS).where(CONSOLE_SIGN_INS.c.ends_at <= now))
            connection.execute(sa.insert(CONSOLE_SIGN_INS), row)
        return address

    def _finish(self, given: dict[str, str], browser: str) -> tuple[Identity, str]:
        c, now = CONSOLE_SIGN_INS.c, to_micros(datetime.now(UTC))
        with self.context.store.writing() as connection:
            query = sa.select(c.browser, c.nonce, c.verifier, c.leads_to, c.ends_at)
            row = connection.execute(query.where(c.hash == hash_token(given["state"]))).first()
            if row is None or row.ends_at <= now:
                raise SignInRefused("nobody began this sign-in, or too long ago")
            if not hmac.compare_digest(row.browser, hash_token(browser)):
                raise SignInRefused("another browser began this sign-in")
            connection.execute(sa.delete(CONSOLE_SIGN_INS).where(c.hash == hash_token(given["state"])))
        if given["error"] or not given["code"]:
            raise SignInRefused("the provider sent no code", found=given["error"][:100] or None)
        if given["iss"] and given["iss"] != self.provider.settings.issuer:
            raise SignInRefused("another provider answered", found=given["iss"][:200])
        return self.provider.fetch_identity(given["code"], nonce=row.nonce, verifier=row.verifier), row.leads_to

    def _start(self, identity: Identity, old: str | None) -> str:
        with self.context.store.writing() as connection:
            return self.sign_in.start(identity.address, identity.groups, "oidc", old, connection)

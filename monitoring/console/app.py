"""Build the web application, a process of its own beside the scoring service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from monitoring.console.context import ConsoleContext
from monitoring.console.home import Home
from monitoring.console.inbox.letter_actions import LetterActions
from monitoring.console.pages import PAGES
from monitoring.console.problems import ProblemPages
from monitoring.console.security_headers import SecurityHeaders
from monitoring.console.server_timing import ServerTiming
from monitoring.console.sign_in.csrf import FormGuard
from monitoring.console.sign_in.mail_sign_in import SignIn
from monitoring.console.sign_in.oidc_sign_in import OidcSignIn
from monitoring.console.sign_in.visitors import Recognition

_STATIC = Path(__file__).parent / "static"


def create_app(context: ConsoleContext) -> Starlette:
    """Create the application: the pages of `monitoring/console/pages`, sign-in, and the links of letters."""
    problems = ProblemPages(context)
    handlers: dict[Any, Any] = problems.handlers()
    names = {urlsplit(origin).hostname or "" for origin in context.origins}
    hosts = sorted(names | {"127.0.0.1", "localhost"}) if names else ["*"]
    return Starlette(
        routes=list(_iterate_routes(context)),
        # Those of handlers; the same again for what middleware raises.
        exception_handlers={HTTPException: problems.show},
        middleware=[
            Middleware(ServerTiming),
            Middleware(SecurityHeaders),
            Middleware(ExceptionMiddleware, handlers=handlers),
            # A page that another site's name leads to is none of ours.
            Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
            Middleware(Recognition, context=context),
            Middleware(FormGuard, origins=context.origins),
        ],
    )


def _iterate_routes(context: ConsoleContext) -> Iterator[BaseRoute]:
    yield Route("/healthz", _say_healthy, methods=["GET"])
    if context.signer is not None:
        actions = LetterActions(context, context.signer)
        yield Route("/act/{token}", actions.show, methods=["GET"])
        yield Route("/act/{token}", actions.act, methods=["POST"])
    sign_in = SignIn(context)
    yield from sign_in.routes()
    if context.provider is not None:
        yield from OidcSignIn(context, context.provider, sign_in).routes()
    yield from Home(context).routes()
    for page in PAGES:
        yield from page.routes(context)
    yield Mount("/static", StaticFiles(directory=_STATIC))


async def _say_healthy(_: Request) -> Response:
    return PlainTextResponse("ok\n")

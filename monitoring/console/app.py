"""Build the web application, a process of its own beside the scoring service."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from features.state.database import Store
from monitoring.console.letter_actions import LetterActions
from monitoring.console.security_headers import SecurityHeaders
from monitoring.letters.links import LinkSigner

_STATIC = Path(__file__).parent / "static"


def create_app(store: Store, signer: LinkSigner) -> Starlette:
    """Create the application.

    Args:
        store: The company's state database, open for as long as the application runs.
        signer: Of the links in letters.
    """
    actions = LetterActions(store, signer)
    return Starlette(
        routes=[
            Route("/healthz", _say_healthy, methods=["GET"]),
            Route("/act/{token}", actions.show, methods=["GET"]),
            Route("/act/{token}", actions.act, methods=["POST"]),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ],
        middleware=[Middleware(SecurityHeaders)],
    )


async def _say_healthy(_: Request) -> Response:
    return PlainTextResponse("ok\n")

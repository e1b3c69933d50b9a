"""Send with every answer the headers that keep a page to itself."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    # Nothing is loaded but our own files, nothing runs that stands in a page, and forms go nowhere but here.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    # The address of a page is a signed link: no other site may read it.
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
# Of pages that other parts of Garrison wrote, with their style and pictures inside: nothing runs, nothing is loaded.
STILL_PAGE = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"
# Of pages with scripts of others inside, such as Evidently's: they run in an origin of their own, which no cookie and
# no answer of ours belongs to, and load nothing.
SANDBOXED_PAGE = (
    "default-src 'none'; style-src 'unsafe-inline' data:; script-src 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "img-src data: blob:; font-src data:; frame-src data: blob: 'self'; worker-src blob:; connect-src data: blob:; "
    "frame-ancestors 'none'; form-action 'none'; base-uri 'none'; sandbox allow-scripts"
)


class SecurityHeaders:
    """ASGI middleware that adds these headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)

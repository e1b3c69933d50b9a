"""Say with each answer how long the console took for it, as browsers' tools and the benchmark read it."""

from __future__ import annotations

from time import perf_counter

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class ServerTiming:
    """ASGI middleware that adds the header `Server-Timing: console;dur=12.3`, in milliseconds.

    The time runs from the request's arrival until its answer begins: pages are rendered whole before that.

    Args:
        app: The application behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        began = perf_counter()

        async def send_with_time(message: Message) -> None:
            if message["type"] == "http.response.start":
                took = 1000 * (perf_counter() - began)
                MutableHeaders(scope=message)["server-timing"] = f"console;dur={took:.1f}"
            await send(message)

        await self._app(scope, receive, send_with_time if scope["type"] == "http" else send)

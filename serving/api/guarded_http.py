"""Reads HTTP with limits on what comes before any key: length, number and duration of headers, and connections.

uvicorn's reader for httptools has none: an endless header line would hold the event loop and fill the memory, and a
connection that never ends its headers would stay for ever.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Of one request: its first line and its headers together, in bytes, and how many headers it has.
MAX_HEAD_BYTES = 32_768
MAX_HEADERS = 100
# Seconds from a connection, or the first byte of a further request on it, to the end of the headers.
HEAD_SECONDS = 10.0
# In one process; whoever comes then takes the place of the one that has kept its head unfinished for longest.
MAX_CONNECTIONS = 4_000
# After the order to stop, an idle connection stays open so long: what was sent just before is still answered.
DRAIN_SECONDS = 0.5
_TOO_LARGE = b"431 Request Header Fields Too Large"
_TOO_SLOW = b"408 Request Timeout"
# By status: the code and the sentence of the answer, in the form of all errors (`schemas.errors`).
_ERRORS = {
    _TOO_LARGE: (
        "headers_too_large",
        f"the head of the request is too large: send at most {MAX_HEAD_BYTES:,} bytes and {MAX_HEADERS} headers",
    ),
    _TOO_SLOW: (
        "too_slow",
        f"the head of the request took over {HEAD_SECONDS:.0f} seconds: send it at once",
    ),
}


class GuardedHttpProtocol(HttpToolsProtocol):
    """The reader of one connection. Time and memory are spent on a request only once its headers are whole."""

    # Those that wait for the end of a head, the longest first.
    _waiting: ClassVar[dict[GuardedHttpProtocol, None]] = {}

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._is_in_head, self._head_bytes = True, 0
        self._has_begun = self._is_refused = self._is_draining = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read a connection, unless there are too many."""
        super().connection_made(cast("asyncio.Transport", transport))
        if len(self.connections) > MAX_CONNECTIONS:
            next(iter(self._waiting), self).refuse(_TOO_SLOW)
        if not self._is_refused:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read some bytes; refuse a request whose head has become too long."""
        rest = data
        while rest and self._is_in_head:
            piece, rest = rest[:MAX_HEAD_BYTES], rest[MAX_HEAD_BYTES:]
            self._head_bytes += len(piece)
            super().data_received(piece)
            if self._is_refused or self.transport.is_closing():
                return
            if self._is_in_head and self._head_bytes > MAX_HEAD_BYTES:
                self.refuse(_TOO_LARGE)
                return
        if rest:
            super().data_received(rest)
        if self._has_begun and self._timer is None:
            self._start_timer()

    def on_message_begin(self) -> None:
        """Begin a request, whose head may not be whole yet."""
        self._has_begun = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Hand the request to the application, unless it has too many headers."""
        self._stop_timer()
        self._is_in_head, self._has_begun, self._head_bytes = False, False, 0
        if len(self.headers) > MAX_HEADERS:
            self.refuse(_TOO_LARGE)
            return
        super().on_headers_complete()
        if self._is_draining and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Pass on a piece of the body."""
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect the head of a further request."""
        if not self._is_refused:
            super().on_message_complete()
            self._is_in_head = True
            self._stop_timer()

    def on_response_complete(self) -> None:
        """Let the rest of a body that was answered early come for some seconds only; nobody reads it."""
        super().on_response_complete()
        if not self._is_in_head and not self._is_refused and self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def shutdown(self) -> None:
        """Stop after what was sent already has been answered."""
        if self._is_draining or (self.cycle is not None and not self.cycle.response_complete):
            super().shutdown()
            return
        self._is_draining = True
        self.loop.call_later(DRAIN_SECONDS, self._end_drain)

    def _end_drain(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self.refuse, _TOO_SLOW)
        self._waiting[self] = None

    def _stop_timer(self) -> None:
        self._waiting.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def refuse(self, status: bytes) -> None:
        """Answer that the head is too long, or took too long, and close."""
        self._stop_timer()
        self._is_refused = True
        if self.transport.is_closing():
            return
        body = _explain(status)
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.transport.write(b"HTTP/1.1 " + status + b"\r\n" + head + body)
        self.transport.close()


def _explain(status: bytes) -> bytes:
    code, message = _ERRORS[status]
    return json.dumps({"error": {"code": code, "message": message, "details": []}}).encode()

"""Let processes that listen on one socket share its connections evenly.

A kernel gives a new connection to whichever process asks first, and the next ones too: of eight that come at once one
process of two often gets all eight, and its people wait while the other has nothing to do.
"""

from __future__ import annotations

import asyncio
import logging
import ssl as tls
from collections.abc import Callable
from socket import socket
from typing import Any

import uvloop

_LOG = logging.getLogger(__name__)
# A process waits so long for each connection that it has before it takes a new one, and so long at most: one that has
# fewer comes first.
_PAUSE, _LONGEST_PAUSE = 0.004, 0.02
# Seconds before the next try where the system has no room for another connection.
_RETRY = 0.1


class SharingLoop(uvloop.Loop):
    """An event loop whose servers leave a new connection to a process that has fewer."""

    async def create_server(  # type: ignore[override]  # uvicorn asks with a socket alone
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        *,
        sock: socket,
        backlog: int = 100,
        ssl: tls.SSLContext | None = None,
        **options: Any,
    ) -> SharedListener:
        """Listen on a bound socket; arguments as of asyncio."""
        sock.listen(backlog)
        sock.setblocking(False)
        return SharedListener(self, protocol_factory, sock, ssl=ssl, **options)


class SharedListener:
    """Takes connections of a socket that other processes listen on too.

    Args:
        loop: That serves them.
        protocol_factory: Makes what reads a connection.
        sock: Listens, without blocking.
        options: Of the loop's `connect_accepted_socket`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        sock: socket,
        **options: Any,
    ) -> None:
        self._loop, self._factory, self._socket, self._options = loop, protocol_factory, sock, options
        self._opening: set[asyncio.Task[None]] = set()
        self._open: list[asyncio.BaseTransport] = []
        self._accepting = loop.create_task(self._accept())

    def close(self) -> None:
        """Take no further connection."""
        self._accepting.cancel()

    async def wait_closed(self) -> None:
        """Wait until none is taken any more."""
        await asyncio.wait([self._accepting])

    def count_open(self) -> int:
        """Count the connections that are open, and those that are just being opened."""
        self._open = [transport for transport in self._open if not transport.is_closing()]
        return len(self._open) + len(self._opening)

    async def _accept(self) -> None:
        while True:
            await self._wait_for_one()
            await asyncio.sleep(min(self.count_open() * _PAUSE, _LONGEST_PAUSE))
            try:
                connection, _ = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                continue  # another process has it, or who asked has gone
            except OSError as error:
                _LOG.warning("a connection can't be taken: %s", error)
                await asyncio.sleep(_RETRY)
                continue
            connection.setblocking(False)
            opening = self._loop.create_task(self._connect(connection))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    async def _wait_for_one(self) -> None:
        """Wait until a connection can be taken."""
        ready = asyncio.Event()
        self._loop.add_reader(self._socket, ready.set)
        try:
            await ready.wait()
        finally:
            self._loop.remove_reader(self._socket)

    async def _connect(self, connection: socket) -> None:
        try:
            transport, _ = await self._loop.connect_accepted_socket(self._factory, connection, **self._options)
        except OSError:  # a handshake that failed is of no interest
            connection.close()
        else:
            self._open.append(transport)

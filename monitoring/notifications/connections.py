"""Limit the time of an exchange over a socket as a whole: a timeout of the socket's own bounds each answer alone."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def limit_time(connection: socket.socket | None, seconds: float) -> Iterator[None]:
    """Cut the connection once the time is up, so that whoever waits for it gets an error.

    Args:
        connection: Open; None for one that was lost already.
        seconds: For everything within the `with` statement.
    """
    if connection is None:
        yield
        return
    timer = threading.Timer(seconds, _cut, (connection,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it may have been closed meanwhile
        socket.socket.shutdown(connection, socket.SHUT_RDWR)

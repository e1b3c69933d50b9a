"""Limit the time of an exchange over a socket as a whole, and see whether the other side has hung up meanwhile."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def limit_time(connection: socket.socket | None, seconds: float) -> Iterator[None]:
    """Cut the connection once the time is up, so that whoever waits for it gets an error.

    A timeout of the socket's own bounds each answer alone.

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


def check_silence(connection: socket.socket | None) -> None:
    """Check that the other side has neither hung up nor spoken out of turn: then the end of a message is not sent.

    Raises:
        ConnectionError: It has, so that it can't have accepted anything.
    """
    if connection is None:
        raise ConnectionError
    patience = connection.gettimeout()
    connection.settimeout(0)
    try:
        connection.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return
    finally:
        connection.settimeout(patience)
    raise ConnectionError

"""What comes before any key is bounded: length, number and duration of headers; others are answered meanwhile."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from serving.api import guarded_http
from serving.api.guarded_http import MAX_HEAD_BYTES, GuardedHttpProtocol
from tests.support.waiting import wait_until

LINE = b"GET /a HTTP/1.1\r\nhost: x\r\n"


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the length of the body; at once where it is not asked for."""
    body, more = b"", scope["path"] != "/unread"
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    text = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
    await send({"type": "http.response.body", "body": text})


@contextmanager
def serving() -> Iterator[tuple[uvicorn.Server, int]]:
    config = uvicorn.Config(answer, http=GuardedHttpProtocol, lifespan="off", log_config=None, timeout_keep_alive=60)
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started)
            yield server, listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(guarded_http, "HEAD_SECONDS", 0.5)
    with serving() as (_, port):
        yield port


def exchange(port: int, *pieces: bytes) -> bytes:
    """Send pieces, and return all that comes until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        received = b""
        try:
            for piece in pieces:
                connection.sendall(piece)
            while chunk := connection.recv(65_536):
                received += chunk
        except (BrokenPipeError, ConnectionResetError):
            pass
        return received


ENDLESS = b"a" * 8_192


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ([b"GET /", *[ENDLESS] * 5], b"431"),
        ([LINE, b"x: ", *[ENDLESS] * 5], b"431"),
        ([LINE, *[b"y: 1\r\n" * 1_000] * 6], b"431"),
        ([LINE + b"y: 1\r\n" * 101 + b"\r\n"], b"431"),
        ([LINE.replace(b"GET", b"POST") + b"content-length: 5\r\n" + b"y: 1\r\n" * 101 + b"\r\n12345"], b"431"),
        ([LINE + b"x: 1\r\n"], b"408"),
        ([b""], b"408"),
        ([LINE + b"\r\n", b"GET /b"], b"408"),
        ([LINE + b"\r\nGET /b"], b"408"),
        ([b"\x00\x01\x02\r\n\r\n"], b"400"),
    ],
)
def test_a_head_without_bounds_is_refused_and_its_connection_closed(
    port: int, pieces: list[bytes], status: bytes
) -> None:
    response = exchange(port, *pieces)
    assert response.rpartition(b"HTTP/1.1 ")[2][:3] in {status, b""}  # a reset may take the answer with it
    assert httpx.get(f"http://127.0.0.1:{port}/").text == "0"


def test_hundreds_of_slow_connections_of_each_kind_keep_nobody_waiting(port: int) -> None:
    with ExitStack() as stack:
        opened = []
        for begun in (b"", b"GET /", LINE, LINE + b"x: " + b"a" * 1_000):
            for _ in range(100):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
                connection.sendall(begun)
                opened.append(connection)
        assert httpx.get(f"http://127.0.0.1:{port}/", timeout=20).text == "0"
        for connection in opened:
            assert connection.recv(3_000).startswith(b"HTTP/1.1 408 ")
        assert httpx.get(f"http://127.0.0.1:{port}/", timeout=20).text == "0"


def test_where_all_places_are_taken_the_slowest_gives_way(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_http, "MAX_CONNECTIONS", 10)
    monkeypatch.setattr(guarded_http, "HEAD_SECONDS", 60)
    with ExitStack() as stack:
        opened = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20)) for _ in range(15)]
        for connection in opened:
            connection.sendall(LINE)
        assert httpx.get(f"http://127.0.0.1:{port}/", timeout=20).text == "0"
        assert opened[0].recv(3_000).startswith(b"HTTP/1.1 408 ")
        opened[-1].sendall(b"\r\n")
        assert opened[-1].recv(3_000).startswith(b"HTTP/1.1 200 ")


def test_long_bodies_and_many_requests_on_one_connection_pass(port: int) -> None:
    body = b"b" * (3 * MAX_HEAD_BYTES)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        for n in range(5):
            headers = {f"h{i}": "v" * 300 for i in range(90)}
            assert client.post("/", content=body[n:], headers=headers).text == str(len(body) - n)
    pipelined = LINE + b"\r\n" + LINE + b"connection: close\r\n\r\n"
    assert exchange(port, pipelined).count(b"HTTP/1.1 200 OK") == 2


def test_a_body_that_was_answered_before_its_end_can_come_for_some_seconds_only(port: int) -> None:
    head = b"POST /unread HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n"
    assert exchange(port, head, b"a").count(b"HTTP/1.1 ") == 1
    whole = LINE.replace(b"/a", b"/b") + b"connection: close\r\n\r\n"
    assert exchange(port, head, b"ab", b"cd", whole).count(b"HTTP/1.1 200 OK") == 2


def test_what_was_sent_just_before_the_end_is_still_answered() -> None:
    with serving() as (server, port), socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(LINE + b"\r\n")
        assert b"200 OK" in connection.recv(3_000)
        server.should_exit = True
        # uvicorn looks at this ten times a second.
        wait_until(lambda: not server.servers or not server.servers[0].is_serving())
        connection.sendall(LINE + b"\r\n")
        assert b"200 OK" in connection.recv(3_000)
        assert connection.recv(3_000) == b""

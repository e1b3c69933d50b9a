"""A real HTTP server on a free port whose answers a test sets, and which can kill the process that calls it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class Trap:
    """An answer, or a kill of the calling process, for requests that match `like`.

    Args:
        like: A pattern of "METHOD path".
        answer: What to answer instead.
        kill: Empty, "before" or "after": kill the caller before or after the request is carried out.
        deaf: Carry the request out, but give `answer` all the same.
        after: Let so many matching requests pass first.
        times: How many requests to trap.
    """

    like: str
    answer: Answer = field(default_factory=Answer)
    kill: str = ""
    deaf: bool = False
    after: int = 0
    times: int = 1


class FakeServer:
    """Subclasses answer in `handle`; a test reads `asked`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.traps: list[Trap] = []
        self.victim = 0
        self._meanwhile: list[tuple[str, Callable[[], object]]] = []
        self._lock = threading.Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                request = Request(self.command, self.path, self.headers, self.rfile.read(length))
                with fake._lock:
                    answer = fake.respond(request)
                body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                for name, value in ({"content-type": "application/json"} | dict(answer.headers)).items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(OSError):  # the calling process was killed
                    super().handle()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def respond(self, request: Request) -> Answer:
        self.asked.append(str(request))
        for like, do in self._meanwhile:
            if re.search(like, str(request)):
                do()
        trap = self._trap(request)
        if trap is None:
            return self.handle(request)
        if trap.deaf or trap.kill == "after":
            self.handle(request)
        return self._kill() if trap.kill else trap.answer

    def _trap(self, request: Request) -> Trap | None:
        for trap in self.traps:
            if re.search(trap.like, str(request)):
                if trap.after:
                    trap.after -= 1
                elif trap.times:
                    trap.times -= 1
                    return trap
        return None

    def _kill(self) -> Answer:
        os.kill(self.victim, signal.SIGKILL)
        return Answer(500, {})

    def handle(self, request: Request) -> Answer:
        raise NotImplementedError

    def on(self, like: str, do: Callable[[], object]) -> None:
        """Let something happen in the server when such a request comes."""
        self._meanwhile.append((like, do))

    def count(self, like: str) -> int:
        return sum(bool(re.search(like, asked)) for asked in self.asked)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

"""An SMTP server as rude as some are: refuses, dawdles, hangs up at any point, and is started anew meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import threading
from collections import Counter
from typing import Self

from tests.support.ports import find_free_port

# What may befall a message, and where: before its end nothing is accepted.
RUDENESS = (
    "451 at RCPT",
    "550 at RCPT",
    "hangs up at RCPT",
    "hangs up in mid-message",
    "451 after the dot",
    "550 after the dot",
    "hangs up after the dot, refused",
    "hangs up after the dot, accepted",
    "slow",
)


class RudeServer:
    """Accepts messages on a port of this machine; `arrived` counts the accepted ones by their id.

    Args:
        share: Of the messages that something befalls; 0 for a polite server.
        seed: Of the choice.
        rudeness: What may befall them.
    """

    def __init__(self, share: float = 0.0, seed: int = 1, rudeness: tuple[str, ...] = RUDENESS) -> None:
        self.port = find_free_port()
        self.arrived, self.befell, self.restarts = Counter[str](), Counter[str](), 0
        self._share, self._draw, self._rudeness = share, random.Random(seed), rudeness  # noqa: S311  # of a test
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=20)
        self._loop.close()

    def restart(self) -> None:
        """Break all connections, and listen anew."""
        self.restarts += 1
        self._run(self._shut())
        self._run(self._open())

    def be_polite(self) -> None:
        """Do nothing rude from now on."""
        self._share = 0.0

    def _run(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(20)  # type: ignore[arg-type]

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            writer.write(b"220 here\r\n")
            fate = ""
            while line := (await reader.readline()).strip().upper():
                if line.startswith(b"MAIL"):
                    fate = self._choose()
                if fate == "slow":
                    await asyncio.sleep(0.05)
                if line.startswith(b"RCPT") and fate.endswith("at RCPT"):
                    if fate.startswith("hangs"):
                        break
                    answer = fate[:3].encode() + b" no"
                elif line.startswith(b"DATA"):
                    writer.write(b"354 go on\r\n")
                    answer = await self._take(reader, fate)
                    if not answer:
                        break
                else:
                    answer = b"221 bye" if line.startswith(b"QUIT") else b"250 fine"
                writer.write(answer + b"\r\n")
                if answer.startswith(b"221"):
                    await writer.drain()
                    break
        self._writers.discard(writer)
        writer.transport.abort()

    async def _take(self, reader: asyncio.StreamReader, fate: str) -> bytes:
        """Read a message, and return the answer; empty to hang up."""
        if fate == "hangs up in mid-message":
            await reader.readexactly(20)
            return b""
        content = await reader.readuntil(b"\r\n.\r\n")
        if fate in {"451 after the dot", "550 after the dot"}:
            return fate[:3].encode() + b" no"
        if fate == "hangs up after the dot, refused":
            return b""
        match = re.search(rb"(?mi)^Message-ID:\s*<([^@]+)@", content)
        self.arrived[match[1].decode() if match else "?"] += 1
        return b"" if fate == "hangs up after the dot, accepted" else b"250 taken"

    def _choose(self) -> str:
        if self._draw.random() >= self._share:
            return ""
        fate = self._draw.choice(self._rudeness)
        self.befell[fate] += 1
        return fate

"""Limits the bytes of large bodies that one process holds at once, so that a crowd of them can't fill its memory."""

from __future__ import annotations

import asyncio
from collections import deque
from http import HTTPStatus

from serving.schemas.errors import ApiError

# Of all large bodies together, from the first byte that is read to the answer. Who finds no room is not read on: what
# was sent waits in the sockets of both sides.
ROOM_BYTES = 16 * 2**20
# Requests that wait for room; each has up to 256 KiB in the server's own buffer.
MAX_WAITING = 100
WAIT_SECONDS = 7


class BodyRoom:
    """Room for large bodies, given in the order in which it was asked for."""

    def __init__(self) -> None:
        self._free = ROOM_BYTES
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> None:
        """Wait until there is room for a body, and take it.

        Args:
            size: Its bytes, `size <= ROOM_BYTES`.

        Raises:
            ApiError: There was none for too long, or too many wait (503, busy).
        """
        if not self._waiting and size <= self._free:
            self._free -= size
            return
        if len(self._waiting) >= MAX_WAITING:
            raise make_busy_error()
        place = size, asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await place[1]
        except BaseException as error:
            if place in self._waiting:
                self._waiting.remove(place)
                self._let_in()
            elif not place[1].cancelled():  # it was given in the same turn
                self.give_back(size)
            if isinstance(error, TimeoutError):
                raise make_busy_error() from None
            raise

    def give_back(self, size: int) -> None:
        """Make room that was taken free again."""
        self._free += size
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            size, is_let_in = self._waiting.popleft()
            if not is_let_in.cancelled():  # one whose time is up may not have had its turn to go
                self._free -= size
                is_let_in.set_result(None)


def make_busy_error() -> ApiError:
    """Return the error for a request that comes while there is too much to do."""
    return ApiError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "busy",
        "too much to do at once: send fewer accounts, or try again",
        headers={"retry-after": "1"},
    )

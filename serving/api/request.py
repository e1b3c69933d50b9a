"""Holds one HTTP request while it is answered, and reads its body."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import Receive, Scope

from serving.api.auth import Key
from serving.api.state import AppState, ScoringContext
from serving.api.worker import Worker
from serving.schemas.errors import ApiError

READ_SECONDS = 3  # that a request's body may take
MAX_BODY_BYTES = 8 * 2**20
SMALL_BODY_BYTES = 2**16  # read faster than a thread is started; such bodies need no room of their own


class ClientDisconnected(Exception):  # noqa: N818  # no error: nobody is left to be answered
    """The client closed the connection before its request was whole."""


@dataclass(slots=True)
class Request:
    """One request while it is answered.

    Args:
        worker: The process that answers.
        scope: ASGI's description of the request.
        receive: ASGI's channel for the body.
        headers: By lower-case name, the last of each.
        key: The request's key; None until it is known.
        accounts: Ids asked for, for the access log.
        room: Bytes that were taken for its body in the worker's room.
    """

    worker: Worker
    scope: Scope
    receive: Receive
    headers: dict[bytes, bytes]
    key: Key | None = None
    accounts: Sequence[str | None] = ()
    room: int = 0

    @property
    def scoring(self) -> ScoringContext:
        """Return what scores.

        Raises:
            ApiError: Nothing can be scored now.
        """
        state = self.worker.state
        if state.scoring is None:
            raise not_ready_error(state)
        return state.scoring

    async def read_body(self) -> bytes:
        """Read the JSON that was sent, and no more than a body may be long.

        Raises:
            ApiError: It is no JSON, too long, or too slow; or there is too much to do.
            ClientDisconnected: The connection was closed.
        """
        content_type = self.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if content_type != b"application/json":
            message = "send JSON, as Content-Type: application/json"
            raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "no_json", message)
        try:
            async with asyncio.timeout(READ_SECONDS) as deadline:
                return await self._read_chunks(deadline)
        except TimeoutError:
            raise ApiError(
                HTTPStatus.REQUEST_TIMEOUT,
                "too_slow",
                f"the request's body did not arrive within {READ_SECONDS} s",
                headers={"connection": "close"},
            ) from None

    def give_back_room(self) -> None:
        """Make the room of the body free for others, once the request has been answered."""
        if self.room:
            self.worker.body_room.give_back(self.room)
            self.room = 0

    def _most_bytes(self) -> int:
        """Return how long the body may become: as long as was announced, or as any may be."""
        length = self.headers.get(b"content-length")
        return MAX_BODY_BYTES if length is None else min(int(length), MAX_BODY_BYTES)

    async def _take_room(self, deadline: asyncio.Timeout) -> None:
        """Take room for the body; the time that it may take to read begins anew."""
        size = self._most_bytes()
        deadline.reschedule(None)
        await self.worker.body_room.take(size)
        self.room = size
        deadline.reschedule(asyncio.get_running_loop().time() + READ_SECONDS)

    async def _read_chunks(self, deadline: asyncio.Timeout) -> bytes:
        body = bytearray()  # bytes would be copied whole for each chunk
        while True:
            message = await self.receive()
            if message["type"] != "http.request":
                raise ClientDisconnected
            body += message.get("body", b"")
            if len(body) > MAX_BODY_BYTES:
                raise ApiError(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    "too_large",
                    f"a request may be {MAX_BODY_BYTES // 2**20} MiB long: send fewer accounts at a time",
                    headers={"connection": "close"},
                )
            # Not before there is so much: those who send by the byte take nobody's room.
            if not self.room and len(body) > SMALL_BODY_BYTES:
                await self._take_room(deadline)
            if not message.get("more_body", False):
                return bytes(body)


def not_ready_error(state: AppState) -> ApiError:
    """Return the error for a request that can't be answered, with the state's problem."""
    message = f"{state.problem} The service's log has more."
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", message, headers={"retry-after": "5"})

"""One request under way: its headers, its body, who asks, and who answers."""

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

READ_SECONDS = 3  # seconds that a request's body may take
MAX_BODY_BYTES = 8 * 2**20  # bytes


class ClientDisconnected(Exception):  # noqa: N818  # no error: nobody is there to be answered
    """The request broke off."""


@dataclass(slots=True)
class Request:
    """One request under way.

    Args:
        worker: Who answers.
        scope: As ASGI gives it.
        receive: The same.
        headers: By lower-case name, the last of each.
        key: What it carried; None until that is known.
        accounts: Ids asked for, for the audit log.
    """

    worker: Worker
    scope: Scope
    receive: Receive
    headers: dict[bytes, bytes]
    key: Key | None = None
    accounts: Sequence[str | None] = ()

    @property
    def scoring(self) -> ScoringContext:
        """Who scores.

        Raises:
            Refusal: Nothing can be scored now.
        """
        room = self.worker.state
        if room.scoring is None:
            raise not_ready_error(room)
        return room.scoring

    async def body(self) -> bytes:
        """The JSON sent, read no further than it may be long.

        Raises:
            Refusal: It is no JSON, too long, or too slow.
            Gone: It broke off.
        """
        kind = self.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind != b"application/json":
            raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "no_json", "send JSON, as Content-Type: application/json")
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await self._read()
        except TimeoutError:
            raise ApiError(
                HTTPStatus.REQUEST_TIMEOUT,
                "too_slow",
                f"no whole request came in {READ_SECONDS} s",
                headers={"connection": "close"},
            ) from None

    async def _read(self) -> bytes:
        read = b""
        while True:
            message = await self.receive()
            if message["type"] != "http.request":
                raise ClientDisconnected
            more: bytes = message.get("body", b"")
            read = read + more if read else more
            if len(read) > MAX_BODY_BYTES:
                raise ApiError(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    "too_large",
                    f"a request may be {MAX_BODY_BYTES // 2**20} MiB long: send fewer accounts at a time",
                    headers={"connection": "close"},
                )
            if not message.get("more_body", False):
                return read


def not_ready_error(room: AppState) -> ApiError:
    """Nothing can be answered now."""
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", str(room.problem))

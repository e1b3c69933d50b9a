"""The HTTP service apart from who runs it: a lean ASGI application that lets requests in and answers them.

It answers all paths itself but those of BentoML's health checks: no framework's request and routing stand between.
"""

from __future__ import annotations

import logging
import math
import time
import traceback
from http import HTTPStatus
from typing import ClassVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from features.core.errors import GarrisonError
from serving.api.request import ClientDisconnected, Request, not_ready_error
from serving.api.routes import HEALTH, JSON_CONTENT_TYPE, READY_PATH, ROUTES, Header, Route, find_route
from serving.api.state import AppState
from serving.api.worker import Worker
from serving.schemas.errors import ApiError, ErrorResponse

__all__ = ["ROUTES", "HttpApp"]

_log = logging.getLogger("bentoml.garrison")
_SECURE: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
)
_GOOD = [JSON_CONTENT_TYPE, *_SECURE]


class HttpApp:
    """Stands in front of BentoML's own application, which is left to answer the health checks.

    Args:
        app: BentoML's.
    """

    # Made by the service when it starts: BentoML puts this class to work before.
    worker: ClassVar[Worker]

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        call = Request(self.worker, scope, receive, dict(scope["headers"]))
        route = find_route(scope["path"])
        status = 200
        try:
            if route is HEALTH and self._healthy(call):
                await self._app(scope, receive, _with_headers(send, call.worker.state))
                return
            body = await _answered(call, route)
            headers = _GOOD if route.kind is JSON_CONTENT_TYPE else [route.kind, *_SECURE]
        except ClientDisconnected:
            return
        except Exception as error:  # noqa: BLE001  # any error has its envelope
            refusal = _refusal(error)
            status, body = int(refusal.status), ErrorResponse(error=refusal.error).model_dump_json().encode()
            headers = [*_GOOD, *((k.encode(), v.encode()) for k, v in refusal.headers.items())]
            call.worker.metrics.record_error(refusal.error.code)
        if call.key is not None and call.worker.access_log is not None:
            call.worker.access_log.record(call.key.key_id, route.name, status, call.accounts)
        call.worker.metrics.record_request(route.name, status, time.perf_counter() - began)
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await send({"type": "http.response.body", "body": body})

    def _healthy(self, call: Request) -> bool:
        """Whether BentoML may answer a health check.

        Raises:
            Refusal: It asks whether we are ready, and we aren't; or it doesn't merely ask.
        """
        if call.scope["method"] not in {"GET", "HEAD"}:
            raise _not_allowed(HEALTH)
        if call.scope["path"] == READY_PATH and call.worker.state.scoring is None:
            raise not_ready_error(call.worker.state)
        return True


async def _answered(call: Request, route: Route) -> bytes:
    """The answer's body, for who may have it."""
    method = call.scope["method"]
    if route.method and method != route.method and not (method == "HEAD" and route.method == "GET"):
        raise _not_allowed(route)
    if route.scope:
        _admit(call, route)
    return await route.answer(call)


def _admit(call: Request, route: Route) -> None:
    """Let a request in that carries a live key with the scope needed, and does not come too soon.

    Raises:
        Refusal: It does not.
    """
    worker, room = call.worker, call.worker.state
    if room.keyring is None or worker.rate_limiter is None or worker.access_log is None:
        raise not_ready_error(room)
    given = call.headers.get(b"authorization")
    call.key = key = room.keyring.find_key(None if given is None else given.decode("latin-1"))
    if key is None:
        raise ApiError(
            HTTPStatus.UNAUTHORIZED,
            "no_key",
            "a live key is needed, as the header Authorization: Bearer …; make one: python -m serving key create",
            headers={"www-authenticate": "Bearer"},
        )
    wait = worker.rate_limiter.acquire(key.key_id, time.monotonic())
    if wait:
        raise ApiError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too_many",
            f"this key asks too often: wait {math.ceil(wait)} s",
            headers={"retry-after": str(math.ceil(wait))},
        )
    if not key.has_scope(route.scope):
        raise ApiError(HTTPStatus.FORBIDDEN, "no_scope", f"this needs a key with the scope {route.scope}")
    if worker.access_log.is_full:
        why = "the audit log can't be written, and nothing is answered without it"
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", why, headers={"retry-after": "5"})


def _not_allowed(route: Route) -> ApiError:
    why = f"ask by {route.methods} here"
    return ApiError(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", why, headers={"allow": route.methods})


def _refusal(error: Exception) -> ApiError:
    """How an error is answered; one of ours is logged without its message, which may hold data."""
    match error:
        case ApiError():
            return error
        case GarrisonError():
            return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", str(error))
        case _:
            where = "".join(traceback.format_tb(error.__traceback__))
            _log.error("a request failed with %s:\n%s", type(error).__name__, where)
            return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "this is our fault, and is logged")


def _with_headers(send: Send, room: AppState) -> Send:
    """Adds to BentoML's answers what ours have, and whose champion another model stands in for."""
    fallen = ", ".join(room.fallbacks).encode()

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            fallback = [(b"x-garrison-fallback", fallen)] if fallen else []
            message = {**message, "headers": [*message.get("headers", ()), *_SECURE, *fallback]}
        await send(message)

    return sent

"""Answers HTTP requests: a lean ASGI application that admits a request, runs its route and sends the answer.

It answers all paths itself but those of BentoML's health checks. No framework's request and routing lie between.
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
from features.core.public_errors import describe_publicly
from features.core.tracing import SpanRecorder
from serving.api.request import ClientDisconnected, Request, not_ready_error
from serving.api.routes import HEALTH, JSON_CONTENT_TYPE, Header, Route, find_route
from serving.api.state import AppState
from serving.api.worker import Worker
from serving.schemas.errors import ApiError, ErrorResponse
from serving.schemas.routes import READY_PATH

_log = logging.getLogger("bentoml.garrison")
_SECURITY_HEADERS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
)
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_JSON_HEADERS = [JSON_CONTENT_TYPE, *_SECURITY_HEADERS]


class HttpApp:
    """The service's ASGI application; it stands before BentoML's own, which only answers the health checks.

    Args:
        app: BentoML's application.
    """

    # Set by the service when it starts: BentoML makes this application before.
    worker: ClassVar[Worker]

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request = Request(self.worker, scope, receive, dict(scope["headers"]))
        route = find_route(scope["path"])
        status = 200
        try:
            if route is HEALTH:
                _check_health_request(request)
                await self._app(scope, receive, _add_headers(send, request.worker.state))
                return
            body = await _respond(request, route)
            headers = (
                _JSON_HEADERS if route.content_type is JSON_CONTENT_TYPE else [route.content_type, *_SECURITY_HEADERS]
            )
        except ClientDisconnected:
            return
        except Exception as exception:  # noqa: BLE001  # any error becomes an answer
            error = _to_api_error(exception)
            status, body = int(error.status), ErrorResponse(error=error.error).model_dump_json().encode()
            headers = [*_JSON_HEADERS, *((k.encode(), v.encode()) for k, v in error.headers.items())]
            request.worker.metrics.record_error(error.error.code)
        finally:
            request.give_back_room()
        if request.key is not None and request.worker.access_log is not None:
            request.worker.access_log.record(request.key.key_id, route.name, status, request.accounts)
        seconds = time.perf_counter() - began
        request.worker.metrics.record_request(route.name, status, seconds)
        if request.worker.spans is not None:
            _record_span(request.worker.spans, request, route, status, seconds)
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await send({"type": "http.response.body", "body": body})


def _check_health_request(request: Request) -> None:
    """Check that BentoML may answer a health check.

    Raises:
        ApiError: The method is wrong, or it asks whether the service is ready, and it is not.
    """
    if request.scope["method"] not in {"GET", "HEAD"}:
        raise _method_error(HEALTH)
    if request.scope["path"] == READY_PATH and request.worker.state.scoring is None:
        raise not_ready_error(request.worker.state)


async def _respond(request: Request, route: Route) -> bytes:
    """Check method and key, run the route's handler, and return the answer's body."""
    method = request.scope["method"]
    if route.method and method != route.method and not (method == "HEAD" and route.method == "GET"):
        raise _method_error(route)
    if route.scope:
        _authorize(request, route)
    return await route.handle(request)


def _authorize(request: Request, route: Route) -> None:
    """Check that a request has a valid key with the scope that the route needs, and does not come too soon.

    Raises:
        ApiError: It has none, or comes too soon.
    """
    worker, state = request.worker, request.worker.state
    if state.keyring is None or worker.rate_limiter is None or worker.access_log is None:
        raise not_ready_error(state)
    header = request.headers.get(b"authorization")
    request.key = key = state.keyring.find_key(None if header is None else header.decode("latin-1"))
    if key is None:
        raise ApiError(
            HTTPStatus.UNAUTHORIZED,
            "no_key",
            "a valid key is needed, as the header Authorization: Bearer …; make one: python -m serving key create",
            headers={"www-authenticate": "Bearer"},
        )
    wait = worker.rate_limiter.acquire(key.key_id, time.monotonic())
    if wait:
        raise ApiError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too_many",
            f"too many requests with this key: wait {math.ceil(wait)} s",
            headers={"retry-after": str(math.ceil(wait))},
        )
    if not key.has_scope(route.scope):
        raise ApiError(HTTPStatus.FORBIDDEN, "no_scope", f"this needs a key with the scope {route.scope}")
    if worker.access_log.is_full:
        message = "the access log can't be written, and no request is answered without it"
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", message, headers={"retry-after": "5"})


def _record_span(spans: SpanRecorder, request: Request, route: Route, status: int, seconds: float) -> None:
    """Record an answered request as a span, in the words of OpenTelemetry's conventions for HTTP; it has no ids."""
    method = request.scope["method"] if request.scope["method"] in _METHODS else "_OTHER"
    attributes = {
        "http.request.method": method,
        "http.route": route.template,
        "http.response.status_code": status,
        "garrison.accounts": len(request.accounts),
    }
    traceparent = request.headers.get(b"traceparent")
    spans.record_request(
        f"{method} {route.template}",
        attributes,
        seconds=seconds,
        traceparent=None if traceparent is None else traceparent.decode("latin-1"),
        is_failed=status >= HTTPStatus.INTERNAL_SERVER_ERROR,
    )


def _method_error(route: Route) -> ApiError:
    message = f"this path takes {route.allow}"
    return ApiError(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", message, headers={"allow": route.allow})


def _to_api_error(error: Exception) -> ApiError:
    """Return the answer to an error; an internal one is logged without its message, which may hold data."""
    match error:
        case ApiError():
            return error
        case GarrisonError():
            _log.warning("a request could not be answered: %s", error)
            message = f"{describe_publicly(error)} The service's log has more."
            return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", message, headers={"retry-after": "5"})
        case _:
            trace = "".join(traceback.format_tb(error.__traceback__))
            _log.error("a request failed with %s:\n%s", type(error).__name__, trace)
            return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "internal error (logged)")


def _add_headers(send: Send, state: AppState) -> Send:
    """Add security headers and X-Garrison-Fallback to BentoML's health responses."""
    targets = ", ".join(state.fallbacks).encode()

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            fallback = [(b"x-garrison-fallback", targets)] if targets else []
            message = {**message, "headers": [*message.get("headers", ()), *_SECURITY_HEADERS, *fallback]}
        await send(message)

    return send_with_headers

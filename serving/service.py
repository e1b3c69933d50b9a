"""The HTTP service: BentoML runs it, a plain ASGI application answers. Here, and nowhere else, BentoML is met.

`POST /v1/score`, `GET /v1/accounts/{id}`, `GET /v1/model`; BentoML itself answers `/healthz` and `/readyz`.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread
import bentoml
from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from features.errors import GarrisonError
from serving.refusal import Envelope, Refusal

if TYPE_CHECKING:
    # BentoML's supervisor imports this file too, and needs none of this: it starts the faster.
    from serving.room import Desk, Room

Result = TypeVar("Result")

CONFIG = "GARRISON_CONFIG"
# Seconds. BentoML's timer of each request lives on after the answer, so a long timeout is paid by all.
TIMEOUT = 8
READING = 3
WORKING = 7
BODY = 8 * 2**20  # bytes
SMALL = 2**16  # bytes that are read faster than a thread's turn takes


async def score(request: Request) -> Response:
    """Score accounts by id or from posted histories."""
    desk = await _admitted(request)
    body = await _body(request)
    asked = desk.reader.read(body) if len(body) < SMALL else await _working(desk.reader.read, body)
    # By id and unexplained is faster than a thread's turn; all else would keep others waiting.
    quick = not asked.drivers and all(isinstance(item, str) for item in asked.items)
    results = desk.answers.score(asked) if quick else await _working(desk.answers.score, asked)
    return _json(results.model_dump_json().encode())


async def account(request: Request) -> Response:
    """One account's scores, with those of before."""
    desk = await _admitted(request)
    return _json(to_json(await _working(desk.account, request.path_params["account_id"])))


async def model(request: Request) -> Response:
    """The models that score now."""
    desk = await _admitted(request)
    return _json(to_json(desk.answers.model()))


async def _admitted(request: Request) -> Desk:
    """Who answers, for a request that carries a live key."""
    room: Room = web.state.room
    if room.stale and not web.state.renewal:
        # In the background: the request that happens to come first need not pay for it.
        web.state.renewal = asyncio.create_task(_renew(room))
    if room.keyring is not None and room.keyring.holder(request.headers.get("authorization")) is None:
        raise Refusal(
            HTTPStatus.UNAUTHORIZED,
            "no_key",
            "a live key is needed, as the header Authorization: Bearer …; make one: python -m serving key create",
            headers={"www-authenticate": "Bearer"},
        )
    if room.desk is None:
        raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", str(room.trouble))
    return room.desk


async def _renew(room: Room) -> None:
    try:
        web.state.room = await anyio.to_thread.run_sync(room.renewed)
    finally:
        web.state.renewal = None


async def _body(request: Request) -> bytes:
    """The JSON sent, read no further than it may be long."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "no_json", "send JSON, as Content-Type: application/json")
    read = bytearray()
    try:
        async with asyncio.timeout(READING):
            async for chunk in request.stream():
                read += chunk
                if len(read) > BODY:
                    raise Refusal(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                        "too_large",
                        f"a request may be {BODY // 2**20} MiB long: send fewer accounts at a time",
                        headers={"connection": "close"},
                    )
    except TimeoutError:
        raise Refusal(HTTPStatus.REQUEST_TIMEOUT, "too_slow", f"no whole request came in {READING} s") from None
    return bytes(read)


async def _working(work: Callable[..., Result], *given: Any) -> Result:
    """Work done in a thread, so that other requests go on meanwhile."""
    try:
        async with asyncio.timeout(WORKING):
            task = partial(work, *given)
            return await anyio.to_thread.run_sync(task, abandon_on_cancel=True, limiter=web.state.turns)
    except TimeoutError:
        raise Refusal(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "busy",
            "too much to do at once: send fewer accounts, or try again",
            headers={"retry-after": "1"},
        ) from None


def _json(body: bytes, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")


async def _refused(_: Request, error: Exception) -> Response:
    """Any error, in the one envelope."""
    match error:
        case Refusal():
            refusal = error
        case HTTPException():
            status = HTTPStatus(error.status_code)
            headers = dict(error.headers or {})
            refusal = Refusal(status, status.name.lower(), f"{status.phrase.lower()} here", headers=headers)
        case GarrisonError():
            refusal = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", str(error))
        case ClientDisconnect():
            refusal = Refusal(HTTPStatus.BAD_REQUEST, "gone", "the request broke off")
        case _:
            refusal = Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "this is our fault, and is logged")
    body = Envelope(error=refusal.error).model_dump_json().encode()
    return _json(body, refusal.status, refusal.headers)


web = Starlette(
    routes=[
        Route("/v1/score", score, methods=["POST"]),
        Route("/v1/accounts/{account_id:path}", account),
        Route("/v1/model", model),
    ],
    exception_handlers=dict.fromkeys((Refusal, HTTPException, GarrisonError, ClientDisconnect, Exception), _refused),
)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """All paths that BentoML leaves to us: a bare function, so that unknown ones come here as well."""
    await web(scope, receive, send)


@bentoml.service(
    name="garrison",
    traffic={"timeout": TIMEOUT},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
    tracing={"excluded_urls": ".*"},
)
@bentoml.asgi_app(application)
class Garrison:
    """Churn and upsell scores, with their reasons."""

    def __init__(self) -> None:
        from serving.room import Room

        web.state.room = Room.open(os.environ.get(CONFIG, "garrison.toml"))
        web.state.renewal = None
        # More threads than processors would only make everyone wait; who waits too long is told so.
        web.state.turns = anyio.CapacityLimiter(os.cpu_count() or 1)
        # What is loaded now stays for good: the collector need not walk it at every turn.
        gc.collect()
        gc.freeze()

    def __is_ready__(self) -> bool:
        """Whether there is a model to score with; BentoML answers /readyz by it."""
        if web.state.room.trouble and web.state.room.stale:
            web.state.room = web.state.room.renewed()
        if web.state.room.trouble:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, web.state.room.trouble)
        return True

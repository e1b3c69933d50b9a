"""What can be asked over HTTP, and how each request is answered once it has been let in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pydantic_core import to_json

from serving.api import metrics
from serving.api.request import Request, not_ready_error
from serving.api.state import ScoringContext
from serving.api.worker import Worker
from serving.events import log
from serving.schemas import event_requests
from serving.schemas.errors import ApiError
from serving.schemas.score_requests import ScoreRequest

SMALL_BODY_BYTES = 2**16  # bytes that are read faster than a thread's turn takes
ACCOUNTS_PREFIX = "/v1/accounts/"
READY_PATH = "/readyz"
JSON_CONTENT_TYPE = (b"content-type", b"application/json")

Header = tuple[bytes, bytes]


async def score(call: Request) -> bytes:
    """Score accounts by id or from posted histories."""
    desk, body = call.scoring, await call.body()
    asked = (
        desk.reader.read(body)
        if len(body) < SMALL_BODY_BYTES
        else await call.worker.run_in_thread(desk.reader.read, body)
    )
    call.accounts = [_name(item) for item in asked.items]
    # All else would keep others waiting.
    quick = desk.score_service.is_quick(asked)
    results = (
        desk.score_service.score(asked) if quick else await call.worker.run_in_thread(desk.score_service.score, asked)
    )
    _count(call.worker, desk, asked, results["results"])
    return to_json(results)


async def account(call: Request) -> bytes:
    """One account's scores, with those of before."""
    desk, name = call.scoring, call.scope["path"][len(ACCOUNTS_PREFIX) :]
    call.accounts = [name]
    return to_json(await call.worker.run_in_thread(desk.account, name))


async def model(call: Request) -> bytes:
    """The models that score now; of each, why it is not the champion, where that can't be read."""
    return to_json(call.scoring.model(call.worker.state.fallbacks))


async def events(call: Request) -> bytes:
    """Take what has happened into the log; it is on disk before this answers."""
    room, body = call.worker.state, await call.body()
    if room.settings is None or room.store is None or room.events is None:
        raise not_ready_error(room)
    read = await call.worker.run_in_thread(room.events.read, body)
    rows = [row for found in read.values() for row in found]
    call.accounts = [row.content["account_id"] if isinstance(row, event_requests.PostedEvent) else None for row in rows]
    return to_json(await call.worker.run_in_thread(log.store_events, room.settings, room.store, read))


async def document(call: Request) -> bytes:
    """The OpenAPI document."""
    from serving.schemas import openapi

    worker = call.worker
    if worker.document is None:
        if worker.state.settings is None:
            raise not_ready_error(worker.state)
        worker.document = to_json(await worker.run_in_thread(openapi.build_document, worker.state.settings))
    return worker.document


async def figures(call: Request) -> bytes:
    """What Prometheus reads."""
    worker = call.worker
    return await worker.run_in_thread(metrics.render_metrics, worker.metrics, worker.state, worker.parity)


async def nowhere(_: Request) -> bytes:
    """There is nothing."""
    raise ApiError(HTTPStatus.NOT_FOUND, "not_found", "not found here")


@dataclass(frozen=True)
class Route:
    """One way to ask.

    Args:
        name: In the figures and the audit log.
        method: GET, which HEAD goes with, or POST; empty for any.
        scope: What a key must be allowed; empty where none is asked for.
        answer: Gives the body.
        kind: The body's content type.
    """

    name: str
    method: str
    scope: str
    answer: Callable[[Request], Awaitable[bytes]]
    kind: Header = JSON_CONTENT_TYPE

    @property
    def methods(self) -> str:
        """For the header Allow."""
        return "GET, HEAD" if self.method == "GET" else self.method


_ACCOUNT = Route("account", "GET", "read", account)
ROUTES: Mapping[str, Route] = {
    "/v1/score": Route("score", "POST", "score", score),
    "/v1/events": Route("events", "POST", "ingest", events),
    "/v1/model": Route("model", "GET", "read", model),
    "/openapi.json": Route("openapi", "GET", "", document),
    "/metrics": Route("metrics", "GET", "read", figures, (b"content-type", metrics.CONTENT_TYPE.encode())),
}
# BentoML answers these.
HEALTH = Route("health", "GET", "", nowhere)
UNKNOWN = Route("none", "", "", nowhere)
_HEALTH_PATHS = frozenset({"/healthz", "/livez", READY_PATH})


def find_route(path: str) -> Route:
    """The route of a path; NOWHERE where there is none."""
    found = ROUTES.get(path)
    if found is not None:
        return found
    if path.startswith(ACCOUNTS_PREFIX) and len(path) > len(ACCOUNTS_PREFIX):
        return _ACCOUNT
    return HEALTH if path in _HEALTH_PATHS else UNKNOWN


def _name(item: Any) -> str | None:
    """The account id of what was asked: an id, a posted account, or what could not be read."""
    if isinstance(item, str):
        return item
    return item["account"]["account_id"] if isinstance(item, dict) else item.account_id


def _count(worker: Worker, desk: ScoringContext, asked: ScoreRequest, items: Sequence[Mapping[str, Any]]) -> None:
    """Take scores, and values that no model knows, into the figures."""
    for item in items:
        for name, told in item.get("scores", {}).items():
            worker.metrics.record_score(name, told["score"])
    for labels in desk.unseen_posted(asked):
        worker.metrics.unseen[labels] += 1

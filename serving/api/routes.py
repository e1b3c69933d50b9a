"""Handles each route of the HTTP service, once a request has been admitted; the table is `schemas.routes`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pydantic_core import to_json

from features.core.errors import GarrisonError
from serving.api import metrics
from serving.api.request import SMALL_BODY_BYTES, Request, not_ready_error
from serving.api.serialization import Item
from serving.api.state import ScoringContext
from serving.api.worker import Worker
from serving.events import log
from serving.schemas import event_requests, list_requests
from serving.schemas.errors import ApiError
from serving.schemas.routes import ENDPOINTS, HEALTH_NAME, Endpoint
from serving.schemas.score_requests import ScoreRequest, trim_text

JSON_CONTENT_TYPE = (b"content-type", b"application/json")

Header = tuple[bytes, bytes]


async def score(request: Request) -> bytes:
    """Score accounts by id or from posted histories."""
    scoring, body = request.scoring, await request.read_body()
    service = scoring.score_service

    def read() -> ScoreRequest:
        score_request = scoring.reader.read(body)
        request.accounts = [_account_id(item) for item in score_request.items]
        return score_request

    def read_and_score() -> tuple[ScoreRequest, dict[str, list[Item]]]:
        score_request = read()
        return score_request, service.score(score_request)

    if len(body) >= SMALL_BODY_BYTES:
        # Both in one turn: read rows take ten times the memory of the body, and must not wait for a thread.
        score_request, response = await request.worker.run_in_thread(read_and_score)
    else:
        score_request = read()
        # Slow work would keep other requests waiting.
        if service.is_quick(score_request):
            response = service.score(score_request)
        else:
            response = await request.worker.run_in_thread(service.score, score_request)
    _record_scores(request.worker, scoring, score_request, response["results"])
    return to_json(response)


async def get_account(request: Request) -> bytes:
    """Return one account's scores and those stored of it."""
    scoring, given = request.scoring, request.scope["path"][len(_ACCOUNT_PREFIX) :]
    account_id = trim_text(given) if given.strip() else given
    request.accounts = [account_id]
    return to_json(await request.worker.run_in_thread(scoring.get_account, account_id))


async def list_accounts(request: Request) -> bytes:
    """List customers at the newest scores."""
    asked, listed = (
        list_requests.read_list_request(request.scope.get("query_string", b"")),
        request.scoring.account_list,
    )
    if listed is None:
        message = "no scores are stored yet: run `python -m serving score`"
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", message)
    try:
        page = await request.worker.run_in_thread(listed.list_accounts, asked.order, asked.after, asked.limit)
    except GarrisonError:
        raise ApiError(HTTPStatus.NOT_FOUND, "unknown_page", "no page of this order begins after this") from None
    request.accounts = [row["account_id"] for row in page["accounts"]]
    return to_json(page)


async def describe_models(request: Request) -> bytes:
    """Return the models that score now, with why one is not the champion, if its champion can't be read."""
    return to_json(request.scoring.describe_models(request.worker.state.fallbacks))


async def store_events(request: Request) -> bytes:
    """Add posted events to the log; they are on disk before this returns."""
    state, body = request.worker.state, await request.read_body()
    settings, store, reader = state.settings, state.store, state.events
    if settings is None or store is None or reader is None:
        raise not_ready_error(state)

    def read_and_store() -> bytes:
        events = reader.read(body)
        request.accounts = [
            row.content["account_id"] if isinstance(row, event_requests.PostedEvent) else None
            for table_rows in events.values()
            for row in table_rows
        ]
        return to_json(log.store_events(settings, store, events))

    return await request.worker.run_in_thread(read_and_store)


async def get_document(request: Request) -> bytes:
    """Return the OpenAPI document."""
    from serving.schemas import openapi

    worker = request.worker
    if worker.document is None:
        if worker.state.settings is None:
            raise not_ready_error(worker.state)
        worker.document = to_json(await worker.run_in_thread(openapi.build_document, worker.state.settings))
    return worker.document


async def get_metrics(request: Request) -> bytes:
    """Return the metrics for Prometheus."""
    worker = request.worker
    return await worker.run_in_thread(metrics.render_metrics, worker.metrics, worker.state, worker.parity)


async def refuse(_: Request) -> bytes:
    """Raise the error of a path that has no route."""
    raise ApiError(HTTPStatus.NOT_FOUND, "not_found", "not found here")


Handler = Callable[[Request], Awaitable[bytes]]


@dataclass(frozen=True)
class Route:
    """A way to answer the requests of one path.

    Args:
        name: In the metrics and the access log.
        method: GET, which includes HEAD, or POST; empty for any.
        scope: That a key needs; empty if no key is needed.
        handle: Returns the answer's body.
        content_type: Header of the answer.
        template: Its path, with the parameter in braces; for spans.
    """

    name: str
    method: str
    scope: str
    handle: Handler
    content_type: Header = JSON_CONTENT_TYPE
    template: str = "(no route)"

    @property
    def allow(self) -> str:
        """Return the methods for the header Allow."""
        return "GET, HEAD" if self.method == "GET" else self.method


_HANDLERS: Mapping[str, Handler] = {
    "score": score,
    "events": store_events,
    "accounts": list_accounts,
    "account": get_account,
    "model": describe_models,
    "openapi": get_document,
    "metrics": get_metrics,
}
_METRICS_CONTENT_TYPE = (b"content-type", metrics.CONTENT_TYPE.encode())
UNKNOWN = Route("none", "", "", refuse)
# BentoML answers these.
HEALTH = Route(HEALTH_NAME, "GET", "", refuse)


def _make_route(endpoint: Endpoint) -> Route:
    if endpoint.name == HEALTH_NAME:
        return HEALTH
    content_type = JSON_CONTENT_TYPE if endpoint.is_json else _METRICS_CONTENT_TYPE
    return Route(endpoint.name, endpoint.method, endpoint.scope, _HANDLERS[endpoint.name], content_type, endpoint.path)


ROUTES: Mapping[str, Route] = {e.path: _make_route(e) for e in ENDPOINTS if "{" not in e.path}
# The only path with a parameter.
_ACCOUNT_PREFIX, _ACCOUNT = next((e.path.partition("{")[0], _make_route(e)) for e in ENDPOINTS if "{" in e.path)


def find_route(path: str) -> Route:
    """Return the route of a path; UNKNOWN if it has none."""
    route = ROUTES.get(path)
    if route is not None:
        return route
    return _ACCOUNT if path.startswith(_ACCOUNT_PREFIX) and len(path) > len(_ACCOUNT_PREFIX) else UNKNOWN


def _account_id(item: Any) -> str | None:
    """Return the account id of an item: an id, a posted account, or one that was rejected."""
    if isinstance(item, str):
        return item
    return item["account"]["account_id"] if isinstance(item, dict) else item.account_id


def _record_scores(
    worker: Worker, scoring: ScoringContext, request: ScoreRequest, items: Sequence[Mapping[str, Any]]
) -> None:
    """Count scores, and posted values that no model knows, in the metrics."""
    for item in items:
        for name, target_score in item.get("scores", {}).items():
            worker.metrics.record_score(name, target_score["score"])
    for labels in scoring.find_unseen(request):
        worker.metrics.unseen[labels] += 1

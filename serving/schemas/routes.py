"""Lists all routes of the HTTP service; routing and the OpenAPI document are made from this table."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from pydantic import BaseModel

from serving.schemas.responses import AccountResponse, AccountsResponse, EventsResponse, ModelsResponse, ScoreResponse

READY_PATH = "/readyz"
HEALTH_NAME = "health"


@dataclass(frozen=True)
class Endpoint:
    """A path of the HTTP service with its method.

    Args:
        operation: operationId of the OpenAPI document.
        path: With its parameter in braces.
        method: GET includes HEAD.
        scope: That a key needs; empty if no key is needed.
        response: The model of the answer's JSON, or the media type of an answer without a model.
        errors: Statuses of its errors.
        summary: What it does, in one sentence.
        description: What else there is to know.
        label: Its name in the metrics and the access log, if that is not `operation`.
    """

    operation: str
    path: str
    method: Literal["GET", "POST"]
    scope: str
    response: type[BaseModel] | str
    errors: tuple[HTTPStatus, ...]
    summary: str
    description: str = ""
    label: str = ""

    @property
    def name(self) -> str:
        """Return its name in the metrics and the access log."""
        return self.label or self.operation

    @property
    def is_json(self) -> bool:
        """Return whether its answer is JSON."""
        return self.response == "application/json" or not isinstance(self.response, str)


_KEYLESS = (HTTPStatus.METHOD_NOT_ALLOWED,)
_KEYED = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_WITH_BODY = (
    *_KEYED,
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)

ENDPOINTS = (
    Endpoint(
        "score",
        "/v1/score",
        "POST",
        "score",
        ScoreResponse,
        _WITH_BODY,
        "Score accounts, by id or from their posted histories.",
        "Each account has its result or its error, in the order of the request: a bad one never fails the others. Ids "
        "are scored at the newest snapshot. A posted history is looked at from `as_of`, by default now; a table that "
        "is left out is a source that was not seen, an empty one a source without events.",
    ),
    Endpoint(
        "events",
        "/v1/events",
        "POST",
        "ingest",
        EventsResponse,
        _WITH_BODY,
        "Send tickets, usage and purchases as they happen.",
        "At most 1,000 rows, all tables together. Each is stored once, by its `event_id` or `ticket_id`, however often "
        "it is sent; a ticket may be sent again with its later course. What is accepted is on disk before the answer, "
        "and known from `received_at`. Each row has its status (`fate`), in the order of the request: a bad one never "
        "fails the others.",
    ),
    Endpoint(
        "accounts",
        "/v1/accounts",
        "GET",
        "read",
        AccountsResponse,
        (*_KEYED, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
        "List customers at the newest scores, the most value at risk first.",
        "Ask for the next page with `after`, as the answer gives it: pages begin after an account, so none is missed "
        "or listed twice while no new run lands.",
    ),
    Endpoint(
        "account",
        "/v1/accounts/{account_id}",
        "GET",
        "read",
        AccountResponse,
        (*_KEYED, HTTPStatus.NOT_FOUND),
        "Return one account's scores now, with their drivers, and its stored scores.",
    ),
    Endpoint("model", "/v1/model", "GET", "read", ModelsResponse, _KEYED, "Return the models that score now."),
    Endpoint("metrics", "/metrics", "GET", "read", "text/plain", _KEYED, "Return metrics for Prometheus."),
    Endpoint(
        "healthz", "/healthz", "GET", "", "text/plain", _KEYLESS, "Check that the service is alive.", label=HEALTH_NAME
    ),
    Endpoint(
        "livez", "/livez", "GET", "", "text/plain", _KEYLESS, "Check that the service is alive.", label=HEALTH_NAME
    ),
    Endpoint(
        "readyz",
        READY_PATH,
        "GET",
        "",
        "text/plain",
        (*_KEYLESS, HTTPStatus.SERVICE_UNAVAILABLE),
        "Check that the service can score.",
        "503 says what is missing.",
        label=HEALTH_NAME,
    ),
    Endpoint(
        "openapi",
        "/openapi.json",
        "GET",
        "",
        "application/json",
        (*_KEYLESS, HTTPStatus.SERVICE_UNAVAILABLE),
        "Return this document.",
    ),
)

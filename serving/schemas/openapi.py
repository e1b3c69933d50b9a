"""The OpenAPI document of the HTTP service, made from the types that it reads and answers with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core.core_schema import DecimalSchema

from features.settings import Settings
from serving.schemas import event_requests, openapi_examples
from serving.schemas.errors import ErrorResponse
from serving.schemas.openapi_examples import OpenApiExamples
from serving.schemas.responses import AccountResponse, EventsResponse, ModelsResponse, ScoreResponse
from serving.schemas.score_requests import ScoreRequestReader

VERSION = "1"
_JSON = "application/json"
_SCHEMAS = "#/components/schemas/"
_BARE: Mapping[str, dict[str, str]] = {"text/plain": {"type": "string"}, _JSON: {"type": "object"}}
_KEY = "As `python -m serving key create` prints it."
_ACCOUNT_ID = {"name": "account_id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
_ABOUT = """\
Churn and upsell scores of one company's accounts, with their reasons.

A key is sent as `Authorization: Bearer …` and has scopes: `score`, `read`, `ingest`; `admin` stands for all of them.
JSON is read strictly: no unknown keys, no NaN, no text for a number where a number is asked for.
Every answer but a success is `{"error": {"code", "message", "details"}}`; codes are stable, messages are for people.
"""
_HEADERS: Mapping[HTTPStatus, tuple[str, str]] = {
    HTTPStatus.UNAUTHORIZED: ("WWW-Authenticate", "Bearer."),
    HTTPStatus.METHOD_NOT_ALLOWED: ("Allow", "The methods that are."),
    HTTPStatus.TOO_MANY_REQUESTS: ("Retry-After", "Whole seconds until the key may ask again."),
    HTTPStatus.SERVICE_UNAVAILABLE: ("Retry-After", "Whole seconds, where asking again may help."),
}


@dataclass(frozen=True)
class _Route:
    """One operation.

    Args:
        id: Its operationId.
        says: What it does, in one sentence.
        more: What else there is to know.
        scope: What a key needs, None where none is asked for.
        answers: The type of its JSON, or the media type of its text.
        refusals: The statuses of its errors.
    """

    id: str
    says: str
    more: str
    scope: str | None
    answers: type[BaseModel] | str
    refusals: tuple[HTTPStatus, ...] = ()


_KEYED = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_OPEN = (HTTPStatus.METHOD_NOT_ALLOWED,)
_READS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
_ROUTES: Mapping[tuple[str, str], _Route] = {
    ("/v1/score", "post"): _Route(
        "score",
        "Score accounts, by id or from their posted histories.",
        "Each account has its result or its error, in the order asked: a bad one never fails the others. Ids are "
        "scored at the newest snapshot. A posted history is looked at from `as_of`, by default now; a table that is "
        "left out is a source not seen, an empty one a source that tells of no event.",
        "score",
        ScoreResponse,
        (*_KEYED, *_READS),
    ),
    ("/v1/events", "post"): _Route(
        "events",
        "Send tickets, usage and purchases as they happen.",
        "At most 1,000 rows, all tables together. Each is taken once, by its `event_id` or `ticket_id`, however often "
        "it is sent; a ticket may be sent again with its later course. What is accepted is on disk before the answer, "
        "and known from `received_at`. Each row has its fate, in the order sent: a bad one never fails the others.",
        "ingest",
        EventsResponse,
        (*_KEYED, *_READS),
    ),
    ("/v1/accounts/{account_id}", "get"): _Route(
        "account",
        "One account's scores now, with their drivers, and those stored of it.",
        "",
        "read",
        AccountResponse,
        (*_KEYED, HTTPStatus.NOT_FOUND),
    ),
    ("/v1/model", "get"): _Route("model", "The models that score now.", "", "read", ModelsResponse, _KEYED),
    ("/metrics", "get"): _Route("metrics", "Figures for Prometheus.", "", "read", "text/plain", _KEYED),
    ("/healthz", "get"): _Route("healthz", "Whether the service is alive.", "", None, "text/plain", _OPEN),
    ("/livez", "get"): _Route("livez", "The same.", "", None, "text/plain", _OPEN),
    ("/readyz", "get"): _Route(
        "readyz",
        "Whether it can score.",
        "503 says what is missing.",
        None,
        "text/plain",
        (*_OPEN, HTTPStatus.SERVICE_UNAVAILABLE),
    ),
    ("/openapi.json", "get"): _Route(
        "openapi", "This document.", "", None, _JSON, (*_OPEN, HTTPStatus.SERVICE_UNAVAILABLE)
    ),
}


def build_document(settings: Settings) -> dict[str, Any]:
    """The document of one company's service: its accounts may have attributes of their own."""
    schemas: dict[str, Any] = {}
    readers = {
        "score": ScoreRequestReader(settings).request,
        "events": event_requests.EventRequestReader(settings).request,
    }
    bodies = {name: _taken(schemas, name, request) for name, request in readers.items()}
    models: list[type[BaseModel]] = [ErrorResponse]
    models += [route.answers for route in _ROUTES.values() if not isinstance(route.answers, str)]
    _, answers = models_json_schema(
        [(model, "serialization") for model in models],
        ref_template=f"{_SCHEMAS}{{model}}",
        schema_generator=_Schemas,
    )
    schemas |= answers["$defs"]
    given = openapi_examples.build_examples(settings)
    paths: dict[str, dict[str, Any]] = {}
    for (path, method), route in _ROUTES.items():
        paths.setdefault(path, {})[method] = _operation(route, bodies.get(route.id), given)
    paths["/v1/accounts/{account_id}"]["parameters"] = [_ACCOUNT_ID]
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Garrison: {settings.company.name}", "version": VERSION, "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": {status.name: _refused(status) for status in openapi_examples.ERROR_EXAMPLES},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": _KEY}},
        },
    }


class _Schemas(GenerateJsonSchema):
    """Schemas that say all that is checked, and no titles that only repeat a name."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  # the base class's signature
        return False

    def get_decimal_pattern(self, schema: DecimalSchema) -> str | None:
        return self.build_decimal_pattern(schema)


def _taken(schemas: dict[str, Any], name: str, request: TypeAdapter[Any]) -> dict[str, Any]:
    """A reference to what a request's body may be; its parts go among the schemas, under the operation's name."""
    whole = request.json_schema(ref_template=f"{_SCHEMAS}{name}.{{model}}", schema_generator=_Schemas)
    schemas |= {f"{name}.{part}": schema for part, schema in whole.pop("$defs").items()}
    schemas[whole["title"]] = whole
    return {"$ref": f"{_SCHEMAS}{whole['title']}"}


def _operation(route: _Route, body: Mapping[str, Any] | None, given: OpenApiExamples) -> dict[str, Any]:
    needs = f"Needs a key with the scope `{route.scope}`." if route.scope else "Needs no key."
    made: dict[str, Any] = {
        "operationId": route.id,
        "summary": route.says,
        "description": f"{route.more} {needs}".strip(),
        "security": [{"key": [route.scope]}] if route.scope else [],
    }
    if body is not None:
        made["requestBody"] = {
            "required": True,
            "content": {_JSON: {"schema": body, **_shown(given.requests[route.id])}},
        }
    made["responses"] = {"200": _succeeded(route, given)} | {
        str(status.value): {"$ref": f"#/components/responses/{status.name}"} for status in sorted(route.refusals)
    }
    return made


def _succeeded(route: _Route, given: OpenApiExamples) -> dict[str, Any]:
    if isinstance(route.answers, str):
        return {"description": "Done.", "content": {route.answers: {"schema": _BARE[route.answers]}}}
    schema = {"$ref": f"{_SCHEMAS}{route.answers.__name__}"}
    about = (route.answers.__doc__ or "").partition("\n")[0]
    return {"description": about, "content": {_JSON: {"schema": schema, **_shown(given.answers[route.id])}}}


def _refused(status: HTTPStatus) -> dict[str, Any]:
    content = {_JSON: {"schema": {"$ref": f"{_SCHEMAS}Envelope"}, **_shown(openapi_examples.ERROR_EXAMPLES[status])}}
    made: dict[str, Any] = {"description": f"{status.phrase}.", "content": content}
    if status in _HEADERS:
        name, says = _HEADERS[status]
        made["headers"] = {name: {"description": says, "schema": {"type": "string"}}}
    return made


def _shown(found: Mapping[str, Any]) -> dict[str, Any]:
    return {"examples": {name: {"value": value} for name, value in found.items()}}

"""Builds the OpenAPI document of the HTTP service from its routes, requests and responses."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core.core_schema import DecimalSchema

from features.settings import Settings
from serving.schemas import list_requests, openapi_examples
from serving.schemas.errors import ErrorResponse
from serving.schemas.event_requests import EventRequestReader
from serving.schemas.openapi_examples import OpenApiExamples
from serving.schemas.routes import ENDPOINTS, Endpoint
from serving.schemas.score_requests import ScoreRequestReader

VERSION = "1"
_JSON = "application/json"
_SCHEMAS = "#/components/schemas/"
_MEDIA_SCHEMAS: Mapping[str, dict[str, str]] = {"text/plain": {"type": "string"}, _JSON: {"type": "object"}}
_KEY_TEXT = "As `python -m serving key create` prints it."
_ACCOUNT_ID = {"name": "account_id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
_LIST_PARAMETERS = [
    {
        "name": "order",
        "in": "query",
        "description": f"One of {', '.join(list_requests.ORDERS)}; with - in front for descending.",
        "schema": {
            "enum": [f"{way}{o}" for o in list_requests.ORDERS for way in ("", "-")],
            "default": list_requests.DEFAULT_ORDER,
        },
    },
    {
        "name": "after",
        "in": "query",
        "description": "`after` of the page before.",
        "schema": {"type": "string"},
    },
    {
        "name": "limit",
        "in": "query",
        "schema": {
            "type": "integer",
            "minimum": 1,
            "maximum": list_requests.MOST,
            "default": list_requests.DEFAULT_LIMIT,
        },
    },
]
_DESCRIPTION = """\
Churn and upsell scores of one company's accounts, with their reasons.

A key is sent as `Authorization: Bearer …` and has scopes: `score`, `read`, `ingest`; `admin` stands for all of them.
JSON is read strictly: no unknown keys, no NaN, no text in place of a number.
Every answer but a success is `{"error": {"code", "message", "details"}}`; codes are stable, messages are for people.
"""
_ERROR_HEADERS: Mapping[HTTPStatus, tuple[str, str]] = {
    HTTPStatus.UNAUTHORIZED: ("WWW-Authenticate", "Bearer."),
    HTTPStatus.METHOD_NOT_ALLOWED: ("Allow", "The methods that are allowed."),
    HTTPStatus.TOO_MANY_REQUESTS: ("Retry-After", "Whole seconds until the key may be used again."),
    HTTPStatus.SERVICE_UNAVAILABLE: ("Retry-After", "Whole seconds, if trying again may help."),
}


def build_document(settings: Settings) -> dict[str, Any]:
    """Return the document of one company's service, with the company's own attributes of accounts."""
    schemas: dict[str, Any] = {}
    requests = {"score": ScoreRequestReader(settings).request, "events": EventRequestReader(settings).request}
    bodies = {operation: _add_request(schemas, operation, request) for operation, request in requests.items()}
    models: list[type[BaseModel]] = [ErrorResponse]
    models += [endpoint.response for endpoint in ENDPOINTS if not isinstance(endpoint.response, str)]
    _, definitions = models_json_schema(
        [(model, "serialization") for model in models],
        ref_template=f"{_SCHEMAS}{{model}}",
        schema_generator=_SchemaGenerator,
    )
    schemas |= definitions["$defs"]
    examples = openapi_examples.build_examples(settings)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        path = paths.setdefault(endpoint.path, {})
        path[endpoint.method.lower()] = _build_operation(endpoint, bodies.get(endpoint.operation), examples)
        if "{account_id}" in endpoint.path:
            path["parameters"] = [_ACCOUNT_ID]
        if endpoint.operation == "accounts":
            path["parameters"] = _LIST_PARAMETERS
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Garrison: {settings.company.name}", "version": VERSION, "description": _DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": {status.name: _build_error(status) for status in openapi_examples.ERROR_EXAMPLES},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": _KEY_TEXT}},
        },
    }


class _SchemaGenerator(GenerateJsonSchema):
    """Schemas with all that is checked, and without titles that only repeat a name."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  # the base class's signature
        return False

    def get_decimal_pattern(self, schema: DecimalSchema) -> str | None:
        return self.build_decimal_pattern(schema)


def _add_request(schemas: dict[str, Any], operation: str, request: TypeAdapter[Any]) -> dict[str, Any]:
    """Add a request's schema and its parts to the schemas, parts under the operation's name; return a reference."""
    whole = request.json_schema(ref_template=f"{_SCHEMAS}{operation}.{{model}}", schema_generator=_SchemaGenerator)
    schemas |= {f"{operation}.{part}": schema for part, schema in whole.pop("$defs").items()}
    schemas[whole["title"]] = whole
    return {"$ref": f"{_SCHEMAS}{whole['title']}"}


def _build_operation(endpoint: Endpoint, body: Mapping[str, Any] | None, examples: OpenApiExamples) -> dict[str, Any]:
    needs = f"Needs a key with the scope `{endpoint.scope}`." if endpoint.scope else "Needs no key."
    operation: dict[str, Any] = {
        "operationId": endpoint.operation,
        "summary": endpoint.summary,
        "description": f"{endpoint.description} {needs}".strip(),
        "security": [{"key": [endpoint.scope]}] if endpoint.scope else [],
    }
    if body is not None:
        content = {"schema": body, **_build_media_examples(examples.requests[endpoint.operation])}
        operation["requestBody"] = {"required": True, "content": {_JSON: content}}
    operation["responses"] = {"200": _build_success(endpoint, examples)} | {
        str(status.value): {"$ref": f"#/components/responses/{status.name}"} for status in sorted(endpoint.errors)
    }
    return operation


def _build_success(endpoint: Endpoint, examples: OpenApiExamples) -> dict[str, Any]:
    if isinstance(endpoint.response, str):
        return {"description": "Done.", "content": {endpoint.response: {"schema": _MEDIA_SCHEMAS[endpoint.response]}}}
    schema = {"$ref": f"{_SCHEMAS}{endpoint.response.__name__}"}
    description = (endpoint.response.__doc__ or "").partition("\n")[0]
    media = {"schema": schema, **_build_media_examples(examples.answers[endpoint.operation])}
    return {"description": description, "content": {_JSON: media}}


def _build_error(status: HTTPStatus) -> dict[str, Any]:
    examples = _build_media_examples(openapi_examples.ERROR_EXAMPLES[status])
    content = {_JSON: {"schema": {"$ref": f"{_SCHEMAS}{ErrorResponse.__name__}"}, **examples}}
    response: dict[str, Any] = {"description": f"{status.phrase}.", "content": content}
    if status in _ERROR_HEADERS:
        name, description = _ERROR_HEADERS[status]
        response["headers"] = {name: {"description": description, "schema": {"type": "string"}}}
    return response


def _build_media_examples(examples: Mapping[str, Any]) -> dict[str, Any]:
    return {"examples": {name: {"value": value} for name, value in examples.items()}}

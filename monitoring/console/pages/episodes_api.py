"""Answer programs that ask for open episodes, and show what the service and the console answer to programs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from monitoring.console.context import ConsoleContext
from monitoring.console.inbox.inbox_list import InboxReader
from monitoring.console.sign_in.access import EVERYTHING, require
from monitoring.console.sign_in.person import Person, Role
from serving.api.auth import Keyring
from serving.api.rate_limit import RateLimiter
from serving.schemas.openapi import build_document

PATH = "/v1/episodes"
_SEES = (Role.OWNER, Role.LEAD, Role.MANAGER, Role.ADMIN)
_LIMIT, _MOST = 50, 200
_SCOPE = "read"
# Seconds between looks for keys that were made or revoked.
_REFRESH = 5.0
_PARAMETERS = [
    {"name": "owner", "in": "query", "description": "Of this address alone.", "schema": {"type": "string"}},
    {"name": "resting", "in": "query", "description": "yes for those that rest.", "schema": {"enum": ["yes", "no"]}},
    {"name": "after", "in": "query", "description": "`after` of the page before.", "schema": {"type": "string"}},
    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": _MOST, "default": _LIMIT}},
]


def routes(context: ConsoleContext) -> list[Route]:
    """Return the routes."""
    api = _EpisodesApi(context)
    return [Route(PATH, api.answer, methods=["GET"]), Route("/api", api.show, methods=["GET"])]


class Operation(NamedTuple):
    """A path of a document with its method, as the page shows it."""

    method: str
    path: str
    summary: str
    description: str
    scope: str
    parameters: list[dict[str, Any]]
    answers: list[tuple[str, str]]
    example: str


@dataclass(frozen=True)
class _EpisodesApi:
    """The handlers."""

    context: ConsoleContext

    async def answer(self, request: Request) -> Response:
        """Answer a person who is signed in with what that person sees, or a key with the scope `read` with all."""
        person: Person | None = getattr(request.state, "person", None)
        if person is None:
            await run_in_threadpool(self._check_key, request.headers.get("authorization"))
        elif not person.has(*_SEES):
            raise HTTPException(403)
        query = request.query_params
        limit = query.get("limit", str(_LIMIT))
        if set(query) - {p["name"] for p in _PARAMETERS} or not (
            limit.isascii() and limit.isdecimal() and len(limit) < 5 and 1 <= int(limit) <= _MOST
        ):
            raise HTTPException(422)
        asked: dict[str, Any] = {"owner": query.get("owner") or None, "resting": query.get("resting") == "yes"}
        asked |= {"after": query.get("after", ""), "limit": int(limit)}
        content = await self.context.read_in_turn(self._read, person, asked)
        return Response(content, media_type="application/json")

    answer.roles = frozenset(_SEES)  # type: ignore[attr-defined]  # as `require` marks a handler

    @require()
    async def show(self, request: Request) -> Response:
        """Show the documents as a page."""
        return await self.context.make_page(request, "api.html", lambda: {"operations": self._operations})

    def _read(self, person: Person | None, asked: Mapping[str, Any]) -> bytes:
        rows = EVERYTHING if person is None else self.context.find_rows(person)
        return InboxReader.of(self.context, rows).keep_open(self.context.kept, person, **asked).as_json

    def _check_key(self, header: str | None) -> None:
        """Check that a header has a valid key, and that it does not come too soon.

        Raises:
            HTTPException: It has none (401), not its scope (403), or comes too soon (429).
        """
        self._keys.refresh_if_due()
        key = self._keys.keyring.find_key(header)
        if key is None:
            raise HTTPException(401, headers={"www-authenticate": "Bearer"})
        if not key.has_scope(_SCOPE):
            raise HTTPException(403)
        if wait := self._keys.limiter.acquire(key.key_id, time.monotonic()):
            raise HTTPException(429, headers={"retry-after": str(int(wait) + 1)})

    @cached_property
    def _keys(self) -> _Keys:
        return _Keys(self.context)

    @cached_property
    def _operations(self) -> list[Operation]:
        document = build_document(self.context.settings)
        own = {
            "summary": "List open episodes, the most an hour of work avoids first.",
            "description": "At the console, for a person who is signed in or a key with the scope `read`.",
            "security": [{"key": [_SCOPE]}],
            "parameters": _PARAMETERS,
            "responses": {"200": {"description": "Episodes with account, drivers, play and due time."}},
        }
        paths = {**document["paths"], PATH: {"get": own}}
        return list(_iterate_operations(paths, document["components"]["responses"]))


class _Keys:
    """The valid keys, and how often each may ask."""

    def __init__(self, context: ConsoleContext) -> None:
        self.keyring, self._looked = Keyring(context.store), time.monotonic()
        self.limiter = RateLimiter(context.settings.serving.per_minute)

    def refresh_if_due(self) -> None:
        if time.monotonic() - self._looked > _REFRESH:
            self._looked = time.monotonic()
            self.keyring.refresh()


def _iterate_operations(paths: dict[str, Any], errors: dict[str, Any]) -> Iterator[Operation]:
    for path, methods in paths.items():
        for method, operation in methods.items():
            if method == "parameters":
                continue
            scopes = [scope for need in operation.get("security", []) for scope in need.get("key", [])]
            answers, example = [], ""
            for status, response in operation["responses"].items():
                named = response.get("$ref", "").rpartition("/")[2]
                answers.append((status, errors[named]["description"] if named else response["description"]))
                for content in response.get("content", {}).values():
                    for one in content.get("examples", {}).values():
                        example = example or json.dumps(one["value"], indent=2, ensure_ascii=False)
            yield Operation(
                method.upper(),
                path,
                operation["summary"],
                operation["description"],
                ", ".join(scopes),
                [*methods.get("parameters", []), *operation.get("parameters", [])],
                answers,
                example[:4_000],
            )

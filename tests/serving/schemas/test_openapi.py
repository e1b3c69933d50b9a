from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given
from schemathesis import GenerationMode
from schemathesis.core import NotSet
from schemathesis.specs.openapi.definitions import OPENAPI_31

from features.state import database
from serving.api import auth
from serving.schemas import openapi
from serving.schemas.responses import AccountResponse, ModelsResponse, ScoreResponse
from tests.support.property_tests import examples
from tests.support.waiting import wait_until

Document = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"


@pytest.fixture(scope="module")
def document(harbour: Any) -> Document:
    # As JSON: what a reader gets.
    return json.loads(json.dumps(openapi.build_document(harbour.settings)))


def operations(document: Document) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method, operation


def found(document: Document, part: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference refers to."""
    for name in part.get("$ref", "#")[2:].split("/") if "$ref" in part else ():
        document = document[name]
    return document if "$ref" in part else part


def shown(document: Document) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """Every example beside its schema."""
    for path, method, operation in operations(document):
        parts = {"request": operation["requestBody"]} if "requestBody" in operation else {}
        for name, part in (parts | operation["responses"]).items():
            for kind, media in found(document, part).get("content", {}).items():
                assert kind != "application/json" or "examples" in media or path == "/openapi.json", (path, name)
                for title, example in media.get("examples", {}).items():
                    yield f"{method} {path} {name} {title}", media["schema"], example["value"]


def valid(document: Document, schema: Mapping[str, Any], value: Any) -> list[str]:
    whole = {"$schema": DIALECT, **schema, "components": document["components"]}
    validator = jsonschema.Draft202012Validator(whole, format_checker=jsonschema.FormatChecker())
    return [error.message for error in validator.iter_errors(value)]


def test_the_document_is_openapi_3_1(document: Document) -> None:
    errors = jsonschema.Draft202012Validator(OPENAPI_31).iter_errors(document)
    assert [error.message for error in errors] == []
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_example_is_valid_and_every_json_has_one(document: Document) -> None:
    examples = list(shown(document))
    assert len(examples) > 40
    for name, schema, value in examples:
        assert valid(document, schema, value) == [], name


def test_schemas_find_what_is_wrong(document: Document) -> None:
    schema = {"$ref": "#/components/schemas/ScoreRequest"}
    account = {"account_id": "x", "created_at": "2023-05-01"}
    good = {"accounts": ["x", {"account": account, "usage": [{"used_at": "2023-05-01T00:00:00Z", "count": 1}]}]}
    assert valid(document, schema, good) == []
    wrongs: list[dict[str, Any]] = [
        {},
        {"accounts": []},
        {"accounts": ["x"] * 101},
        {"accounts": [""]},
        {"accounts": [7]},
        {"accounts": ["x"], "as_of": "yesterday"},
        {"accounts": ["x"], "acounts": []},
        {"accounts": ["x"], "detail": "all"},
        {"accounts": [{"account": {"account_id": "x"}}]},
        {"accounts": [{"account": account | {"seats": 2**63}}]},
        {"accounts": [{"account": account | {"seats": "3"}}]},
        {"accounts": [{"account": account | {"rank": "high"}}]},
        {"accounts": [{"account": account, "usage": [{"used_at": "2023-05-01", "user": "y"}]}]},
        {"accounts": [{"account": account, "tickets": [{"ticket_id": "1", "opened_at": 1}]}]},
    ]
    for wrong in wrongs:
        assert valid(document, schema, wrong), wrong


def test_the_document_has_the_routes_of_the_service_with_their_scopes_and_no_others(document: Document) -> None:
    routes = {
        ("/v1/score", "POST", "score"),
        ("/v1/events", "POST", "ingest"),
        ("/v1/accounts", "GET", "read"),
        ("/v1/accounts/{account_id}", "GET", "read"),
        ("/v1/model", "GET", "read"),
        ("/metrics", "GET", "read"),
        ("/healthz", "GET", ""),
        ("/livez", "GET", ""),
        ("/readyz", "GET", ""),
        ("/openapi.json", "GET", ""),
    }
    documented = {
        (path, method.upper(), next((scope for need in operation["security"] for scope in need["key"]), ""))
        for path, method, operation in operations(document)
    }
    assert documented == routes


def test_an_attribute_of_the_companys_own_is_told(document: Document) -> None:
    assert "rank" in document["components"]["schemas"]["score.Account"]["properties"]


def test_the_service_gives_the_document(served: Any, document: Document) -> None:
    response = httpx.get(f"{served.url}/openapi.json")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == document


def test_answers_are_whole_in_the_clients_types(served: Any, document: Document) -> None:
    """What the types leave out or alter would be lost to the client, and missing from the document."""
    headers = {"authorization": f"Bearer {served.key}"}
    with httpx.Client(base_url=served.url, headers=headers, timeout=30) as http:
        for detail in ("scores", "advice", "drivers"):
            asked = {"accounts": ["A-003", "nobody", served.harbour.posted("A-004")], "detail": detail}
            # The first answers wait for what is compiled once on a machine: 503 if it is too busy for that.
            wait_until(lambda asked=asked: http.post("/v1/score", json=asked).is_success)
            answer = http.post("/v1/score", json=asked).json()
            assert ScoreResponse.model_validate(answer).model_dump(mode="json", exclude_unset=True) == answer
            assert valid(document, {"$ref": "#/components/schemas/ScoreResponse"}, answer) == []
        answer = http.get("/v1/accounts/A-003").json()
        assert AccountResponse.model_validate(answer).model_dump(mode="json", exclude_unset=True) == answer
        assert valid(document, {"$ref": "#/components/schemas/AccountResponse"}, answer) == []
        answer = http.get("/v1/model").json()
        assert ModelsResponse.model_validate(answer).model_dump(mode="json", exclude_unset=True) == answer
        assert valid(document, {"$ref": "#/components/schemas/ModelsResponse"}, answer) == []


def test_the_service_keeps_to_its_document(served: Any, tmp_path: Path) -> None:
    """Schemathesis asks all that the document allows, the edges of it, and what it forbids."""
    with database.open(served.harbour.settings) as opened:
        key = auth.create_key(opened, "schemathesis", "score,read,ingest")
    headers = {"authorization": f"Bearer {key}"}  # a new key is live within seconds
    wait_until(lambda: httpx.get(f"{served.url}/v1/model", headers=headers).is_success)
    line = [sys.executable, "-m", "schemathesis.cli", "run", f"{served.url}/openapi.json"]
    line += ["--header", f"Authorization: Bearer {key}", "--generation-deterministic"]
    line += ["--phases", "examples,coverage,fuzzing", "--max-examples", "8", "--no-color"]
    # An item that is wrong is rejected beside others that are not, in an answer with status 200: see below.
    line += ["--exclude-checks", "negative_data_rejection"]
    done = subprocess.run(line, cwd=tmp_path, text=True, capture_output=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout[-10_000:]
    cases = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert cases is not None
    assert int(cases[1]) > 500


def test_a_body_against_the_schema_is_refused_whole_or_in_the_item_that_is_wrong(
    served: Any, document: Document
) -> None:
    operation = schemathesis.openapi.from_dict(document)["/v1/score"]["POST"]
    request = {"$ref": "#/components/schemas/ScoreRequest"}
    refused = 0
    with requests.Session() as session:
        session.headers["authorization"] = f"Bearer {served.key}"

        @given(case=operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
        @examples(40, suppress_health_check=list(HealthCheck))
        def asked(case: schemathesis.Case) -> None:
            nonlocal refused
            if not isinstance(case.body, NotSet | bytes) and not valid(document, request, case.body):
                return
            response = case.call(base_url=served.url, session=session)
            assert response.status_code in {200, 400, 415, 422}
            assert response.status_code != 200 or any("error" in item for item in response.json()["results"])
            refused += 1

        asked()
    assert refused > 12

"""Each request of the service becomes a span, where a collector is named; a span has no ids."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from features.core.tracing import ENDPOINT, SpanRecorder
from features.state import database
from serving.api import auth
from serving.api.app import HttpApp
from serving.api.worker import Worker
from serving.batch import run
from serving.scoring.score_table import Explain


@pytest.fixture
def key(harbour: Any, now: Any) -> str:
    run.score_accounts(harbour.settings, None, as_of=now, explain=Explain.NONE)
    with database.open(harbour.settings) as opened:
        return auth.create_key(opened, "test", "score,read")


@pytest.fixture
def worker(harbour: Any, key: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """A worker that knows the key; no collector is named."""
    assert key
    monkeypatch.delenv(ENDPOINT, raising=False)
    HttpApp.worker = Worker(str(harbour.config))
    yield HttpApp.worker
    HttpApp.worker._close_files()


def ask(method: str, path: str, key: str | None = None, **rest: Any) -> httpx.Response:
    async def asking() -> httpx.Response:
        headers = {"authorization": f"Bearer {key}", **rest.pop("headers", {})} if key else {}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(HttpApp(None)), base_url="http://s") as client:  # type: ignore[arg-type]  # no health check is asked for
            return await client.request(method, path, headers=headers, **rest)

    return asyncio.run(asking())


def test_requests_become_spans_by_route_with_status_and_count_and_no_ids(worker: Worker, key: str) -> None:
    exported = InMemorySpanExporter()
    worker.spans = SpanRecorder.make("garrison-serving", SimpleSpanProcessor(exported))
    caller = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    assert ask("POST", "/v1/score", key, json={"accounts": ["A-003", "A-004"]}, headers=caller).status_code == 200
    assert ask("GET", "/v1/accounts/A-003", key).status_code == 200
    assert ask("GET", "/v1/model").status_code == 401
    assert ask("BREW", "/secret/A-003", key).status_code == 404

    spans = exported.get_finished_spans()
    expected = [
        ("POST /v1/score", 200, 2),
        ("GET /v1/accounts/{account_id}", 200, 1),
        ("GET /v1/model", 401, 0),
        ("_OTHER (no route)", 404, 0),
    ]
    seen = [(s.name, s.attributes["http.response.status_code"], s.attributes["garrison.accounts"]) for s in spans]
    assert seen == expected
    assert all(span.kind is SpanKind.SERVER and span.end_time > span.start_time for span in spans)
    assert f"{spans[0].context.trace_id:032x}" in caller["traceparent"]
    assert spans[0].resource.attributes["service.name"] == "garrison-serving"
    assert "A-00" not in "".join(span.to_json() for span in spans)


def test_a_fault_of_the_service_marks_its_span(worker: Worker, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = InMemorySpanExporter()
    worker.spans = SpanRecorder.make("garrison-serving", SimpleSpanProcessor(exported))
    monkeypatch.setattr(type(worker.state.scoring), "describe_models", lambda *_: 1 / 0)
    assert ask("GET", "/v1/model", key).status_code == 500
    [span] = exported.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR


def test_without_a_collector_a_worker_records_no_span(worker: Worker, key: str) -> None:
    assert worker.spans is None
    assert ask("GET", "/v1/model", key).status_code == 200

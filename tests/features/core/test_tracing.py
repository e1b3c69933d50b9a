"""Spans reach a collector that the environment names; without one nothing is recorded."""

import builtins
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from features.core.tracing import ENDPOINT, SpanRecorder


@pytest.fixture
def exported():
    """An exporter that keeps the spans in memory."""
    return InMemorySpanExporter()


@pytest.fixture
def spans(exported):
    recorder = SpanRecorder.make("garrison-test", SimpleSpanProcessor(exported))
    yield recorder
    recorder.close()


@pytest.fixture
def collector():
    """A collector on this machine; gives its URL and what it was sent, by path."""
    received = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            """Print nothing."""

    server = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()


def test_without_a_collector_there_is_no_recorder(monkeypatch):
    monkeypatch.delenv(ENDPOINT, raising=False)
    assert SpanRecorder.open("garrison-test") is None


def test_a_span_reaches_the_collector_that_the_environment_names(monkeypatch, collector):
    url, received = collector
    monkeypatch.setenv(ENDPOINT, url)
    recorder = SpanRecorder.open("garrison-test")
    with recorder.record_work("night", {"garrison.as_of": "2026-01-01"}):
        pass
    recorder.close()
    [(path, body)] = received
    assert path == "/v1/traces"
    for part in (b"garrison-test", b"night", b"garrison.as_of", b"2026-01-01"):
        assert part in body


def test_a_missing_exporter_is_logged_and_stops_nobody(monkeypatch, caplog):
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    real = builtins.__import__

    def without_exporter(name, *rest):
        if name.startswith("opentelemetry.exporter"):
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_exporter)
    assert SpanRecorder.open("garrison-test") is None
    assert "pip install 'garrison[otel]'" in caplog.text


def test_work_within_work_is_its_child_and_ends_with_what_is_known_then(spans, exported):
    with spans.record_work("night", {"garrison.as_of": "2026-01-01"}) as added:
        with spans.record_work("check", {}) as inner:
            inner["error"] = "a table can't be read"
        added["garrison.state"] = "failed"
    child, parent = exported.get_finished_spans()
    assert (parent.name, child.name) == ("night", "check")
    assert child.parent.span_id == parent.context.span_id
    assert dict(parent.attributes) == {"garrison.as_of": "2026-01-01", "garrison.state": "failed"}
    assert (child.status.status_code, child.status.description) == (StatusCode.ERROR, "a table can't be read")
    assert parent.status.status_code is StatusCode.UNSET


def test_a_request_continues_the_trace_of_its_caller(spans, exported):
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for traceparent in (caller, "nonsense", None):
        spans.record_request("GET /v1/model", {}, seconds=0.25, traceparent=traceparent, is_failed=False)
    called, *others = exported.get_finished_spans()
    assert f"{called.context.trace_id:x}" == "af7651916cd43dd8448eb211c80319c"
    assert f"{called.parent.span_id:x}" == "b7ad6b7169203331"
    assert (called.end_time - called.start_time) / 1e9 == pytest.approx(0.25)
    assert [span.parent for span in others] == [None, None]

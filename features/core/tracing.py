"""Send spans to an OpenTelemetry collector. Off unless OTEL_EXPORTER_OTLP_ENDPOINT names one.

Without it nothing of OpenTelemetry is imported, and who records spans holds None. Only this file uses OpenTelemetry.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:  # the SDK is only imported where spans are exported
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_log = logging.getLogger("garrison.tracing")

Attributes = Mapping[str, str | int | float | bool]


class SpanRecorder:
    """Record spans of work and of requests; they are exported in a thread of their own.

    Args:
        provider: Makes and exports the spans.
    """

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace import SpanKind, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("garrison")
        self._server, self._error = SpanKind.SERVER, StatusCode.ERROR
        self._propagator = TraceContextTextMapPropagator()

    @classmethod
    def open(cls, service: str) -> Self | None:
        """Return a recorder that exports to the collector; None if the environment names none.

        A missing exporter is logged and stops nobody: what is traced matters more than its trace.

        Args:
            service: Name of the part, such as garrison-night; OTEL_SERVICE_NAME takes its place.
        """
        if not os.environ.get(ENDPOINT):
            return None
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ModuleNotFoundError as error:
            _log.warning("%s is set, but no span is sent: %s; run pip install 'garrison[otel]'", ENDPOINT, error)
            return None
        return cls.make(service, BatchSpanProcessor(OTLPSpanExporter()))

    @classmethod
    def make(cls, service: str, processor: SpanProcessor) -> Self:
        """Return a recorder whose spans go to this processor."""
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider

        name = os.environ.get("OTEL_SERVICE_NAME") or service
        provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
        provider.add_span_processor(processor)
        return cls(provider)

    @contextmanager
    def record_work(self, name: str, attributes: Attributes) -> Iterator[dict[str, str | int | float | bool]]:
        """Record a span around some work; spans recorded meanwhile are its children.

        Yields:
            Attributes that are known only at its end, to be filled; an `error` marks the span as failed.
        """
        added: dict[str, str | int | float | bool] = {}
        with self._tracer.start_as_current_span(name, attributes=attributes) as span:
            try:
                yield added
            finally:
                error = added.pop("error", None)
                span.set_attributes(added)
                if error is not None:
                    span.set_status(self._error, str(error))

    def record_request(
        self, name: str, attributes: Attributes, *, seconds: float, traceparent: str | None, is_failed: bool
    ) -> None:
        """Record a span of a request that was answered just now.

        Args:
            name: Method and route, such as POST /v1/score.
            attributes: About it; no ids of accounts or keys.
            seconds: That it took.
            traceparent: The caller's trace (W3C Trace Context); None where it has none.
            is_failed: Whether the service, not the caller, is at fault.
        """
        end = time.time_ns()
        context = self._propagator.extract({"traceparent": traceparent}) if traceparent else None
        start = end - int(seconds * 1e9)
        span = self._tracer.start_span(name, context, self._server, attributes, start_time=start)
        if is_failed:
            span.set_status(self._error)
        span.end(end)

    def close(self) -> None:
        """Export what waits, and stop."""
        self._provider.shutdown()

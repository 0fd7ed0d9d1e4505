"""OpenTelemetry: a span and a few measurements for each exchange, over OTLP/HTTP. Needs the extra `otel`.

Names are those of the GenAI conventions (github.com/open-telemetry/semantic-conventions-genai), which are still in
development; what they have no word for begins with `safety_proxy.`. No text of prompts or answers is sent.
It is a sink of the decision log, so all of it happens in that thread.
"""

from __future__ import annotations

import logging
import time
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Histogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from proxy import __version__
from proxy.server.exchange.record import Exchange, Outcome
from proxy.server.exchange.tracing import Trace, trace_of
from proxy.server.ops.records import MAX_NAME

TIMEOUT = 5.0  # seconds for one export
EXPORT_INTERVAL = 15.0  # seconds between two exports of measurements
DURATIONS = tuple(0.01 * 2**n for n in range(14))  # the buckets that the conventions name
TOKENS = tuple(4**n for n in range(14))
FAILED = (Outcome.UPSTREAM_ERROR, Outcome.PROXY_ERROR)
OTHER = "_OTHER"  # OpenTelemetry's word for a value that is not told
OPERATIONS = {
    "/v1/completions": "text_completion",
    "/api/generate": "text_completion",
    "/api/v0/completions": "text_completion",
    "/v1/embeddings": "embeddings",
    "/api/embed": "embeddings",
    "/api/embeddings": "embeddings",
    "/api/v0/embeddings": "embeddings",
}
"""By path; every other guarded path is `chat`."""

for _noisy in ("opentelemetry.sdk", "opentelemetry.exporter"):
    logging.getLogger(_noisy).setLevel(logging.ERROR)


class _GivenIds(IdGenerator):
    """Gives the ids that the model server has been told already."""

    def __init__(self) -> None:
        self.trace: Trace | None = None

    def generate_span_id(self) -> int:
        """Called by the SDK."""
        assert self.trace is not None
        return int(self.trace.span_id, 16)

    def generate_trace_id(self) -> int:
        """Called by the SDK where a trace begins."""
        assert self.trace is not None
        return int(self.trace.trace_id, 16)


class OtelSink:
    """A sink that tells a collector of each exchange."""

    texts = False

    def __init__(self, endpoint: str) -> None:
        """`endpoint`: the collector's base URL, such as http://127.0.0.1:4318."""
        resource = Resource.create({"service.name": "safety-proxy", "service.version": __version__})
        self._ids = _GivenIds()
        self._spans = TracerProvider(resource=resource, id_generator=self._ids)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=TIMEOUT)
        self._spans.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._spans.get_tracer("safety-proxy", __version__)
        reader = PeriodicExportingMetricReader(
            OTLPMetricExporter(endpoint=f"{endpoint}/v1/metrics", timeout=TIMEOUT),
            export_interval_millis=EXPORT_INTERVAL * 1000,
        )
        self._measurements = MeterProvider(resource=resource, metric_readers=[reader])
        meter = self._measurements.get_meter("safety-proxy", __version__)
        self._duration: Histogram = meter.create_histogram(
            "gen_ai.client.operation.duration", "s", "Duration.", explicit_bucket_boundaries_advisory=DURATIONS
        )
        self._tokens: Histogram = meter.create_histogram(
            "gen_ai.client.token.usage", "{token}", "Tokens.", explicit_bucket_boundaries_advisory=TOKENS
        )
        self._first: Histogram = meter.create_histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            "s",
            "From the request to the first text.",
            explicit_bucket_boundaries_advisory=DURATIONS,
        )

    def wants(self, exchange: Exchange) -> bool:
        """See Sink."""
        return True

    def write(self, record: dict[str, Any], exchange: Exchange) -> None:
        """See Sink."""
        self._tell(exchange, record)
        self._measure(exchange)

    def close(self) -> None:
        """See Sink. What waits is sent."""
        self._spans.shutdown()
        self._measurements.shutdown()

    def _tell(self, exchange: Exchange, record: dict[str, Any]) -> None:
        self._ids.trace = trace = exchange.trace or trace_of(())
        ended = time.time_ns() - round((perf_counter() - exchange.ended) * 1e9)
        began = ended - round((exchange.ended - exchange.began) * 1e9)
        span = self._tracer.start_span(
            f"{operation(exchange)} {exchange.model[:MAX_NAME]}".strip(),
            context=set_span_in_context(NonRecordingSpan(_parent(trace))) if trace.parent_id else None,
            kind=SpanKind.CLIENT,
            attributes=_attributes(exchange),
            start_time=began,
        )
        _tell_findings(span, record, ended)
        if exchange.outcome in FAILED:
            span.set_status(Status(StatusCode.ERROR, exchange.upstream_reason))
        span.end(ended)

    def _measure(self, exchange: Exchange) -> None:
        model = (
            exchange.model[:MAX_NAME] if exchange.upstream_text else OTHER
        )  # a client may make up any number of names
        shared: dict[str, Any] = {
            "gen_ai.operation.name": operation(exchange),
            "gen_ai.provider.name": provider(exchange.endpoint),
            "gen_ai.request.model": model,
        }
        failed = {"error.type": exchange.upstream_reason or "internal"} if exchange.outcome in FAILED else {}
        self._duration.record(exchange.ended - exchange.began, shared | failed)
        for kind, count in (("input", exchange.prompt_tokens), ("output", exchange.answer_tokens)):
            if count:
                self._tokens.record(count, {**shared, "gen_ai.token.type": kind})
        if exchange.client_text and exchange.stream:
            self._first.record(exchange.client_text - exchange.began, shared)


def operation(exchange: Exchange) -> str:
    """The convention's word for what was asked."""
    return OPERATIONS.get(exchange.endpoint, "chat")


def provider(endpoint: str) -> str:
    """The convention's word for whose API it is: a proxy knows the dialect, and not what is behind it."""
    if endpoint.startswith(("/api/v0/", "/api/v1/")):
        return "lm_studio"
    if endpoint.startswith("/api/"):
        return "ollama"
    return "anthropic" if endpoint == "/v1/messages" else "openai"


def _parent(trace: Trace) -> SpanContext:
    return SpanContext(int(trace.trace_id, 16), int(trace.parent_id, 16), True, TraceFlags(int(trace.flags, 16)))


def _attributes(exchange: Exchange) -> dict[str, Any]:
    url = urlsplit(exchange.asked.partition(" ")[2])
    known = {
        "gen_ai.operation.name": operation(exchange),
        "gen_ai.provider.name": provider(exchange.endpoint),
        "gen_ai.request.model": exchange.model[:MAX_NAME],
        "gen_ai.usage.input_tokens": exchange.prompt_tokens,
        "gen_ai.usage.output_tokens": exchange.answer_tokens,
        "server.address": url.hostname,
        "server.port": url.port,
        "http.response.status_code": exchange.status,
        "error.type": (exchange.upstream_reason or "internal") if exchange.outcome in FAILED else None,
        "safety_proxy.request.id": exchange.id,
        "safety_proxy.outcome": exchange.outcome.value,
        "safety_proxy.policy.revision": exchange.revision,
        "safety_proxy.held.characters": exchange.max_held,
        "safety_proxy.held.seconds": exchange.held_seconds,
        "safety_proxy.added_to_first_text": exchange.added_to_first_text,
    }
    return {name: value for name, value in known.items() if value not in (None, "", 0)}


def _tell_findings(span: Span, record: dict[str, Any], at: int) -> None:
    for finding in record["findings"]:
        attributes = {f"safety_proxy.finding.{key}": value for key, value in finding.items()}
        span.add_event("safety_proxy.finding", attributes, at)

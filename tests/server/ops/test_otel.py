"""OpenTelemetry, checked against a collector of our own: it takes OTLP over HTTP and keeps what came."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.semconv._incubating.attributes import error_attributes, gen_ai_attributes, server_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics

from proxy.core.types import Action, Finding, Rule
from proxy.errors import SettingsError
from proxy.server.exchange.record import Exchange, Outcome
from proxy.server.ops.decision_log import DecisionLog
from proxy.server.ops.drops import Drops
from proxy.server.ops.otel import OtelSink
from proxy.settings import resolve
from proxy.startup.configuration import open_decision_log
from tests.fakes import FakeUpstream, reply, sse
from tests.phrases import block
from tests.server.running import Policies, chat_body, running, said

CHAT = "/v1/chat/completions"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(ThreadingHTTPServer):
    """Keeps spans and measurements."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.spans: list[Span] = []
        self.metrics: dict[str, Any] = {}

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def take(self, path: str, body: bytes) -> None:
        """A request's body, decoded."""
        if path == "/v1/traces":
            sent = ExportTraceServiceRequest.FromString(body)
            self.spans += [s for r in sent.resource_spans for scope in r.scope_spans for s in scope.spans]
        else:
            measured = ExportMetricsServiceRequest.FromString(body)
            found = [m for r in measured.resource_metrics for scope in r.scope_metrics for m in scope.metrics]
            self.metrics |= {metric.name: metric for metric in found}


class Receiver(BaseHTTPRequestHandler):
    """One request to the collector."""

    server: Collector

    def do_POST(self) -> None:
        """OTLP over HTTP, protobuf."""
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers["content-encoding"] == "gzip":
            body = gzip.decompress(body)
        self.server.take(self.path, body)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@pytest.fixture(name="collector")
def fixture_collector() -> Iterator[Collector]:
    """A running collector."""
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def attributes(of: Any) -> dict[str, Any]:
    """Attributes as a dictionary."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in of.attributes}


def told(collector: Collector, *exchanges: Exchange) -> list[Span]:
    """The spans of these exchanges."""
    with DecisionLog([OtelSink(collector.url)]) as log:
        for exchange in exchanges:
            log.end(exchange)
    return collector.spans


@pytest.mark.anyio
async def test_a_chat_is_a_span_in_the_clients_trace(collector: Collector) -> None:
    """Below the client's span, above the model server's, named after the conventions, with findings as events."""
    usage = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}}
    answer = reply(sse(*said("Hello")[:-1], usage, "[DONE]"))
    async with (
        FakeUpstream(answer) as upstream,
        running(upstream, Policies(output=[block("Hell")]), otel_endpoint=collector.url) as proxy,
    ):
        async with proxy.wire() as wire:
            await wire.post(CHAT, chat_body(), f"traceparent: 00-{TRACE}-{PARENT}-01")
            await wire.answer()
        exchange = await proxy.exchange()
        (span,) = told(collector, exchange)
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
        assert upstream.requests[0].header("traceparent") == f"00-{TRACE}-{span.span_id.hex()}-01"
        assert (span.name, span.kind) == ("chat tiny", Span.SPAN_KIND_CLIENT)
        seconds = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
        assert seconds == pytest.approx(exchange.ended - exchange.began, abs=1e-3)
        found = attributes(span)
        assert found["gen_ai.operation.name"] == "chat"
        assert found["gen_ai.provider.name"] == "openai"
        assert found["gen_ai.request.model"] == "tiny"
        assert (found["server.address"], found["server.port"]) == ("127.0.0.1", upstream.port)
        assert found["safety_proxy.outcome"] == "blocked"
        (event,) = span.events
        assert event.name == "safety_proxy.finding"
        assert attributes(event)["safety_proxy.finding.rule"] == "block.Hell"


def test_a_trace_that_begins_here_and_a_failure(collector: Collector) -> None:
    """Without a client's trace the span has no parent; a failure of the model server is an error with its reason."""
    failed = Exchange("/api/chat", model="m", outcome=Outcome.UPSTREAM_ERROR, upstream_reason="connect")
    failed.ended = failed.began + 1
    (span,) = told(collector, failed)
    assert (span.name, span.parent_span_id) == ("chat m", b"")
    assert span.status.code == 2
    assert attributes(span)["error.type"] == "connect"
    assert attributes(span)["gen_ai.provider.name"] == "ollama"


def test_a_trace_that_is_not_sampled_is_not_told(collector: Collector) -> None:
    """The client decided so."""
    from proxy.server.exchange.tracing import trace_of

    exchange = Exchange(CHAT, trace=trace_of([(b"traceparent", f"00-{TRACE}-{PARENT}-00".encode())]))
    assert told(collector, exchange) == []


def test_measurements(collector: Collector) -> None:
    """Duration, tokens by type and the time to the first text; a model that nobody answered for has no name there."""
    exchange = Exchange(CHAT, model="m", stream=True, upstream_text=2.0, prompt_tokens=7, answer_tokens=5)
    exchange.ended = exchange.began + 2
    exchange.client_text = exchange.began + 0.5
    unknown = Exchange("/v1/embeddings", model="made up")
    unknown.ended = unknown.began + 1
    told(collector, exchange, unknown)
    tokens = {attributes(p)["gen_ai.token.type"]: p.sum for p in points(collector, "gen_ai.client.token.usage")}
    assert tokens == {"input": 7, "output": 5}
    (first,) = points(collector, "gen_ai.client.operation.time_to_first_chunk")
    assert first.sum == pytest.approx(0.5)
    durations = {
        attributes(p)["gen_ai.request.model"]: p for p in points(collector, "gen_ai.client.operation.duration")
    }
    assert set(durations) == {"m", "_OTHER"}
    assert durations["m"].sum == pytest.approx(2)
    assert attributes(durations["_OTHER"])["gen_ai.operation.name"] == "embeddings"


def points(collector: Collector, name: str) -> list[Any]:
    """The points of a measurement."""
    return list(collector.metrics[name].histogram.data_points)


def test_no_text_is_sent(collector: Collector) -> None:
    """Findings are told by place and rule."""
    exchange = Exchange(CHAT)
    exchange.add_finding("input", Finding(0, 6, Rule("p", "r", Action.BLOCK)))
    (span,) = told(collector, exchange)
    keys = {key for event in span.events for key in attributes(event)}
    assert {key.removeprefix("safety_proxy.finding.") for key in keys} == {
        *("policy", "rule", "action", "enforced", "direction", "channel", "start", "end", "length")
    }


def test_the_names_are_those_of_the_conventions(collector: Collector) -> None:
    """Each name that is not our own stands in OpenTelemetry's own list of today."""
    exchange = Exchange(CHAT, model="m", outcome=Outcome.UPSTREAM_ERROR, upstream_reason="connect", prompt_tokens=1)
    exchange.answer_tokens = 1
    exchange.asked = "POST http://127.0.0.1:1/v1/chat/completions"
    (span,) = told(collector, exchange)
    modules = (gen_ai_attributes, error_attributes, server_attributes)
    known = {value for module in modules for value in vars(module).values() if isinstance(value, str)}
    names = {name for name in attributes(span) if not name.startswith("safety_proxy.")}
    assert names <= known
    assert len(names) == 8
    assert set(collector.metrics) <= {v for v in vars(gen_ai_metrics).values() if isinstance(v, str)}


def test_a_collector_that_is_away_is_no_matter() -> None:
    """Exchanges go on, and the log closes."""
    with DecisionLog([OtelSink("http://127.0.0.1:9")]) as log:
        log.end(Exchange(CHAT))


def test_the_setting_opens_it(collector: Collector) -> None:
    """otel_endpoint is all that is needed."""
    with open_decision_log(resolve({"otel_endpoint": f"{collector.url}/"}, {}).settings, Drops()) as log:
        log.end(Exchange(CHAT))
    assert len(collector.spans) == 1


def test_without_the_extra_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence with the command, no traceback."""
    import sys

    monkeypatch.setitem(sys.modules, "proxy.server.ops.otel", None)
    with pytest.raises(SettingsError, match=r"pip install 'safety-proxy\[otel\]'"):
        open_decision_log(resolve({"otel_endpoint": "http://127.0.0.1:4318"}, {}).settings, Drops())

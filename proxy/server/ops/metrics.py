"""Prometheus metrics. An exchange is counted once, after its end; while it runs there are only plain numbers.

Those that are over are counted many at once, or when somebody looks: it costs a third of counting each by itself.

Labels are closed sets, except names of models, policies and rules, which are capped: what comes too late is `_other`.

A series that does not exist cannot rise: Prometheus takes the first value that it sees for where a counter began, and
an alert on `increase` would sleep through the first failure. So whatever can be known at the start begins at 0 there,
and what has a model in it begins at 0 when the model is first named.
"""

from __future__ import annotations

import platform
import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric

from proxy import __version__
from proxy.core.types import Action, Finding, Rule
from proxy.errors import UPSTREAM_REASONS
from proxy.policy.store import Status
from proxy.server.exchange.record import Exchange, Outcome
from proxy.server.routing.routes import GUARDED_PATHS

PREFIX = "safety_proxy_"
OTHER = "_other"
MOST_MODELS = 20
MOST_RULES = 200

FIRST_TEXT = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160)
"""Seconds; vLLM's buckets for its time to first token, so that both fit into one graph."""
ADDED = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
DURATION = tuple(0.01 * 2**n for n in range(16))
HELD = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)
ACTIONS = {Action.FLAG: "flag", Action.REWRITE: "modify", Action.BLOCK: "block"}  # OpenTelemetry's words
CUT_SHORT = (Outcome.BLOCKED, Outcome.CLIENT_CANCELLED)  # of whose answers the model made text for nobody
UNREAD = (Outcome.REJECTED, Outcome.CLIENT_CANCELLED, Outcome.UPSTREAM_ERROR, Outcome.PROXY_ERROR)
"""What a request can come to before anybody has read for which model it is."""
MOST_WAITING = 64  # exchanges that are over and not counted yet
UNSAFE = re.compile(r"[^\x20-\x7e]")


class Capped:
    """Values of one label: the first so many keep their name."""

    def __init__(self, most: int, overflow: Counter, label: str) -> None:
        self._most = most
        self._known: set[str] = set()
        self._overflow = overflow.labels(label)

    def name(self, value: str) -> str:
        """The value to use for the label."""
        if value in self._known:
            return value
        if len(self._known) < self._most and len(value) <= 128 and not UNSAFE.search(value):
            self._known.add(value)
            return value
        self._overflow.inc()
        return OTHER


class Children:
    """A metric's children, kept: `labels` costs more than counting."""

    def __init__(self, metric: Any) -> None:
        self._metric = metric
        self._known: dict[tuple[str, ...], Any] = {}

    def __call__(self, *labels: str) -> Any:
        """The child with these label values."""
        child = self._known.get(labels)
        if child is None:
            child = self._known[labels] = self._metric.labels(*labels)
        return child


class Metrics:
    """All of them, in the registry that was passed in."""

    def __init__(self, registry: CollectorRegistry, endpoints: Iterable[str] = GUARDED_PATHS) -> None:
        """`endpoints`: those whose requests are counted."""
        self.registry = registry
        self._running: dict[str, int] = defaultdict(int)
        self._over: deque[Exchange] = deque()
        self._counting = Lock()  # a scrape has its own thread
        about = (PREFIX + "requests_in_flight", "Requests under way.", ["endpoint"])
        self._in_flight = _First(*about, registry=registry)
        self._in_flight.before = self._count
        counter, gauge, histogram = self._counter, self._gauge, self._histogram
        overflow = Counter(PREFIX + "metrics_label_overflow", "Values counted as _other.", ["label"], registry=registry)
        self._models = Capped(MOST_MODELS, overflow, "model")
        self._rules = Capped(MOST_RULES, overflow, "rule")
        self._requests = counter("requests", "Requests by how they ended.", "endpoint", "model", "outcome", "stream")
        self._duration = histogram(
            "request_duration_seconds", "From first byte to last.", DURATION, "endpoint", "outcome"
        )
        self._actions = counter(
            "policy_actions",
            "What rules did. Direction history: a text of an earlier turn, which an app sends again each time.",
            *("policy", "rule", "direction", "action"),
        )
        self._added = histogram(
            "added_time_to_first_token_seconds", "Of the delay of a stream's first text, the proxy's.", ADDED, "model"
        )
        self._client_first = histogram(
            "client_time_to_first_token_seconds", "From a stream's request to the first text sent.", FIRST_TEXT, "model"
        )
        self._upstream_first = histogram(
            "upstream_time_to_first_token_seconds", "The model server's share of it.", FIRST_TEXT, "model"
        )
        self._held = histogram("held_back_characters", "Most characters that waited at once in an answer.", HELD)
        self._hold_time = histogram("hold_seconds", "How long characters waited in an answer, in all.", ADDED)
        self._upstream_errors = counter("upstream_errors", "Failures of the model server.", "reason")
        self._internal_errors = counter("internal_errors", "Requests in which the proxy itself, or a check, failed.")
        self._check_errors = counter("check_errors", "Checks that failed, by the kind of failure.", "reason")
        self._wasted = counter(
            "wasted_events", "Pieces of text that the model made for answers nobody got whole.", "reason"
        )
        self._markers = counter(
            "neutralised_markers", "Chat template markers that were made plain text in prompts.", "family"
        )
        self._cut_prompts = counter("prompt_truncated", "Prompts of which the model server read only a part.", "model")
        self._reloads = counter("policy_reloads", "Attempts to load policies.", "result")
        self._reload_ok = gauge("policy_last_reload_successful", "1 if the latest attempt went well.")
        self._reload_time = gauge("policy_last_reload_success_timestamp_seconds", "When policies were last loaded.")
        self._policy_info = Gauge(
            PREFIX + "policy_info", "1 for each policy in force.", ["policy", "sha256"], registry=registry
        )
        gauge("build_info", "1; the labels tell what runs.", "version", "python_version")(
            __version__, platform.python_version()
        ).set(1)
        self._seen = Status()
        self._named: set[tuple[str, str, str]] = set()
        self._begin_at_zero(endpoints)

    def _begin_at_zero(self, endpoints: Iterable[str]) -> None:
        for reason in UPSTREAM_REASONS:
            self._upstream_errors(reason)
        for outcome in CUT_SHORT:
            self._wasted(outcome.value)
        for endpoint in endpoints:
            for outcome in UNREAD:
                self._requests(endpoint, "", outcome.value, "false")

    def _name(self, endpoint: str, model: str, stream: str) -> None:
        """What such a request can come to, at 0 if it is the first one."""
        if (endpoint, model, stream) not in self._named:
            self._named.add((endpoint, model, stream))
            self._cut_prompts(model)
            for outcome in Outcome:
                self._requests(endpoint, model, outcome.value, stream)

    def _counter(self, name: str, text: str, *labels: str) -> Children:
        metric = Counter(PREFIX + name, text, labels, registry=self.registry)
        return Children(metric) if labels else Children(_Plain(metric))

    def _gauge(self, name: str, text: str, *labels: str) -> Children:
        metric = Gauge(PREFIX + name, text, labels, registry=self.registry)
        return Children(metric) if labels else Children(_Plain(metric))

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Children:
        metric = Histogram(PREFIX + name, text, labels, buckets=buckets, registry=self.registry)
        return Children(metric) if labels else Children(_Plain(metric))

    def begin(self, exchange: Exchange) -> None:
        """A guarded request has begun."""
        self._running[exchange.endpoint] += 1

    def end(self, exchange: Exchange) -> None:
        """It is over; all that happened will be counted."""
        self._running[exchange.endpoint] -= 1
        self._over.append(exchange)
        if len(self._over) >= MOST_WAITING or exchange.found or exchange.check_errors:  # these may be large
            self._count()

    def _count(self) -> None:
        with self._counting:
            while self._over:
                self._count_exchange(self._over.popleft())
            for endpoint, running in dict(self._running).items():
                self._in_flight.labels(endpoint).set(running)

    def _count_exchange(self, exchange: Exchange) -> None:
        endpoint, outcome = exchange.endpoint, exchange.outcome
        model = self._models.name(exchange.model)
        stream = "true" if exchange.stream else "false"
        self._name(endpoint, model, stream)
        self._requests(endpoint, model, outcome.value, stream).inc()
        self._duration(endpoint, outcome.value).observe(exchange.ended - exchange.began)
        self._count_findings(exchange.found)
        self._count_times(exchange, model)
        if exchange.check_errors or outcome is Outcome.PROXY_ERROR:
            self._internal_errors().inc()
        for error in exchange.check_errors:
            self._check_errors(type(error).__name__).inc()
        for family, count in exchange.markers.items():
            self._markers(family).inc(count)
        if exchange.prompt_cut:
            self._cut_prompts(model).inc()
        if exchange.upstream_reason and outcome is Outcome.UPSTREAM_ERROR:
            self._upstream_errors(exchange.upstream_reason).inc()
        if exchange.events and outcome in CUT_SHORT:
            self._wasted(outcome.value).inc(exchange.events)

    def _count_findings(self, found: Iterable[tuple[str, Finding]]) -> None:
        times: defaultdict[tuple[str, Rule], int] = defaultdict(int)
        for direction, finding in found:
            times[direction, finding.rule] += 1
        for (direction, rule), number in times.items():
            name = self._rules.name(rule.name)
            policy, rule_id = (OTHER, OTHER) if name is OTHER else (rule.policy, rule.id)
            action = ACTIONS[rule.action] if rule.enforced else "flag"
            self._actions(policy, rule_id, direction, action).inc(number)

    def _count_times(self, exchange: Exchange, model: str) -> None:
        added = exchange.added_to_first_text
        if added is not None and exchange.stream:  # a whole answer comes when it is complete: no delay of a first text
            self._added(model).observe(added)
            self._client_first(model).observe(exchange.client_text - exchange.began)
            self._upstream_first(model).observe(exchange.upstream_text - exchange.sent_upstream)
        if added is not None:
            self._held().observe(exchange.held_most)
        if exchange.held_seconds:
            self._hold_time().observe(exchange.held_seconds)

    def policies_loaded(self, status: Status, names: Iterable[str]) -> None:
        """Policies were loaded, or could not be."""
        self._reloads("success").inc(max(status.loads - self._seen.loads, 0))
        self._reloads("failure").inc(max(status.failures - self._seen.failures, 0))
        self._seen = status
        self._reload_ok().set(0 if status.error else 1)
        self._reload_time().set(status.loaded_at)
        self._policy_info.clear()
        for name in names:
            self._policy_info.labels(name, status.revision).set(1)


class _Plain:
    """A metric without labels, as one that has no label values."""

    def __init__(self, metric: Any) -> None:
        self._metric = metric

    def labels(self) -> Any:
        """The metric itself."""
        return self._metric


class _First(Gauge):
    """The first metric to be collected: `before` is called then."""

    before: Callable[[], None] | None = None

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client calls."""
        if self.before is not None:
            self.before()
        return super().collect()

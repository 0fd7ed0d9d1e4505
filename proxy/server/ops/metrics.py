"""Prometheus metrics. An exchange is counted once, after its end; while it runs there are only plain numbers.

Finished exchanges are counted in batches, and before each scrape. That costs a third of counting each by itself.

Labels are closed sets, except names of models, policies and rules. Those are capped: a name that comes too late counts
as `_other`.

Prometheus takes the first value of a series for its beginning. So an alert on `increase` would miss a first failure if
that made its series appear. Series that can be known at the start begin at 0 there, and those of a model when the model
is first named.
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
from prometheus_client.registry import Collector

from proxy import __version__
from proxy.core.types import Action, Finding, Rule
from proxy.errors import UPSTREAM_REASONS
from proxy.policy.store import Status
from proxy.server.exchange.record import Exchange, Outcome
from proxy.server.routing.routes import GUARDED_PATHS

PREFIX = "safety_proxy_"
OTHER = "_other"
MAX_MODELS = 20
MAX_RULES = 200

FIRST_TEXT = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160)
"""Seconds; vLLM's buckets for its time to first token, so that both fit into one graph."""
DELAY = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
DURATION = tuple(0.01 * 2**n for n in range(16))
CHARACTERS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)
ACTIONS = {Action.FLAG: "flag", Action.REWRITE: "rewrite", Action.BLOCK: "block"}
OLD_ACTIONS = {**ACTIONS, Action.REWRITE: "modify"}
"""Their names in policy_actions_total, the old metric of findings_total. It goes with version 0.2."""
CUT_SHORT = (Outcome.BLOCKED, Outcome.CLIENT_CANCELLED)  # the model computed text that nobody got
UNREAD = (Outcome.REJECTED, Outcome.CLIENT_CANCELLED, Outcome.UPSTREAM_ERROR, Outcome.PROXY_ERROR)
"""How a request can end before its model is known."""
MAX_UNCOUNTED = 64  # finished exchanges that wait to be counted
NOT_PRINTABLE = re.compile(r"[^\x20-\x7e]")


class CappedLabel:
    """The values of one label: the first `limit` of them keep their name."""

    def __init__(self, limit: int, overflow: Counter, label: str) -> None:
        self._limit = limit
        self._known: set[str] = set()
        self._overflow = overflow.labels(label)

    def name(self, value: str) -> str:
        """The value to use for the label."""
        if value in self._known:
            return value
        if len(self._known) < self._limit and len(value) <= 128 and not NOT_PRINTABLE.search(value):
            self._known.add(value)
            return value
        self._overflow.inc()
        return OTHER


class Children:
    """A metric's children, cached: `labels` costs more than counting."""

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
        """`endpoints`: the paths whose requests are counted."""
        self.registry = registry
        self._under_way: dict[str, int] = defaultdict(int)
        self._finished: deque[Exchange] = deque()
        self._count_lock = Lock()  # a scrape has its own thread
        registry.register(BeforeScrape(self._count_finished))  # first, so that it is asked first
        counter, gauge, histogram = self._counter, self._gauge, self._histogram
        self._in_flight = gauge("requests_in_flight", "Requests under way.", "endpoint")
        overflow = Counter(PREFIX + "metrics_label_overflow", "Values counted as _other.", ["label"], registry=registry)
        self._models = CappedLabel(MAX_MODELS, overflow, "model")
        self._rules = CappedLabel(MAX_RULES, overflow, "rule")
        self._requests = counter("requests", "Requests by how they ended.", "endpoint", "model", "outcome", "stream")
        self._duration = histogram(
            "request_duration_seconds", "From first byte to last.", DURATION, "endpoint", "outcome"
        )
        rule = ("policy", "rule", "direction", "action")
        self._findings = counter("findings", "What rules found. history: in a text of an earlier turn.", *rule)
        self._old_findings = counter("policy_actions", "Old name of findings; modify means rewrite.", *rule)
        self._added = histogram(
            "added_time_to_first_token_seconds",
            "The proxy's share of the delay of a stream's first text.",
            DELAY,
            "model",
        )
        self._client_first = histogram(
            "client_time_to_first_token_seconds", "From a stream's request to the first text sent.", FIRST_TEXT, "model"
        )
        self._upstream_first = histogram(
            "upstream_time_to_first_token_seconds", "The model server's share of it.", FIRST_TEXT, "model"
        )
        self._held = histogram("held_back_characters", "Most characters that waited at once in an answer.", CHARACTERS)
        self._hold_time = histogram("hold_seconds", "How long characters waited in an answer, in all.", DELAY)
        self._upstream_errors = counter("upstream_errors", "Failures of the model server.", "reason")
        self._internal_errors = counter("internal_errors", "Requests in which the proxy itself, or a check, failed.")
        self._check_errors = counter("check_errors", "Checks that failed, by the kind of failure.", "reason")
        self._wasted = counter("wasted_events", "Text events of answers that the client did not get whole.", "reason")
        self._markers = counter(
            "neutralised_markers", "Chat template markers in prompts that were made plain text.", "family"
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
        self._last_status = Status()
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
        """Begin the series of each way in which such a request can end at 0, if this is the first one."""
        if (endpoint, model, stream) not in self._named:
            self._named.add((endpoint, model, stream))
            self._cut_prompts(model)
            for outcome in Outcome:
                self._requests(endpoint, model, outcome.value, stream)

    def _counter(self, name: str, text: str, *labels: str) -> Children:
        metric = Counter(PREFIX + name, text, labels, registry=self.registry)
        return Children(metric) if labels else Children(_Unlabelled(metric))

    def _gauge(self, name: str, text: str, *labels: str) -> Children:
        metric = Gauge(PREFIX + name, text, labels, registry=self.registry)
        return Children(metric) if labels else Children(_Unlabelled(metric))

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Children:
        metric = Histogram(PREFIX + name, text, labels, buckets=buckets, registry=self.registry)
        return Children(metric) if labels else Children(_Unlabelled(metric))

    def begin(self, exchange: Exchange) -> None:
        """A guarded request has begun."""
        self._under_way[exchange.endpoint] += 1

    def end(self, exchange: Exchange) -> None:
        """It has ended. The next batch or scrape counts it."""
        self._under_way[exchange.endpoint] -= 1
        self._finished.append(exchange)
        if len(self._finished) >= MAX_UNCOUNTED or exchange.findings or exchange.check_errors:  # these may be large
            self._count_finished()

    def _count_finished(self) -> None:
        with self._count_lock:
            while self._finished:
                self._count_exchange(self._finished.popleft())
            for endpoint, running in dict(self._under_way).items():
                self._in_flight(endpoint).set(running)

    def _count_exchange(self, exchange: Exchange) -> None:
        endpoint, outcome = exchange.endpoint, exchange.outcome
        model = self._models.name(exchange.model)
        stream = "true" if exchange.stream else "false"
        self._name(endpoint, model, stream)
        self._requests(endpoint, model, outcome.value, stream).inc()
        self._duration(endpoint, outcome.value).observe(exchange.ended - exchange.began)
        self._count_findings(exchange.findings)
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
            action = rule.action if rule.enforced else Action.FLAG
            self._findings(policy, rule_id, direction, ACTIONS[action]).inc(number)
            self._old_findings(policy, rule_id, direction, OLD_ACTIONS[action]).inc(number)

    def _count_times(self, exchange: Exchange, model: str) -> None:
        added = exchange.added_to_first_text
        if added is not None and exchange.stream:  # an answer that is not streamed has no first text
            self._added(model).observe(added)
            self._client_first(model).observe(exchange.client_text - exchange.began)
            self._upstream_first(model).observe(exchange.upstream_text - exchange.sent_upstream)
        if added is not None:
            self._held().observe(exchange.max_held)
        if exchange.held_seconds:
            self._hold_time().observe(exchange.held_seconds)

    def policies_loaded(self, status: Status, names: Iterable[str]) -> None:
        """A load of the policies has succeeded or failed."""
        self._reloads("success").inc(max(status.loads - self._last_status.loads, 0))
        self._reloads("failure").inc(max(status.failures - self._last_status.failures, 0))
        self._last_status = status
        self._reload_ok().set(0 if status.error else 1)
        self._reload_time().set(status.loaded_at)
        self._policy_info.clear()
        for name in names:
            self._policy_info.labels(name, status.revision).set(1)


class _Unlabelled:
    """A metric without labels, with the interface of one that has some."""

    def __init__(self, metric: Any) -> None:
        self._metric = metric

    def labels(self) -> Any:
        """The metric itself."""
        return self._metric


class BeforeScrape(Collector):
    """A collector without metrics of its own: when the registry is collected, it brings the others up to date."""

    def __init__(self, update: Callable[[], None]) -> None:
        self._update = update

    def describe(self) -> Iterable[Metric]:
        """No metrics."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """No metrics; update those of others."""
        self._update()
        return ()

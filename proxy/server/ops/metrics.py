"""Prometheus metrics. An exchange is counted once, after its end; while it runs there are only plain numbers.

Finished exchanges are counted in batches, and before each scrape. That costs a third of counting each by itself.

Labels are closed sets, except names of models, policies and rules. Those are capped: a name that comes too late counts
as `_other`. A model keeps its name once the model server has answered a request for it, so clients cannot use up the
names.

Prometheus takes the first value of a series for its beginning. So an alert on `increase` would miss a first failure if
that made its series appear. Series that can be known at the start begin at 0 there, those of a rule when its policy is
loaded, and those of a model when the model is first named.
"""

from __future__ import annotations

import platform
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from threading import Lock

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy import __version__
from proxy.checks.fail_open import FAILED_OPEN, FailedOpen
from proxy.checks.failures import CHECKS, EXCEPTION, failed_check, failure_reason
from proxy.checks.registry import Entry
from proxy.core.failures import CheckFailed, Reason
from proxy.core.guard import CHECK_FAILED
from proxy.core.prompt_memory import PromptMemory
from proxy.core.types import Action, Finding, Rule
from proxy.errors import UPSTREAM_REASONS
from proxy.policy.file_store import Status
from proxy.server.exchange.prompt_filter import UNSTABLE
from proxy.server.exchange.record import DIRECTIONS, GAPS, Exchange, Outcome
from proxy.server.exchange.refusals import KINDS
from proxy.server.ops.access_metrics import AccessMetrics
from proxy.server.ops.alignment_metrics import AlignmentMetrics
from proxy.server.ops.drops import SINKS, Drops
from proxy.server.ops.guard_metrics import GuardMetrics
from proxy.server.ops.series import OTHER, PREFIX, BeforeScrape, CappedLabel, CountedHistogram, MetricFactory
from proxy.server.routing.routes import GUARDED_PATHS

MAX_MODELS = 20
MAX_RULES = 200
MAX_CHECKS = 20

FIRST_TEXT = (0.005, 0.02, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 160)
"""Seconds; of vLLM's buckets for its time to first token, so that both fit into one graph."""
DELAY = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
SUM_OF_DELAYS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 20, 40, 160)
"""Seconds; all the waiting of a long answer."""
CHECK_SECONDS = (0.0001, 0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 10, 40)
"""Seconds; a plug-in takes the least of them for a short text, a guard the most for a long answer."""
DURATION = (0.01, 0.32, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 163.84)
"""Seconds; of the buckets that OpenTelemetry has for it."""
CHARACTERS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)
ACTIONS = {Action.FLAG: "flag", Action.REWRITE: "rewrite", Action.BLOCK: "block"}
ALL_DIRECTIONS = ("input", "history", "output", *DIRECTIONS.values())
OWN_RULES = (CHECK_FAILED, FAILED_OPEN, UNSTABLE)
STAGES = ("input", "output", "hold")
CUT_SHORT = (Outcome.BLOCKED, Outcome.CLIENT_CANCELLED)  # the model computed text that nobody got
UNREAD = (Outcome.REJECTED, Outcome.CLIENT_CANCELLED, Outcome.UPSTREAM_ERROR, Outcome.PROXY_ERROR)
"""How a request can end before its model is known."""
MAX_UNCOUNTED = 64  # finished exchanges that wait to be counted


class Metrics:
    """All of them, in the registry that was passed in."""

    def __init__(
        self,
        registry: CollectorRegistry,
        endpoints: Iterable[str] = GUARDED_PATHS,
        drops: Drops | None = None,
    ) -> None:
        """`endpoints`: the paths whose requests are counted. `drops`: what logging has thrown away."""
        self.registry = registry
        self._drops = drops or Drops()
        self._access: AccessMetrics | None = None
        self._under_way: dict[str, int] = defaultdict(int)
        self._finished: deque[Exchange] = deque()
        self._count_lock = Lock()  # a scrape has its own thread
        registry.register(BeforeScrape(self._count_finished))  # first, so that it is asked first
        make = MetricFactory(registry)
        overflow = Counter(PREFIX + "metrics_label_overflow", "Values counted as _other.", ["label"], registry=registry)
        self._models = CappedLabel(MAX_MODELS, overflow, "model")
        self._rules = CappedLabel(MAX_RULES + len(OWN_RULES), overflow, "rule")
        self._checks = CappedLabel(MAX_CHECKS, overflow, "check")
        self._make_traffic(make)
        self._make_findings(make)
        self._make_times(make)
        self._make_upstream(make)
        self._make_state(make)
        self.alignment = AlignmentMetrics(make, overflow)
        self.guards = GuardMetrics(make, overflow)
        self._last_status = Status()
        self._named: set[tuple[str, str, str]] = set()
        self._begin_at_zero(endpoints)

    # -- what there is

    def _make_traffic(self, make: MetricFactory) -> None:
        self._requests = make.counter(
            "requests", "Requests by how they ended.", "endpoint", "model", "outcome", "stream"
        )
        self._in_flight = make.gauge("requests_in_flight", "Requests under way.", "endpoint")
        self._duration = make.histogram(
            "request_duration_seconds", "From first byte to last.", DURATION, "endpoint", "outcome"
        )
        self._tokens = make.counter("tokens", "Tokens, as the model server counted them.", "model", "direction")
        self._wasted_tokens = make.counter(
            "wasted_tokens", "Counted tokens of answers that the client did not get whole.", "model", "reason"
        )
        self._wasted = make.counter(
            "wasted_events", "Text events of answers that the client did not get whole.", "reason"
        )
        refusal = ("model", "kind")
        self._refusals = make.counter("model_refusals", "Answers in which the model itself refused.", *refusal)
        self._refused_tokens = make.counter("refused_tokens", "Tokens of these answers.", *refusal)
        self._refused_seconds = make.counter("refused_seconds", "Seconds that the model took for them.", *refusal)

    def _make_findings(self, make: MetricFactory) -> None:
        rule = ("policy", "rule", "direction", "action")
        self._findings = make.counter("findings", "What rules found. history: in a text of an earlier turn.", *rule)
        self._internal_errors = make.counter(
            "internal_errors", "Requests in which the proxy itself, or a check, failed."
        )
        self._check_errors = make.counter("check_errors", "Checks that failed.", "check", "reason", "on_error")
        self._check_seconds = make.histogram(
            "check_duration_seconds", "What checks with a name took for an exchange.", CHECK_SECONDS, "check"
        )
        self._markers = make.counter(
            "neutralised_markers", "Chat template markers in prompts that were made plain text.", "family"
        )

    def _make_times(self, make: MetricFactory) -> None:
        self._added = make.histogram(
            "added_time_to_first_token_seconds",
            "The proxy's share of the delay of a stream's first text.",
            DELAY,
            "model",
        )
        self._added_latency = make.histogram(
            "added_latency_seconds", "What the proxy itself took, by stage.", SUM_OF_DELAYS, "stage"
        )
        self._client_first = make.histogram(
            "client_time_to_first_token_seconds", "From a stream's request to the first text sent.", FIRST_TEXT, "model"
        )
        self._upstream_first = make.histogram(
            "upstream_time_to_first_token_seconds", "The model server's share of it.", FIRST_TEXT, "model"
        )
        text = "Between two reads of an answer's text."
        self._gaps = CountedHistogram("upstream_inter_token_latency_seconds", text, GAPS, "model")
        self.registry.register(self._gaps)
        self._held = make.histogram(
            "held_back_characters", "Most characters that waited at once in an answer.", CHARACTERS
        )
        self._hold_time = make.histogram(
            "hold_seconds", "How long characters waited in an answer, in all.", SUM_OF_DELAYS
        )
        rule = ("policy", "rule")
        self._rule_waits = make.counter("rule_holds", "Waits of answers' characters, by the rule.", *rule)
        self._rule_seconds = make.counter("rule_hold_seconds", "How long they waited, by the rule.", *rule)
        self._rule_characters = make.counter("rule_held_characters", "Most characters of each wait, added up.", *rule)

    def _make_upstream(self, make: MetricFactory) -> None:
        self._upstream_up = make.gauge("upstream_up", "1 if the model server answered when last asked.", "upstream")
        self._upstream_errors = make.counter("upstream_errors", "Failures of the model server.", "upstream", "reason")
        self._upstream_requests = make.counter("upstream_requests", "Requests that it was given.", "upstream")
        self._upstream_moved = make.counter(
            "upstream_failovers",
            "Requests that another model server got, since this one could not be asked.",
            "upstream",
        )
        self._cut_prompts = make.counter(
            "prompt_truncated", "Prompts of which the model server read only a part.", "model"
        )

    def _make_state(self, make: MetricFactory) -> None:
        self._reloads = make.counter("policy_reloads", "Attempts to load policies.", "result")
        self._reload_ok = make.gauge("policy_last_reload_successful", "1 if the latest attempt went well.")
        self._reload_time = make.gauge(
            "policy_last_reload_success_timestamp_seconds", "When policies were last loaded."
        )
        self._policy_info = Gauge(
            PREFIX + "policy_info", "1 for each policy in force.", ["policy", "sha256"], registry=self.registry
        )
        self._lost_records = make.counter("log_records_dropped", "Records that logging lost.", "sink")
        self._selftest = make.gauge(
            "selftest_successful", "1 if the policy's first example was found in the latest self-test.", "policy"
        )
        self._selftest_time = make.gauge("selftest_last_success_timestamp_seconds", "When it was last found.", "policy")
        self._plugin_info = make.gauge("plugin_info", "1 for each plug-in.", "check", "version", "origin")
        build = make.gauge("build_info", "1; the labels tell what runs.", "version", "python_version")
        build(__version__, platform.python_version()).set(1)

    # -- what is known at the start

    def _begin_at_zero(self, endpoints: Iterable[str]) -> None:
        for outcome in CUT_SHORT:
            self._wasted(outcome.value)
        for stage in STAGES:
            self._added_latency(stage)
        for unlabelled in (self._held, self._hold_time, self._internal_errors):
            unlabelled()
        for sink in SINKS:
            self._lost_records(sink)
        for check in CHECKS:
            for on_error in ("block", "allow"):
                self._check_errors(check, EXCEPTION, on_error)
        self.begin_rules((rule, direction) for rule in OWN_RULES for direction in ALL_DIRECTIONS)
        for endpoint in endpoints:
            for outcome in UNREAD:
                self._requests(endpoint, "", outcome.value, "false")

    def begin_upstreams(self, names: Iterable[str]) -> None:
        """Begin the failures of each model server at 0; "": of requests for which none was chosen."""
        for name in ("", *names):
            for reason in UPSTREAM_REASONS:
                self._upstream_errors(name, reason)
            if name:
                self._upstream_requests(name)
                self._upstream_moved(name)

    def begin_rules(self, places: Iterable[tuple[Rule, str]]) -> None:
        """Begin the findings of rules at 0, in the directions in which they look."""
        for rule, direction in places:
            if self._rules.admit(rule.name):
                self._findings(rule.policy, rule.id, direction, ACTIONS[_effect(rule)])

    def _name(self, endpoint: str, model: str, stream: str) -> None:
        """Begin the series of each way in which such a request can end at 0, if this is the first one."""
        if (endpoint, model, stream) in self._named:
            return
        self._named.add((endpoint, model, stream))
        for outcome in Outcome:
            self._requests(endpoint, model, outcome.value, stream)
        if not model:  # the request could not be read
            return
        self._cut_prompts(model)
        for direction in ("input", "output"):
            self._tokens(model, direction)
        for outcome in CUT_SHORT:
            self._wasted_tokens(model, outcome.value)
        for kind in KINDS:
            for children in (self._refusals, self._refused_tokens, self._refused_seconds):
                children(model, kind)

    # -- exchanges

    def watch(self, memory: PromptMemory) -> None:
        """Show how full the memory of prompts is, and what use it is."""
        self.registry.register(_MemoryCollector(memory))

    def watch_access(self, access: AccessMetrics) -> None:
        """Show who is refused and why, and how much each key uses."""
        self._access = access
        self.registry.register(access)

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
            for sink, lost in self._drops.take().items():
                self._lost_records(sink).inc(lost)

    def _count_exchange(self, exchange: Exchange) -> None:
        endpoint, outcome = exchange.endpoint, exchange.outcome
        model = self._model_name(exchange)
        stream = "true" if exchange.stream else "false"
        self._name(endpoint, model, stream)
        self._requests(endpoint, model, outcome.value, stream).inc()
        self._duration(endpoint, outcome.value).observe(exchange.ended - exchange.began)
        self._count_findings(exchange.findings, exchange.more_findings)
        self._count_times(exchange, model)
        self._count_holds(exchange)
        self._count_tokens(exchange, model)
        self._count_failures(exchange)
        for check, seconds in exchange.check_seconds.items():
            self._check_seconds(self._checks.name(check)).observe(seconds)
        if exchange.judged_after:
            self.guards.judged_after()
        for family, count in exchange.markers.items():
            self._markers(family).inc(count)
        if exchange.prompt_cut:
            self._cut_prompts(model).inc()
        self._count_refusal(exchange, model)
        self.alignment.count(exchange)
        if self._access is not None and exchange.key:
            self._access.count(exchange)

    def _model_name(self, exchange: Exchange) -> str:
        """The model as a label. Before the model server has answered for it a name is one of the others."""
        model = exchange.model
        if not model or model in self._models or exchange.upstream_text:
            return self._models.name(model) if model else ""
        return OTHER

    def _count_findings(self, found: Iterable[tuple[str, Finding]], more: Mapping[tuple[str, Rule], int]) -> None:
        times: defaultdict[tuple[str, Rule], int] = defaultdict(int, more)
        for direction, finding in found:
            times[direction, finding.rule] += 1
        for (direction, rule), number in times.items():
            policy, rule_id = self._rule_name(rule)
            self._findings(policy, rule_id, direction, ACTIONS[_effect(rule)]).inc(number)
            if isinstance(rule, FailedOpen) and rule.reason == EXCEPTION:  # else it is a plug-in's
                self._check_errors(rule.check, rule.reason, "allow").inc(number)

    def _rule_name(self, rule: Rule) -> tuple[str, str]:
        return (OTHER, OTHER) if self._rules.name(rule.name) is OTHER else (rule.policy, rule.id)

    def _count_times(self, exchange: Exchange, model: str) -> None:
        added = exchange.added_to_first_text
        if added is not None and exchange.stream:  # an answer that is not streamed has no first text
            self._added(model).observe(added)
            self._client_first(model).observe(exchange.client_text - exchange.began)
            self._upstream_first(model).observe(exchange.upstream_text - exchange.sent_upstream)
        if any(exchange.gaps):
            self._gaps.add(model, exchange.gaps, exchange.gap_seconds)
        if exchange.sent_upstream:
            self._added_latency("input").observe(exchange.sent_upstream - exchange.queued - exchange.request_read)
        if exchange.upstream_text:
            self._added_latency("output").observe(exchange.output_seconds)
            self._added_latency("hold").observe(exchange.held_seconds)

    def _count_holds(self, exchange: Exchange) -> None:
        if exchange.added_to_first_text is not None:
            self._held().observe(exchange.max_held)
        if exchange.held_seconds:
            self._hold_time().observe(exchange.held_seconds)
        for rule, share in exchange.hold.shares():
            policy, rule_id = ("", "") if rule is None else self._rule_name(rule)
            self._rule_waits(policy, rule_id).inc(share.waits)
            self._rule_seconds(policy, rule_id).inc(share.seconds)
            self._rule_characters(policy, rule_id).inc(share.characters)

    def _count_tokens(self, exchange: Exchange, model: str) -> None:
        if not model:
            return
        self._tokens(model, "input").inc(exchange.prompt_tokens)
        self._tokens(model, "output").inc(exchange.answer_tokens)
        if exchange.outcome in CUT_SHORT:
            self._wasted_tokens(model, exchange.outcome.value).inc(exchange.answer_tokens)
            self._wasted(exchange.outcome.value).inc(exchange.events)

    def _count_refusal(self, exchange: Exchange, model: str) -> None:
        """What the model refused, and what that cost. An answer whose tokens nobody counted has its events for them."""
        kind = exchange.refusal.kind
        if kind:
            self._refusals(model, kind).inc()
            self._refused_tokens(model, kind).inc(exchange.answer_tokens or exchange.events)
            self._refused_seconds(model, kind).inc(exchange.model_seconds)

    def _count_failures(self, exchange: Exchange) -> None:
        if exchange.check_errors or exchange.outcome is Outcome.PROXY_ERROR:
            self._internal_errors().inc()
        for error in exchange.check_errors:
            if not isinstance(error, CheckFailed):
                self._check_errors(failed_check(error), failure_reason(error), "block").inc()
        for on_error, failed in exchange.plugin_failures or ():
            self._check_errors(failed.check, failed.reason.value, on_error).inc()
        for upstream, reason in exchange.moved_from:
            self._upstream_errors(upstream, reason).inc()
            self._upstream_moved(upstream).inc()
        if exchange.sent_upstream:
            self._upstream_requests(exchange.upstream).inc()
        if exchange.upstream_reason and exchange.outcome is Outcome.UPSTREAM_ERROR:
            self._upstream_errors(exchange.upstream, exchange.upstream_reason).inc()

    # -- the model server and the self-test

    def upstream_seen(self, upstream: str, is_up: bool) -> None:
        """Whether the model server answered just now."""
        self._upstream_up(upstream).set(is_up)

    def self_tested(self, results: Mapping[str, bool], now: float) -> None:
        """The policies' examples were run through the live matcher; `now` in seconds since 1970. A policy that is gone
        has no series, or its last success would be an alert."""
        for children in (self._selftest, self._selftest_time):
            children.keep_only({(policy,) for policy in results})
        for policy, passed in results.items():
            self._selftest(policy).set(passed)
            if passed:
                self._selftest_time(policy).set(now)

    # -- policies

    def plugins_found(self, plugins: Iterable[Entry]) -> None:
        """Which plug-ins this proxy has; called once."""
        for entry in plugins:
            self._plugin_info(entry.kind.name, entry.version, entry.origin).set(1)
            for reason in Reason:
                for on_error in ("block", "allow"):
                    self._check_errors(entry.kind.name, reason.value, on_error)

    def policies_loaded(self, status: Status, names: Iterable[str], places: Iterable[tuple[Rule, str]] = ()) -> None:
        """A load of the policies has succeeded or failed.

        places: every rule in force with every direction in which it can find something
        """
        self._reloads("success").inc(max(status.loads - self._last_status.loads, 0))
        self._reloads("failure").inc(max(status.failures - self._last_status.failures, 0))
        self._last_status = status
        self._reload_ok().set(0 if status.error else 1)
        self._reload_time().set(status.loaded_at)
        self._policy_info.clear()
        for name in names:
            self._policy_info.labels(name, status.revision).set(1)
        self.begin_rules(places)


class _MemoryCollector(Collector):
    """Reads the memory's own numbers at each scrape."""

    def __init__(self, memory: PromptMemory) -> None:
        self._memory = memory

    def collect(self) -> Iterable[Metric]:
        """Its metrics."""
        memory, name = self._memory, PREFIX + "prompt_memory_"
        yield GaugeMetricFamily(name + "bytes", "Memory for what was found in prompts.", memory.size)
        yield GaugeMetricFamily(name + "limit_bytes", "The most that it may take.", memory.limit)
        yield GaugeMetricFamily(name + "entries", "Places in prompts that are remembered.", len(memory))
        texts = CounterMetricFamily(name + "lookups", "Readings of prompts' texts by what was known.", labels=["known"])
        for known, count in (("all", memory.whole), ("beginning", memory.begun), ("nothing", memory.unknown)):
            texts.add_metric([known], count)
        yield texts


def _effect(rule: Rule) -> Action:
    """What a rule does: one that only watches flags."""
    return rule.action if rule.enforced else Action.FLAG

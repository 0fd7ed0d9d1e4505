"""Metrics of keys, limits and pauses: read at each scrape from whoever counts.

The name of a key is a label for the first MAX_KEYS keys that are used; those that come later count as `_other`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy.policy.file_store import Status
from proxy.server.exchange.record import Exchange, Outcome
from proxy.server.keys.authentication import Authentication
from proxy.server.keys.store import KeyStore
from proxy.server.limits.admission import Admission, tokens_of
from proxy.server.ops.series import OTHER, PREFIX

MAX_KEYS = 50
REFUSALS = (
    *(("streams", "key"), ("requests", "key"), ("requests", "all"), ("tokens", "key"), ("tokens", "all")),
    *(("queue", "all"), ("cool_down", "key"), ("store", "all")),
)
"""Which limit refuses, and whose it is."""


class AccessMetrics(Collector):
    """Reads the others' numbers."""

    def __init__(self, admission: Admission, authentication: Authentication, keys: KeyStore | None) -> None:
        self._admission = admission
        self._authentication = authentication
        self._keys = keys
        self._names: set[str] = set()
        self._requests: Counter[tuple[str, str]] = Counter()
        self._tokens: Counter[str] = Counter()

    def count(self, exchange: Exchange) -> None:
        """An exchange with a key has ended."""
        name = self._name(exchange.key)
        if (name, exchange.outcome.value) not in self._requests:
            self._requests.update(dict.fromkeys(((name, outcome.value) for outcome in Outcome), 0))
        self._requests[name, exchange.outcome.value] += 1
        self._tokens[name] += tokens_of(exchange) if exchange.sent_upstream else 0

    def describe(self) -> Iterable[Metric]:
        """Their names, without values."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Their values now."""
        yield from self._of_limits()
        yield from self._of_pause()
        yield from self._of_keys()

    def _name(self, key: str) -> str:
        if key not in self._names and len(self._names) >= MAX_KEYS:
            return OTHER
        self._names.add(key)
        return key

    def _of_limits(self) -> Iterator[Metric]:
        admission = self._admission
        counts = {pair: admission.refused[pair] for pair in REFUSALS}
        yield _counter("limit_refusals", "Requests that a limit refused.", ("limit", "scope"), counts)
        waiting = {name: queue.waiting for name, queue in list(admission.queues.items())}
        yield _gauge("queue_length", "Requests that wait for their turn.", waiting)
        running = {name: queue.running for name, queue in list(admission.queues.items())}
        yield _gauge("queue_running", "Requests whose turn it is.", running)
        errors = admission.rates.errors if admission.rates is not None else 0
        yield _counter("limits_store_errors", "Counts for which limits_store did not answer.", (), {(): errors})
        cooled = {(): admission.probing.cooled}
        yield _counter("cool_downs", "Keys and clients that had to wait for blocked requests.", (), cooled)

    def _of_pause(self) -> Iterator[Metric]:
        pause = self._admission.pause
        is_on = int(pause.message is not None)
        yield GaugeMetricFamily(PREFIX + "paused", "1 while an operator has paused the proxy.", is_on)
        counts = {("refused",): pause.refused, ("ended",): pause.ended}
        yield _counter("paused_requests", "Requests refused, and answers ended, by a pause.", ("what",), counts)

    def _of_keys(self) -> Iterator[Metric]:
        refused = {(reason,): count for reason, count in self._authentication.refused.items()}
        yield _counter("key_refusals", "Requests without a key that may be used.", ("reason",), refused)
        status = Status() if self._keys is None else self._keys.status
        loads = {("success",): status.loads, ("failure",): status.failures}
        yield _counter("key_reloads", "Attempts to load the keys.", ("result",), loads)
        name, text = PREFIX + "keys_last_reload_successful", "1 if the latest attempt to load the keys went well."
        yield GaugeMetricFamily(name, text, 0 if status.error else 1)
        if self._keys is None:
            return
        yield _counter("key_requests", "Requests by key.", ("key", "outcome"), self._requests)
        tokens = {(name,): count for name, count in self._tokens.items()}
        yield _counter("key_tokens", "Tokens by key, counted or estimated.", ("key",), tokens)


def _counter(name: str, text: str, labels: tuple[str, ...], counts: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for values, count in list(counts.items()):
        family.add_metric(values, count)
    return family


def _gauge(name: str, text: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=["upstream"])
    for upstream, value in values.items():
        family.add_metric([upstream], value)
    return family

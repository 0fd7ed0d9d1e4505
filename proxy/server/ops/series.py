"""What the metrics are made of: capped labels, cached children, and collectors of our own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence, Set
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

PREFIX = "safety_proxy_"
OTHER = "_other"
LONGEST_NAME = 128  # characters of a label's value that a client chooses
NOT_PRINTABLE = re.compile(r"[^\x20-\x7e]")


class CappedLabel:
    """The values of one label: the first `limit` of them keep their name."""

    def __init__(self, limit: int, overflow: Counter, label: str) -> None:
        self._limit = limit
        self._known: set[str] = set()
        self._overflow = overflow.labels(label)

    def name(self, value: str) -> str:
        """The value to use for the label."""
        if self.admit(value):
            return value
        self._overflow.inc()
        return OTHER

    def admit(self, value: str) -> bool:
        """Keep its name from now on, if there is room and it can be shown. False: it is one of the others."""
        if value in self._known:
            return True
        fits = len(self._known) < self._limit and len(value) <= LONGEST_NAME
        if not fits or NOT_PRINTABLE.search(value):
            return False
        self._known.add(value)
        return True

    def __contains__(self, value: str) -> bool:
        return value in self._known


class Children:
    """A metric's children, cached: `labels` costs more than counting."""

    def __init__(self, metric: Any) -> None:
        self._metric = metric
        self._known: dict[tuple[str, ...], Any] = {}

    def __call__(self, *labels: str) -> Any:
        """The child with these label values; its series begins here, at 0."""
        child = self._known.get(labels)
        if child is None:
            child = self._known[labels] = self._metric.labels(*labels) if labels else self._metric
        return child

    def keep_only(self, labels: Set[tuple[str, ...]]) -> None:
        """Drop every other child, with its series."""
        for known in [one for one in self._known if one not in labels]:
            self._metric.remove(*known)
            del self._known[known]


class MetricFactory:
    """Makes metrics of one registry, under our prefix."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, text: str, *labels: str) -> Children:
        """A count since the start. Prometheus' library adds `_total` to its name."""
        return Children(Counter(PREFIX + name, text, labels, registry=self._registry))

    def gauge(self, name: str, text: str, *labels: str) -> Children:
        """A value that goes up and down."""
        return Children(Gauge(PREFIX + name, text, labels, registry=self._registry))

    def histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Children:
        """How often values came, by size."""
        return Children(Histogram(PREFIX + name, text, labels, buckets=buckets, registry=self._registry))


class CountedHistogram(Collector):
    """A histogram whose values were counted by bucket elsewhere: observing each of them here would cost too much."""

    def __init__(self, name: str, text: str, bounds: Sequence[float], label: str) -> None:
        self.name = PREFIX + name
        self.labels = (label,)
        self._text = text
        self._bounds = [*map(floatToGoString, bounds), "+Inf"]
        self._counts: dict[str, tuple[list[int], float]] = {}

    def add(self, label: str, counts: Sequence[int], total: float) -> None:
        """So many more values in each bucket, and in the one beyond the last; `total` is their sum."""
        known, before = self._counts.get(label) or ([0] * len(self._bounds), 0.0)
        self._counts[label] = [a + b for a, b in zip(known, counts, strict=True)], before + total

    def describe(self) -> Iterable[Metric]:
        """Its name."""
        return [HistogramMetricFamily(self.name, self._text, labels=self.labels)]

    def collect(self) -> Iterable[Metric]:
        """Its values."""
        family = HistogramMetricFamily(self.name, self._text, labels=self.labels)
        for label, (counts, total) in list(self._counts.items()):
            family.add_metric([label], list(zip(self._bounds, accumulate(counts), strict=True)), total)
        return [family]


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

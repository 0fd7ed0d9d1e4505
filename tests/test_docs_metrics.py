"""docs/metrics.md holds the metrics that there are, no more and no fewer, as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

from proxy.checks.failures import CHECKS
from proxy.checks.guards.format import Level
from proxy.checks.guards.verdict import Fault
from proxy.core.failures import Reason
from proxy.core.prompt_memory import PromptMemory
from proxy.errors import UPSTREAM_REASONS
from proxy.policy.schema import Alignment
from proxy.server.config import ServerConfig
from proxy.server.exchange.record import Exchange, Outcome
from proxy.server.exchange.refusals import KINDS
from proxy.server.keys.authentication import REASONS, Authentication
from proxy.server.keys.store import KeyStore
from proxy.server.limits.admission import Admission
from proxy.server.limits.queue import Queue
from proxy.server.ops.access_metrics import REFUSALS, AccessMetrics
from proxy.server.ops.drops import SINKS
from proxy.server.ops.guard_metrics import UNREADABLE
from proxy.server.ops.metrics import ACTIONS, ALL_DIRECTIONS, OWN_RULES, STAGES, Metrics
from proxy.server.ops.series import OTHER, PREFIX, CountedHistogram
from proxy.server.state.pause import Pause

TEXT = (Path(__file__).parent.parent / "docs/metrics.md").read_text("utf-8")
ROW = re.compile(r"^\| `(safety_proxy_\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)
PARTS = re.compile(r"_(bucket|sum|count)$")


def metrics() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Name as it is exposed, type and labels of every metric of the registry."""
    registry = CollectorRegistry()
    made = Metrics(registry)
    made.watch(PromptMemory(b"key", 1 << 20))
    made.watch_access(access())
    for metric in list(registry._collector_to_names):
        if isinstance(metric, MetricWrapperBase):
            ending = "_total" if metric._type == "counter" else ""
            yield metric._name + ending, str(metric._type), tuple(metric._labelnames)
        elif isinstance(metric, CountedHistogram):
            yield metric.name, "histogram", metric.labels
        else:
            yield from map(shape, metric.collect())


def access() -> AccessMetrics:
    """The metrics of keys and limits, each with a sample."""
    admission = Admission(ServerConfig(upstream="http://x:1"), Pause())
    admission.queues["x"] = Queue(1, 1, 1.0)
    found = AccessMetrics(admission, Authentication(), KeyStore(Path("keys.yaml")))
    found.count(Exchange("/v1/chat/completions", key="alice"))
    return found


def shape(family: Metric) -> tuple[str, str, tuple[str, ...]]:
    """Name, type and labels of what a collector of our own gives."""
    ending = "_total" if family.type == "counter" else ""
    return family.name + ending, family.type, tuple(family.samples[0].labels)


def test_the_tables_hold_every_metric_and_no_other() -> None:
    """Each metric has one row with its type and labels; a row without a metric is wrong too."""
    rows = [(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in ROW.findall(TEXT)]
    assert sorted(rows) == sorted(metrics())


def test_whatever_is_named_in_the_text_exists() -> None:
    """Queries and alerts name metrics that there are; a histogram's parts go by its name."""
    known = {name for name, *_ in metrics()}
    named = {PARTS.sub("", name) for name in re.findall(rf"\b{PREFIX}\w+", TEXT)}
    assert named <= known


def test_every_outcome_is_explained() -> None:
    """The table of outcomes has each of them once."""
    table = TEXT[TEXT.index("| `outcome` |") :].split("\n\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == sorted([*Outcome, "outcome"])


def test_every_label_value_is_explained() -> None:
    """Each value of each closed label stands in the text in backquotes."""
    closed = [
        *UPSTREAM_REASONS,
        *Reason,
        *(level for level in Level if level is not Level.NOT_JUDGED),
        *(UNREADABLE, "answered", "cached", "cancelled", *get_args(Fault)),
        *get_args(Alignment),
        *CHECKS,
        *KINDS,
        *ALL_DIRECTIONS,
        *ACTIONS.values(),
        *STAGES,
        *SINKS,
        *REASONS,
        *(word for pair in REFUSALS for word in pair),
        *("exception", "block", "allow", "success", "failure", "blocked", "client_cancelled", "true", "false", OTHER),
        *(rule.id for rule in OWN_RULES),
    ]
    assert [value for value in closed if f"`{value}`" not in TEXT] == []

"""docs/metrics.md holds the metrics that there are, no more and no fewer, as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from proxy.server.exchange.record import Outcome
from proxy.server.ops.metrics import PREFIX, BeforeScrape, Metrics

TEXT = (Path(__file__).parent.parent / "docs/metrics.md").read_text("utf-8")
ROW = re.compile(r"^\| `(safety_proxy_\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)
PARTS = re.compile(r"_(bucket|sum|count)$")


def metrics() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Name as it is exposed, type and labels of every metric of the registry."""
    registry = CollectorRegistry()
    Metrics(registry)
    for metric in list(registry._collector_to_names):
        if isinstance(metric, BeforeScrape):
            continue
        assert isinstance(metric, MetricWrapperBase)
        ending = "_total" if metric._type == "counter" else ""
        yield metric._name + ending, str(metric._type), tuple(metric._labelnames)


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

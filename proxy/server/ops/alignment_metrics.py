"""What Prometheus is told of models: what each claims to be, requests by that, and the operator's reviews of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from prometheus_client import Counter

from proxy.policy.file_store import Status
from proxy.policy.schema import Alignment
from proxy.server.exchange.record import Exchange
from proxy.server.models.alignments import Row
from proxy.server.ops.series import OTHER, CappedLabel, MetricFactory

MAX_LISTED = 100  # models with a name of their own; they come from the model server
SHOWN_DIGEST = 12  # characters of a digest, as `ollama list` shows them


class AlignmentMetrics:
    """They are counted beside those of `proxy.server.ops.metrics`."""

    def __init__(self, make: MetricFactory, overflow: Counter) -> None:
        self._names = CappedLabel(MAX_LISTED, overflow, "listed_model")
        self._requests = make.counter(
            "requests_by_alignment", "Requests by what the model was known to be.", "alignment"
        )
        self._info = make.gauge("model_info", "1 for each model that is listed.", "model", "alignment", "digest")
        self._lapsed = make.counter("model_reviews_lapsed", "Reviews that apply no more: the model is another one.")
        self._reloads = make.counter("models_file_reloads", "Attempts to read models.yaml.", "result")
        self._listed: dict[str, set[tuple[str, ...]]] = {}  # by model server
        self._last = Status()
        self._lapsed()
        for result in ("success", "failure"):
            self._reloads(result)
        for alignment in get_args(Alignment):
            self._requests(alignment)

    def count(self, exchange: Exchange) -> None:
        """A request has ended."""
        self._requests(exchange.alignment).inc()

    def models_seen(self, upstream: str, rows: Iterable[Row]) -> None:
        """These are the models of a model server now."""
        self._listed[upstream] = {self._labels(row) for row in rows}
        listed = set().union(*self._listed.values())
        self._info.keep_only(listed)
        for labels in listed:
            self._info(*labels).set(1)

    def review_lapsed(self, _: object) -> None:
        """A review does not apply any more."""
        self._lapsed().inc()

    def models_file_read(self, status: Status) -> None:
        """models.yaml was read, or could not be."""
        self._reloads("success").inc(status.loads - self._last.loads)
        self._reloads("failure").inc(status.failures - self._last.failures)
        self._last = status

    def _labels(self, row: Row) -> tuple[str, ...]:
        name = self._names.name(row.name)
        digest = "" if name is OTHER else row.claim.digest[:SHOWN_DIGEST]
        return name, row.claim.status, digest

"""What Prometheus is told of guards and embedding models that rules ask. They are no requests of clients."""

from __future__ import annotations

from prometheus_client import Counter

from proxy.checks.guards.verdict import Verdict, VerdictError
from proxy.server.guards.models import Asked
from proxy.server.ops.series import CappedLabel, MetricFactory

MAX_GUARDS = 20
MAX_CATEGORIES = 100
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
UNREADABLE = "unreadable"


class GuardMetrics:
    """They are counted beside those of `proxy.server.ops.metrics`."""

    def __init__(self, make: MetricFactory, overflow: Counter) -> None:
        self._guards = CappedLabel(MAX_GUARDS, overflow, "guard")
        self._categories = CappedLabel(MAX_CATEGORIES, overflow, "category")
        self._requests = make.counter(
            "guard_requests", "Questions of rules to models, by how they ended.", "guard", "result"
        )
        self._seconds = make.histogram("guard_seconds", "What the models took.", SECONDS, "guard")
        self._queued = make.histogram("guard_queue_seconds", "What questions waited for their turn.", SECONDS, "guard")
        self._after = make.counter("judged_after", "Answers whose text was let out before its verdict.")
        self._verdicts = make.counter("guard_verdicts", "Verdicts of guards.", "guard", "level", "category")

    def asked(self, asked: Asked) -> None:
        """A question has been answered, or not."""
        guard = self._guards.name(asked.model)
        self._requests(guard, asked.result).inc()
        if asked.result != "cached":
            self._seconds(guard).observe(asked.seconds)
            self._queued(guard).observe(asked.queued)

    def judged_after(self) -> None:
        """Text of an answer was let out before its verdict, as a rule says."""
        self._after().inc()

    def judged(self, model: str, verdict: Verdict | VerdictError) -> None:
        """A guard has said something of one prompt."""
        guard = self._guards.name(model)
        if isinstance(verdict, VerdictError):
            self._verdicts(guard, UNREADABLE, verdict.fault).inc()
            return
        for category in verdict.categories or ("",):
            self._verdicts(guard, verdict.level.value, self._categories.name(category) if category else "").inc()

"""Questions to guards are counted apart from the requests of clients."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from proxy.core.failures import CheckFailed
from proxy.server.guards.judges import Judges
from proxy.server.ops.metrics import Metrics
from tests.fakes import reply_json
from tests.server.guards.asking import GUARD, asking, judged, says

pytestmark = pytest.mark.anyio


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    """Of a series."""
    return registry.get_sample_value(f"safety_proxy_{name}", {"guard": GUARD, **labels})


async def test_questions_and_verdicts() -> None:
    """Each question by its end with its times, each verdict by its categories, hits of the cache apart."""
    registry = CollectorRegistry()
    metrics = Metrics(registry).guards
    async with asking(says("unsafe\nS1,S99"), tell=metrics.asked) as guards:
        judges = Judges(guards.asker, metrics.judged)
        for _ in range(3):
            await judges.answer(judged())
    assert value(registry, "guard_requests_total", result="answered") == 1
    assert value(registry, "guard_requests_total", result="cached") == 2
    assert value(registry, "guard_seconds_count") == 1
    assert value(registry, "guard_queue_seconds_count") == 1
    assert value(registry, "guard_verdicts_total", level="unsafe", category="S1") == 1
    assert value(registry, "guard_verdicts_total", level="unsafe", category="unknown") == 1


async def test_replies_that_cannot_be_read() -> None:
    """They are counted with the reason."""
    registry = CollectorRegistry()
    metrics = Metrics(registry).guards
    async with asking(says("I cannot help with that."), tell=metrics.asked) as guards:
        await Judges(guards.asker, metrics.judged).answer(judged())
    assert value(registry, "guard_verdicts_total", level="unreadable", category="grammar") == 1


async def test_failures() -> None:
    """They are counted by reason."""
    registry = CollectorRegistry()
    metrics = Metrics(registry).guards
    async with asking(reply_json({"error": "no"}, status=500), tell=metrics.asked) as guards:
        with pytest.raises(CheckFailed):
            await Judges(guards.asker, metrics.judged).answer(judged())
    assert value(registry, "guard_requests_total", result="refused") == 1
    assert value(registry, "guard_seconds_count") == 1

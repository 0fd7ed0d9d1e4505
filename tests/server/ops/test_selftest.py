"""The self-test: a filter that has gone silent is noticed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from proxy.core.check import Progress, Scan
from proxy.policy.compile import compile_policies
from proxy.policy.files import read_directory
from proxy.policy.policyset import PolicySet
from proxy.policy.store import PolicyStore
from proxy.server.ops.metrics import Metrics
from proxy.server.ops.selftest import SelfTest
from tests.server.running import Store

pytestmark = pytest.mark.anyio

THREE = {
    "words.yaml": "version: 1\npolicy: words\nrules:\n- {id: a, words: [zorblax], action: block}\n",
    "cards.yaml": "version: 1\npolicy: cards\nrules:\n- {id: b, detector: credit_card, action: rewrite}\n",
    "bounds.yaml": "version: 1\npolicy: bounds\nlimits: {max_output_characters: 10}\n",
}


@pytest.fixture(name="policies")
def compiled(tmp_path: Path) -> PolicySet:
    """A policy of words, one with a detector, and one that searches nothing."""
    for name, text in THREE.items():
        (tmp_path / name).write_text(text, "utf-8")
    return compile_policies(read_directory(tmp_path), hash_key=b"key")


class Deaf:
    """A check that finds nothing any more, or that fails."""

    hold = 0

    def __init__(self, fails: bool = False) -> None:
        self._fails = fails

    def open(self) -> Scan:
        """Itself."""
        return self

    def feed(self, text: str, final: bool = False) -> Progress:
        """Nothing."""
        if self._fails:
            raise ValueError
        return Progress(len(text))


async def reported(policies: PolicySet) -> list[tuple[dict[str, bool], float]]:
    """What the self-test reports."""
    reports: list[tuple[dict[str, bool], float]] = []
    store = cast(PolicyStore, Store(cast(Any, policies)))
    await SelfTest([store], lambda results, now: reports.append((dict(results), now)), lambda: 5.0).test()
    return reports


async def test_each_policy_is_tested(policies: PolicySet) -> None:
    """Its first example, or a word of it, or its detector's own example; a policy that searches nothing has none."""
    assert await reported(policies) == [({"cards": True, "words": True}, 5.0)]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_filter_that_is_silent_is_told(
    policies: PolicySet, fails: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the matcher that serves requests finds nothing, or fails, the policy's self-test fails, and the log says
    so."""
    monkeypatch.setattr(policies, "_compose", lambda *_: (Deaf(fails),))
    caplog.set_level(logging.ERROR)
    assert await reported(policies) == [({"cards": False, "words": False}, 5.0)]
    assert "policy words no longer finds its first example" in caplog.text


def test_a_policy_that_is_gone_has_no_series() -> None:
    """Its last success would grow old, and an alert would fire for ever."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.self_tested({"one": True, "two": False}, 5.0)
    metrics.self_tested({"two": True}, 65.0)
    for name, policy, value in (
        ("successful", "one", None),
        ("last_success_timestamp_seconds", "one", None),
        ("successful", "two", 1),
        ("last_success_timestamp_seconds", "two", 65),
    ):
        assert registry.get_sample_value(f"safety_proxy_selftest_{name}", {"policy": policy}) == value

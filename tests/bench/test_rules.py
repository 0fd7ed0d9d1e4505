"""The bench's policies."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.rules import rules, write_policy
from bench.wire import tokens
from proxy.core.gate import Gate
from proxy.core.types import Direction, Kind
from proxy.policy.store import PolicyStore


@pytest.mark.anyio
@pytest.mark.parametrize(("count", "email", "loaded"), [(100, False, 100), (100, True, 101), (30, False, 30)])
async def test_policies_load_and_let_the_benchs_text_pass(tmp_path: Path, count: int, email: bool, loaded: int) -> None:
    """Rules that hit would end the very streams that are measured."""
    store = PolicyStore(write_policy(tmp_path, count, email), hash_key=b"key")
    await store.load()
    assert sum(len(policy.rules) for policy in store.current.policies) == loaded
    plan = store.current.plan(Direction.OUTPUT, model="bench")
    gate = Gate(plan.checks(Kind.CONTENT))
    text = "".join(tokens()) * 2
    assert gate.feed(text, final=True) == text
    assert not gate.findings


def test_every_rule_is_another_and_the_mix_is_even() -> None:
    """A thousand rules are ten times the mix of a hundred."""
    many = rules(1000)
    assert len({str(rule) for rule in many}) == len({rule["id"] for rule in many}) == 1000
    kinds = [rule["id"].partition(".")[0] for rule in many]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "phrase": 350,
        "word": 250,
        "folded": 100,
        "secret": 180,
        "pii": 120,
    }

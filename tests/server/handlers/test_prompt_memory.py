"""The memory of prompts in a running server: what the model server gets, what is counted, and when it is dropped."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes import FakeUpstream, reply, sse
from tests.phrases import block, rewrite
from tests.server.running import Policies, Proxy, running, said

pytestmark = pytest.mark.anyio

LONG = "A long question about nothing in particular. " * 20
ANSWER = reply(sse(*said("Yes.")))


def turns(count: int, first: str = LONG) -> list[dict[str, str]]:
    """A conversation of so many questions, with answers between them."""
    messages = [{"role": "user", "content": first}]
    for number in range(1, count):
        messages += [{"role": "assistant", "content": "Yes."}, {"role": "user", "content": f"{LONG}{number}"}]
    return messages


def lookups(proxy: Proxy) -> list[float]:
    """How much was known of the texts so far."""
    return [proxy.metric("prompt_memory_lookups_total", known=known) for known in ("all", "beginning", "nothing")]


async def sent(proxy: Proxy, upstream: FakeUpstream, messages: list[dict[str, str]]) -> list[dict[str, Any]]:
    """What the model server gets of a conversation."""
    assert (await proxy.chat(messages=messages)).status == 200
    got: list[dict[str, Any]] = upstream.requests[-1].json()["messages"]
    return got


async def test_the_next_turn_knows_the_texts_of_the_one_before() -> None:
    """Only the new text is read; the memory is seen to fill."""
    policies = Policies(input=[rewrite("secret", "[x]")])
    async with FakeUpstream(ANSWER) as upstream, running(upstream, policies) as proxy:
        await sent(proxy, upstream, turns(2))
        assert lookups(proxy) == [0, 0, 2]
        await sent(proxy, upstream, turns(3))
        assert lookups(proxy) == [2, 0, 3]
        assert proxy.metric("prompt_memory_entries") == 3
        assert 0 < proxy.metric("prompt_memory_bytes") < proxy.metric("prompt_memory_limit_bytes") == 64 << 20


async def test_rewritten_and_replaced_texts_are_sent_alike_in_each_turn() -> None:
    """So the model server, which keeps what it has read of a conversation, goes on where it was: also the notice names
    no request."""
    policies = Policies(input=[rewrite("secret", "[x]"), block("FORBIDDEN")])
    messages = [*turns(1, "a FORBIDDEN question, " + LONG), *turns(2, "a secret " + LONG), *turns(1)]
    messages[0:0] = [{"role": "assistant", "content": "FORBIDDEN words"}]
    async with FakeUpstream(ANSWER) as upstream, running(upstream, policies) as proxy:
        first = await sent(proxy, upstream, messages)
        assert [message["content"] for message in first[:2]] == ["Stopped by test. (policy test)"] * 2
        assert first[2]["content"] == "a [x] " + LONG
        known = lookups(proxy)[0]
        second = await sent(proxy, upstream, [*messages, *turns(1)])
        assert second[: len(first)] == first
        assert lookups(proxy)[0] > known
        assert [proxy.metric("findings_total", **labels(rule, direction)) for rule, direction in FOUND] == [4, 2]
        assert (await proxy.exchange(0)).outcome == (await proxy.exchange(1)).outcome == "rewritten"


FOUND = [("block.FORBIDDEN", "history"), ("rewrite.secret", "history")]


def labels(rule: str, direction: str) -> dict[str, str]:
    """Of a finding."""
    return {"policy": "test", "rule": rule, "direction": direction, "action": rule.partition(".")[0]}


async def test_an_edited_policy_knows_nothing() -> None:
    """What other checks have found is dropped."""
    policies = Policies(input=[rewrite("secret", "[x]")])
    async with FakeUpstream(ANSWER) as upstream, running(upstream, policies) as proxy:
        await sent(proxy, upstream, turns(2, "my secret, " + LONG))
        proxy.store.current = Policies(input=[rewrite("question", "[y]")], revision="revision-2")
        second = await sent(proxy, upstream, turns(2, "my secret, " + LONG))
        assert second[0]["content"] == "my secret, " + LONG.replace("question", "[y]")
        assert lookups(proxy)[0] == 0


async def test_without_a_memory_nothing_is_kept() -> None:
    """Then nobody can tell by the time whether a text was seen before."""
    policies = Policies(input=[rewrite("secret", "[x]")])
    async with FakeUpstream(ANSWER) as upstream, running(upstream, policies, prompt_memory=0) as proxy:
        first = await sent(proxy, upstream, turns(2, "a secret, " + LONG))
        assert await sent(proxy, upstream, turns(2, "a secret, " + LONG)) == first
        assert proxy.registry.get_sample_value("safety_proxy_prompt_memory_bytes") is None

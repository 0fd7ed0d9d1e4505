"""Limits in a running server: what a client is told, in its dialect's shape, and what is counted."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from proxy.server.keys.store import KeyStore
from proxy.server.limits.queue import Queue
from tests.fakes import FakeUpstream, Stall, Wait, reply, sse
from tests.phrases import block
from tests.server.keys.samples import bearer, secret, written
from tests.server.running import Policies, Proxy, chat_body, chunk, running, said
from tests.waiting import until

pytestmark = pytest.mark.anyio

ANSWER = reply(sse(*said("Hello")))
USED = chunk(finish="stop") | {"usage": {"prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42}}
COUNTED = reply(sse(*said("Hello")[:-2], USED, "[DONE]"))
BUSY = reply([*sse(chunk("Hello")), Stall()])
CHAT = "/v1/chat/completions"


def store(path: Path, **limits: int) -> KeyStore:
    """Alice has limits, Bob has none."""
    found = KeyStore(written(path / "keys.yaml", {"name": "alice", "limits": limits}, {"name": "bob"}))
    found.load()
    return found


def shown(name: str) -> str:
    """A header line with a key."""
    return f"authorization: Bearer {secret(name)}"


def refusals(proxy: Proxy, limit: str, scope: str) -> float:
    """How many requests a limit has refused."""
    return proxy.metric("limit_refusals_total", limit=limit, scope=scope)


def queue_of(proxy: Proxy) -> Queue:
    """The queue of the one model server."""
    (queue,) = proxy.server.runtime.admission.queues.values()
    return queue


SHAPES: dict[str, Any] = {
    CHAT: lambda body: (body["error"]["type"], body["error"]["code"]) == ("rate_limit_error", "rate_limit_exceeded"),
    "/v1/messages": lambda body: body["error"]["type"] == "rate_limit_error",
    "/api/chat": lambda body: body["error"].startswith("The limit of this key"),
    "/api/v1/chat": lambda body: body["error"]["code"] == "rate_limit_exceeded",
}


@pytest.mark.parametrize("path", SHAPES)
async def test_requests_a_minute(tmp_path: Path, path: str) -> None:
    """429 with Retry-After in the shape of the path; another key is served on, and nothing reaches the model server."""
    keys = store(tmp_path, requests_per_minute=2)
    async with FakeUpstream(lambda _: ANSWER) as upstream, running(upstream, keys=keys) as proxy:
        assert [(await proxy.chat(shown("alice"))).status for _ in range(2)] == [200, 200]
        answer = await proxy.client.post(proxy.url + path, json=chat_body(), headers=bearer("alice"))
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert SHAPES[path](answer.json())
        assert (await proxy.exchange(2)).outcome == "rejected"
        assert len(upstream.requests) == 2
        assert (await proxy.chat(shown("bob"))).status == 200
        assert refusals(proxy, "requests", "key") == 1
        assert proxy.metric("key_requests_total", key="alice", outcome="allowed") == 2
        assert proxy.metric("key_requests_total", key="alice", outcome="rejected") == 1


async def test_requests_of_all() -> None:
    """Without keys too."""
    async with FakeUpstream(lambda _: ANSWER) as upstream, running(upstream, requests_per_minute=1) as proxy:
        assert (await proxy.chat()).status == 200
        assert (await proxy.chat()).status == 429
        assert refusals(proxy, "requests", "all") == 1


@pytest.mark.parametrize(("answer", "tokens"), [(COUNTED, 42), (ANSWER, 2 + 3)])
async def test_tokens_a_minute(tmp_path: Path, answer: Any, tokens: int) -> None:
    """Those of the model server, or an estimate: 4 characters of a prompt make one, and each event does."""
    keys = store(tmp_path, tokens_per_minute=tokens)
    async with FakeUpstream(lambda _: answer) as upstream, running(upstream, keys=keys) as proxy:
        assert (await proxy.chat(shown("alice"))).status == 200
        await proxy.server.runtime.admission.counted()
        refused = await proxy.chat(shown("alice"))
        assert refused.status == 429
        assert f"{tokens} tokens a minute" in refused.json()["error"]["message"]
        assert proxy.metric("key_tokens_total", key="alice") == tokens
        assert (await proxy.chat(shown("bob"))).status == 200


async def test_streams_at_once(tmp_path: Path) -> None:
    """429 while so many of the key's requests are under way; when one has ended the next is served."""
    keys = store(tmp_path, streams=1)
    go_on = asyncio.Event()
    first, *rest = sse(*said("Hello"))[1:]
    answers = reply([first, Wait(go_on), *rest])
    async with FakeUpstream(lambda _: answers) as upstream, running(upstream, keys=keys) as proxy, proxy.wire() as wire:
        await wire.post(CHAT, chat_body(), shown("alice"))
        await wire.until(b"Hello")
        refused = await proxy.chat(shown("alice"))
        assert (refused.status, refused.json()["error"]["code"]) == (429, "too_many_streams")
        assert refusals(proxy, "streams", "key") == 1
        go_on.set()
        await wire.answer()
        await proxy.exchange(1)
        assert (await proxy.chat(shown("alice"))).status == 200


def _waits(queue: Queue, count: int) -> bool:
    return queue.waiting == count


async def test_a_turn_in_the_queue() -> None:
    """A request waits while the model server is busy; its place is in a header, the wait in the record."""
    go_on = asyncio.Event()
    first, *rest = sse(*said("Hello"))[1:]
    answers = [reply([first, Wait(go_on), *rest]), ANSWER, ANSWER]
    async with (
        FakeUpstream(answers) as upstream,
        running(upstream, max_streams=1, max_queue=2) as proxy,
        proxy.wire() as one,
        proxy.wire() as two,
        proxy.wire() as three,
    ):
        await one.post(CHAT, chat_body())
        await one.until(b"Hello")
        queue = queue_of(proxy)
        for place, wire in enumerate((two, three), start=1):
            await wire.post(CHAT, chat_body())
            await until(partial(_waits, queue, place))
        assert proxy.metric("queue_length", upstream=upstream.url) == 2
        full = await proxy.chat()
        assert (full.status, full.json()["error"]["code"]) == (503, "queue_full")
        assert full.headers["retry-after"] == "5"
        assert len(upstream.requests) == 1
        go_on.set()
        headers = [(await wire.answer()).headers for wire in (one, two, three)]
        assert [found.get("x-safety-proxy-queue") for found in headers] == [None, "1", "2"]
        exchange = await proxy.exchange(2)
        assert exchange.queued > 0
        assert (queue.running, queue.waiting) == (0, 0)
        assert refusals(proxy, "queue", "all") == 1


async def test_a_stream_that_waits_is_kept_alive() -> None:
    """It gets comments meanwhile; and when its turn does not come in time, an explicit error and an end."""
    async with (
        FakeUpstream(lambda _: BUSY) as upstream,
        running(upstream, max_streams=1, queue_timeout=0.3, keep_alive=0.05) as proxy,
        proxy.wire() as one,
        proxy.wire() as two,
    ):
        await one.post(CHAT, chat_body())
        await one.until(b"Hello")
        await two.post(CHAT, chat_body())
        answer = await two.answer()
        assert (answer.status, answer.complete) == (200, True)
        assert answer.body.startswith(b":")
        assert answer.headers["x-safety-proxy-queue"] == "1"
        assert answer.events()[-1]["error"]["code"] == "upstream_busy"
        assert len(upstream.requests) == 1
        assert queue_of(proxy).running == 1


async def test_a_blocked_prompt_does_not_wait() -> None:
    """It needs no model, so it gets its answer while others wait."""
    async with (
        FakeUpstream(lambda _: BUSY) as upstream,
        running(upstream, Policies(input=[block("BAD")]), max_streams=1) as proxy,
        proxy.wire() as one,
    ):
        await one.post(CHAT, chat_body())
        await one.until(b"Hello")
        assert (await proxy.chat(content="BAD")).status == 400


async def test_a_client_that_leaves_the_queue() -> None:
    """Its place is free, and the model server never hears of it."""
    async with (
        FakeUpstream(lambda _: BUSY) as upstream,
        running(upstream, max_streams=1) as proxy,
        proxy.wire() as one,
        proxy.wire() as two,
    ):
        await one.post(CHAT, chat_body())
        await one.until(b"Hello")
        queue = queue_of(proxy)
        await two.post(CHAT, chat_body())
        await until(lambda: queue.waiting == 1)
        two.leave()
        assert (await proxy.exchange(0)).outcome == "client_cancelled"
        assert (queue.running, queue.waiting, len(upstream.requests)) == (1, 0, 1)


async def test_blocked_requests_cool_a_key_down(tmp_path: Path) -> None:
    """After so many in a minute it gets 429 with a sentence, whatever it asks; other keys do not."""
    policies = Policies(input=[block("BAD")])
    async with (
        FakeUpstream(lambda _: ANSWER) as upstream,
        running(upstream, policies, keys=store(tmp_path), cool_down_after=2, cool_down=100.0) as proxy,
    ):
        assert [(await proxy.chat(shown("alice"), content="BAD")).status for _ in range(2)] == [400, 400]
        refused = await proxy.chat(shown("alice"))
        assert refused.status == 429
        assert refused.json()["error"]["message"].startswith("Too many blocked requests: this key has to wait for")
        assert refused.headers["retry-after"] == "100"
        assert (await proxy.chat(shown("bob"))).status == 200
        assert refusals(proxy, "cool_down", "key") == 1
        assert proxy.metric("cool_downs_total") == 1
        assert proxy.metric("key_requests_total", key="alice", outcome="blocked") == 2


async def test_refused_keys_are_counted(tmp_path: Path) -> None:
    """By reason."""
    async with FakeUpstream([]) as upstream, running(upstream, keys=store(tmp_path)) as proxy:
        await proxy.chat()
        await proxy.chat("x-api-key: wrong")
        assert [proxy.metric("key_refusals_total", reason=reason) for reason in ("missing", "wrong")] == [1, 1]


async def test_names_of_keys_do_not_make_series_without_end(tmp_path: Path) -> None:
    """The first fifty that are used have series of their own."""
    keys = KeyStore(written(tmp_path / "keys.yaml", *({"name": f"key{number}"} for number in range(60))))
    keys.load()
    async with FakeUpstream(lambda _: ANSWER) as upstream, running(upstream, keys=keys) as proxy:
        for number in range(60):
            assert (await proxy.chat(shown(f"key{number}"))).status == 200
        await proxy.exchange(59)
        assert proxy.metric("key_requests_total", key="key49", outcome="allowed") == 1
        assert proxy.metric("key_requests_total", key="key50", outcome="allowed") == 0
        assert proxy.metric("key_requests_total", key="_other", outcome="allowed") == 10


async def test_moderations_count_as_requests(tmp_path: Path) -> None:
    """They cost the proxy as much as a prompt does; without tokens, and a model is not asked."""
    keys = store(tmp_path, requests_per_minute=1, tokens_per_minute=5)
    async with FakeUpstream(ANSWER) as upstream, running(upstream, keys=keys) as proxy:
        for status in (200, 429):
            body = {"input": "Is this fine?"}
            answer = await proxy.client.post(f"{proxy.url}/v1/moderations", json=body, headers=bearer("alice"))
            assert answer.status_code == status
        assert answer.json()["error"]["code"] == "rate_limit_exceeded"
        assert "retry-after" in answer.headers
        assert refusals(proxy, "requests", "key") == 1
        assert not upstream.requests

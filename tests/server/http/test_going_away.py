"""Clients that leave, and model servers that have to stop for it: at once, and never used again."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes import Answer, FakeUpstream, Stall, Step, reply, sse
from tests.fakes import chunk as http_chunk
from tests.fakes import head as http_head
from tests.phrases import block
from tests.server.running import Policies, Proxy, Wire, chat_body, chunk, head, running, said, soon
from tests.waiting import at_once, at_rest

pytestmark = pytest.mark.anyio

FORBIDDEN = Policies(input=[block("FORBIDDEN")], output=[block("FORBIDDEN")])
SSE_HEAD = http_head(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")])
HELLO = b"".join(sse(chunk("Hello")))
BUSY = reply([HELLO, Stall()])
"""An answer that has begun and says nothing more."""
LOADING = Answer((Stall(),))
"""A model server that loads its model: not even a head."""
THINKING = Answer((SSE_HEAD, Stall()))
"""A model server that reads a long prompt: a head, but no event."""
LEAVE = {"close": Wire.leave, "half-close": Wire.half_close}

leaves = pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE.keys())


async def assert_stopped(upstream: FakeUpstream) -> None:
    """The model server has seen the connection of its first request end, at once."""
    await at_once((await upstream.exchange()).client_closed)


async def assert_not_reused(proxy: Proxy, upstream: FakeUpstream) -> None:
    """The next request gets a connection of its own, and its answer."""
    answer = await proxy.chat()
    assert answer.events()[-1] == "[DONE]"
    assert upstream.requests[-1].connection != upstream.requests[0].connection


@leaves
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("answer", [BUSY, LOADING, THINKING], ids=["busy", "loading", "thinking"])
async def test_a_client_that_goes_away(leave: object, stream: bool, answer: Answer) -> None:
    """When the client goes away (also before the upstream has answered at all) the upstream connection is closed
    at once and never reused."""
    assert callable(leave)
    answers = [answer, reply(sse(*said("Hi")))]
    async with FakeUpstream(answers) as upstream, running(upstream, FORBIDDEN) as proxy:
        async with proxy.wire() as wire:
            await wire.post("/v1/chat/completions", chat_body(stream=stream))
            await upstream.exchange()
            if stream and answer is BUSY:
                await wire.until(b"Hello")
            leave(wire)
            await assert_stopped(upstream)
        exchange = await proxy.exchange()
        assert exchange.outcome == "client_cancelled"
        await assert_not_reused(proxy, upstream)


async def test_a_client_that_leaves_while_it_sends() -> None:
    """A client that leaves while still sending its body: nothing goes upstream."""
    async with FakeUpstream([]) as upstream, running(upstream, FORBIDDEN) as proxy:
        async with proxy.wire() as wire:
            await wire.send(head("/v1/chat/completions", "content-length: 1000") + b'{"messages": ')
            await soon(begun(proxy))
            wire.leave()
            assert (await proxy.exchange()).outcome == "client_cancelled"
        assert upstream.connections == 0


async def test_a_body_that_ends_early() -> None:
    """A body shorter than its content-length is no request, even if what came is complete JSON."""
    body = b'{"messages": [{"role": "user", "content": "Hi"}]}'
    async with FakeUpstream([]) as upstream, running(upstream, FORBIDDEN) as proxy:
        async with proxy.wire() as wire:
            await wire.send(head("/v1/chat/completions", f"content-length: {len(body) + 1}") + body)
            await soon(begun(proxy))
            wire.half_close()
            assert (await proxy.exchange()).outcome == "client_cancelled"
        assert upstream.connections == 0


async def test_a_block_stops_the_model() -> None:
    """On a block the upstream connection is closed at once and never reused."""
    stream: list[Step] = [*sse(chunk("Take the "), chunk("FORBIDDEN")), Stall()]
    answers = [reply(stream), reply(sse(*said("Hi")))]
    async with FakeUpstream(answers) as upstream, running(upstream, FORBIDDEN) as proxy:
        answer = await proxy.chat()
        assert answer.complete
        assert answer.events()[-1] == "[DONE]"
        await assert_stopped(upstream)
        await assert_not_reused(proxy, upstream)
        assert proxy.metric("wasted_events_total", reason="blocked") == 2


async def test_a_block_stops_the_model_for_a_client_that_does_not_stream() -> None:
    """A client that does not stream gets its answer as soon as a rule has ended it, and the model stops."""
    stream: list[Step] = [*sse(chunk("Take the "), chunk("FORBIDDEN")), Stall()]
    async with FakeUpstream(reply(stream)) as upstream, running(upstream, FORBIDDEN) as proxy:
        answer = await proxy.chat(stream=False)
        assert answer.json()["choices"][0]["finish_reason"] == "content_filter"
        await assert_stopped(upstream)


async def test_what_follows_an_answer_is_not_the_next_one() -> None:
    """An answer that goes on after its [DONE] is closed, and what it said is given to nobody."""
    after = Answer((SSE_HEAD, http_chunk(b"".join(sse(*said("Hi")))), http_chunk(b"data: {}\n\n"), Stall()))
    async with FakeUpstream([after, reply(sse(*said("You")))]) as upstream, running(upstream, FORBIDDEN) as proxy:
        assert (await proxy.chat()).text() == "Hi"
        await (await upstream.exchange()).wait_client_closed()
        assert (await proxy.chat()).text() == "You"


async def test_a_slow_client_stops_the_stream() -> None:
    """A client that does not read stops the upstream (back-pressure) instead of filling the proxy's memory."""
    event = b"".join(sse(chunk("x" * 1000))) * 50
    flood = reply([*[event] * 2000, Stall()])
    async with FakeUpstream(flood, boundaries=False) as upstream, running(upstream) as proxy, proxy.wire() as wire:
        await wire.post("/v1/chat/completions", chat_body())
        exchange = await upstream.exchange()
        await at_rest(lambda: exchange.bytes_sent)
        assert not exchange.answered.is_set()
        assert 0 < exchange.bytes_sent < 60_000_000
        wire.leave()
        await exchange.wait_client_closed()
        assert (await proxy.exchange()).outcome == "client_cancelled"


async def test_a_client_that_never_reads_is_given_up() -> None:
    """A client that reads nothing for the idle time-out is cut off, so that it does not hold the model for ever."""
    event = b"".join(sse(chunk("x" * 1000))) * 50
    flood = reply([*[event] * 2000, Stall()])
    async with (
        FakeUpstream(flood, boundaries=False) as upstream,
        running(upstream, idle_timeout=0.3) as proxy,
        proxy.wire() as wire,
    ):
        await wire.post("/v1/chat/completions", chat_body())
        assert (await proxy.exchange()).outcome == "client_cancelled"
        await (await upstream.exchange()).wait_client_closed()


async def test_many_aborted_streams_leave_nothing_behind() -> None:
    """After 50 clients that left in mid-stream, nothing is under way and every upstream connection is closed."""

    async def come_and_go(proxy: Proxy) -> None:
        async with proxy.wire() as wire:
            await wire.post("/v1/chat/completions", chat_body())
            await wire.until(b"Hello")
            wire.leave()

    async with FakeUpstream(lambda _: BUSY) as upstream, running(upstream, FORBIDDEN) as proxy:
        await asyncio.gather(*(come_and_go(proxy) for _ in range(50)))
        await proxy.exchange(49)
        await asyncio.gather(*(exchange.wait_client_closed() for exchange in upstream.exchanges))
        assert proxy.metric("requests_in_flight", endpoint="/v1/chat/completions") == 0


async def begun(proxy: Proxy) -> None:
    """Wait until an exchange has begun."""
    await proxy.seen.first()


@pytest.mark.parametrize("transport", ["own", "httpx"])
async def test_both_transports(transport: str) -> None:
    """Either transport serves, stops the model on a block, sees a client go, and keeps whole connections."""
    clean = reply(sse(*said("Hello")))
    blocked: list[Step] = [*sse(chunk("FORBIDDEN")), Stall()]
    async with (
        FakeUpstream([clean, clean, reply(blocked), BUSY]) as upstream,
        running(upstream, FORBIDDEN, transport=transport) as proxy,
        proxy.wire() as wire,
    ):
        for _ in range(2):
            assert (await proxy.chat()).body == b"".join(sse(*said("Hello")))
        assert (await proxy.chat()).events()[-1] == "[DONE]"
        await (await upstream.exchange(2)).wait_client_closed()
        await wire.post("/v1/chat/completions", chat_body())
        await wire.until(b"Hello")
        wire.leave()
        await at_once((await upstream.exchange(3)).client_closed)

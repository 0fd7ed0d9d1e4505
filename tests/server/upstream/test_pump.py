"""Answers that are handed on in the socket's own callback, without a task for each read."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.fakes import FakeUpstream, reply, sse
from tests.server.faulty_server import Peer, answers, chunked
from tests.server.running import chat_body, running, said
from tests.server.transports import loops, scripted
from tests.server.upstream.test_transport import origin_of
from tests.waiting import at_rest


@pytest.fixture(scope="module", params=loops())
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Every test here runs on uvloop and on asyncio's own loop."""
    return request.param


@scripted
async def test_every_read_is_handed_on_and_the_end_is_told() -> None:
    """Pieces come one by one, also those that were there before; None is the end."""
    step = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(chunked(b"0", end=b""))
        for _ in range(3):
            await step.wait()
            step.clear()
            await peer.send(b"1\r\n1\r\n")
        await peer.send(b"0\r\n\r\n")

    async with origin_of(script) as (_, origin):
        response = await origin.request(b"GET", b"/")
        got: list[bytes] = []

        def take(data: bytes) -> None:
            got.append(data)
            step.set()

        assert await response.pump(take) is None
        assert b"".join(got) == b"0111"
        assert len(got) == 4
        assert await response.read_some() == b""


@scripted
async def test_whoever_takes_may_stop_and_go_on() -> None:
    """After bytes, which the pump returns, nothing is handed on until the next pump, which begins with the rest."""
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(chunked(b"first", end=b""))
        await go_on.wait()
        await peer.send(b"6\r\nsecond\r\n0\r\n\r\n")

    async with origin_of(script) as (_, origin):
        response = await origin.request(b"GET", b"/")
        got: list[bytes] = []

        def take(data: bytes) -> bytes:
            got.append(data)
            return b"unsent" + data[:0]

        assert await response.pump(take) == b"unsent"
        go_on.set()
        assert await response.pump(take) == b"unsent"
        assert got == [b"first", b"second"]
        assert await response.pump(take) is None


@scripted
@pytest.mark.parametrize("late", [False, True])
async def test_an_error_of_whoever_takes_is_raised(late: bool) -> None:
    """It ends the pump, in the callback as well as before it, and an answer that is then given up is gone."""
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(chunked(b"word", end=b""))
        await go_on.wait()
        await peer.send(b"4\r\nword\r\n")

    async with origin_of(script) as (server, origin):
        response = await origin.request(b"GET", b"/")
        left = 2 if late else 1

        def take(data: bytes) -> None:
            nonlocal left
            left -= 1
            go_on.set()
            if not left:
                raise ValueError("this check fails")

        with pytest.raises(ValueError, match="this check fails"):
            await response.pump(take)
        go_on.set()
        response.abort()
        await server.all_gone()


@scripted
async def test_a_cut_comes_after_what_had_arrived() -> None:
    """A reset in mid-answer: what came before it is handed on, then the error is raised."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(chunked(b"word", end=b""))
        peer.half_close()

    async with origin_of(script) as (_, origin):
        response = await origin.request(b"GET", b"/")
        got: list[bytes] = []
        with pytest.raises(httpx.RemoteProtocolError):
            await response.pump(got.append)
        assert got == [b"word"]


@scripted
async def test_a_cancelled_pump_gives_the_answer_up() -> None:
    """Its connection is closed and nothing more is handed on."""

    async def silent(peer: Peer) -> None:
        await peer.request()
        await peer.send(chunked(end=b""))

    async with origin_of(silent, answers(chunked(b"next"))) as (server, origin):
        response = await origin.request(b"GET", b"/")
        pump = asyncio.ensure_future(response.pump(lambda data: None))
        await asyncio.sleep(0)
        pump.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pump
        assert await (await origin.request(b"GET", b"/")).read_some() == b"next"
        assert server.connections == 2


@scripted
@pytest.mark.parametrize("transport", ["own", "httpx"])
async def test_a_client_that_reads_late_gets_all(transport: Any) -> None:
    """Far more than all buffers hold, to a client that begins to read when nothing more is taken: whole, in order."""
    texts = [f"{number} {'x' * 20_000}" for number in range(600)]
    flood = reply([b"".join(sse(*said(*texts)))])
    async with (
        FakeUpstream(flood, boundaries=False) as upstream,
        running(upstream, transport=transport) as proxy,
        proxy.wire() as wire,
    ):
        await wire.post("/v1/chat/completions", chat_body())
        exchange = await upstream.exchange()
        await at_rest(lambda: exchange.bytes_sent)
        answer = await wire.answer()
    assert answer.complete
    assert answer.text() == "".join(texts)

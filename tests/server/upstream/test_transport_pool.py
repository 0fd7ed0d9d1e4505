"""Connections: reused, stale, given up, read slowly. Over both transports; what differs is stated where it does."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.server.faulty_server import Peer, Script, answers, chunked, full_backlog, ok
from tests.server.transports import Make, both, loops, meeting, scripted
from tests.waiting import PATIENCE, a_moment


@pytest.fixture(scope="module", params=loops())
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Every test here runs on uvloop and on asyncio's own loop."""
    return request.param


# Reuse


@both()
@scripted
async def test_one_connection_for_many_requests(make: Make) -> None:
    """Requests one after the other share one connection."""
    async with meeting(make, answers(*[ok(b"%d" % i) for i in range(20)])) as (server, client):
        for i in range(20):
            assert (await client.post("/", content=b"hi")).content == b"%d" % i
        assert server.connections == 1


@both()
@scripted
async def test_many_streams_at_once(make: Make) -> None:
    """300 streams are open together, each with its own connection: no limit stops the 101st."""
    everybody = asyncio.Barrier(300)

    async def script(peer: Peer) -> None:
        path = (await peer.request()).split()[1]
        await everybody.wait()
        await peer.send(chunked(path, path))

    async with meeting(make, script) as (server, client):
        responses = await asyncio.gather(*[client.get(f"/{i}") for i in range(300)])
        assert [response.text for response in responses] == [f"/{i}/{i}" for i in range(300)]
        assert server.connections == 300


async def speaks_unasked(make: Make, extra: bytes) -> None:
    """An idle connection says `extra`; the request after that must get its own answer."""
    idle, spoken = asyncio.Event(), asyncio.Event()

    async def forger(peer: Peer) -> None:
        await peer.request()
        await peer.send(ok(b"first"))
        await idle.wait()
        await peer.send(extra)
        spoken.set()
        await peer.request()
        await peer.send(ok(b"the forger's second"))

    async with meeting(make, forger, answers(ok(b"second"))) as (_, client):
        assert (await client.get("/")).content == b"first"
        idle.set()
        await spoken.wait()
        await a_moment()  # the loop reads the socket
        assert (await client.get("/")).content == b"second"


@both()
@scripted
async def test_garbage_on_an_idle_connection(make: Make) -> None:
    """Bytes that are not HTTP, on an idle connection, end it; the next request gets its own answer."""
    await speaks_unasked(make, b"garbage")


@both(library_differs="aiohttp keeps the bytes and takes them for the answer to the next request")
@pytest.mark.parametrize("extra", [ok(b"forged"), b"HTTP/1.1 200"], ids=["an answer", "half an answer"])
@scripted
async def test_answer_on_an_idle_connection(make: Make, extra: bytes) -> None:
    """An answer to no request ends its connection and is served to nobody: it may be another user's."""
    await speaks_unasked(make, extra)


@both()
@scripted
async def test_answer_with_another_in_tow(make: Make) -> None:
    """A second answer in the same bytes as the first is served to nobody, and the connection is not used again."""
    async with meeting(make, answers(ok(b"first") + ok(b"forged")), answers(ok(b"second"))) as (server, client):
        assert (await client.get("/")).content == b"first"
        assert (await client.get("/")).content == b"second"
        assert server.connections == 2


@both(library_differs="aiohttp repeats only idempotent methods; a POST on a stale connection fails")
@pytest.mark.parametrize("close", [Peer.close, Peer.half_close, Peer.reset])
@scripted
async def test_stale_connection(make: Make, close: Callable[[Peer], None]) -> None:
    """A request that meets the end of an idle connection, with no byte of an answer, is repeated on a fresh one."""

    async def closes_on_the_second(peer: Peer) -> None:
        await peer.request()
        await peer.send(ok(b"first"))
        await peer.request()
        close(peer)

    async with meeting(make, closes_on_the_second, answers(ok(b"second"))) as (server, client):
        assert (await client.post("/", content=b"hi")).content == b"first"
        assert (await client.post("/", content=b"hi")).content == b"second"
        assert server.connections == 2


@both()
@pytest.mark.parametrize("method", ["GET", "POST"])
@scripted
async def test_no_retry_storm(make: Make, method: str) -> None:
    """However many stale connections there are, one request is sent twice at most."""
    everybody = asyncio.Barrier(5)
    again: list[Peer] = []

    async def stale(peer: Peer) -> None:
        await peer.request()
        if not again:
            await everybody.wait()
            await peer.send(ok())
            await peer.request()
        again.append(peer)
        peer.close()

    async with meeting(make, stale) as (_, client):
        await asyncio.gather(*[client.request(method, "/") for _ in range(5)])
        with pytest.raises(httpx.TransportError):
            await client.request(method, "/")
        assert len(again) <= 2


@both(library_differs="aiohttp repeats a GET also when part of an answer has come")
@scripted
async def test_no_retry_after_a_byte(make: Make) -> None:
    """A reused connection that breaks after one byte of an answer is an error: the server may have done the work."""

    async def breaks_on_the_second(peer: Peer) -> None:
        await peer.request()
        await peer.send(ok())
        await peer.request()
        await peer.send(b"H")
        peer.close()

    async with meeting(make, breaks_on_the_second) as (server, client):
        await client.get("/")
        with pytest.raises(httpx.TransportError):
            await client.get("/")
        assert server.connections == 1


@both()
@scripted
async def test_server_that_closes_an_idle_connection(make: Make) -> None:
    """A connection that the server has closed in the meantime is not used: the next request opens one."""

    async def closes(peer: Peer) -> None:
        await peer.request()
        await peer.send(ok())
        peer.half_close()

    async with meeting(make, closes) as (server, client):
        await client.post("/", content=b"hi")
        await server.tasks[0]
        await client.post("/", content=b"hi")
        assert server.connections == 2


# A client that gives up


async def endless(peer: Peer) -> None:
    """A stream that says one word and then nothing."""
    await peer.request()
    await peer.send(chunked(b"word", end=b""))


@both()
@scripted
async def test_close_in_the_middle(make: Make) -> None:
    """Closing an unfinished answer closes its connection at once; the next request gets a fresh one."""
    async with meeting(make, endless, answers(ok(b"next"))) as (server, client):
        async with client.stream("GET", "/") as response:
            assert await anext(response.aiter_raw()) == b"word"
        await server.tasks[0]
        assert (await client.get("/")).content == b"next"


@both()
@scripted
async def test_cancellation_at_every_step(make: Make) -> None:
    """Wherever a request is cancelled, the next one gets its own answer, and nothing is left open."""

    async def echo(peer: Peer) -> None:
        while True:
            path = (await peer.request()).split()[1]
            await peer.send(b"HTTP/1.1 100 C\r\n\r\n", chunked(path, end=b""), b"1\r\n!\r\n", b"0\r\n\r\n")

    async with meeting(make, echo) as (_, client):
        for ticks in itertools.count():
            task = asyncio.ensure_future(client.get(f"/{ticks}"))
            for _ in range(ticks):
                await asyncio.sleep(0)
            task.cancel()
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
            assert (await client.get("/next")).text == "/next!"
            if isinstance(outcome, httpx.Response):
                break
            assert isinstance(outcome, asyncio.CancelledError)
    assert ticks > 3


@both()
@scripted
async def test_cancellation_of_a_fresh_connection_at_every_step(make: Make) -> None:
    """The same when each request has to open its connection: none is left open, made or half made."""

    async def echo(peer: Peer) -> None:
        path = (await peer.request()).split()[1]
        await peer.send(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", path)
        peer.half_close()

    async with meeting(make, echo) as (server, client):
        for ticks in itertools.count():
            task = asyncio.ensure_future(client.get(f"/{ticks}"))
            for _ in range(ticks):
                await asyncio.sleep(0)
            task.cancel()
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(outcome, httpx.Response):
                break
            assert isinstance(outcome, asyncio.CancelledError)
            await server.all_gone()
    assert ticks > 5


@both()
@scripted
async def test_cancellation_while_connecting(make: Make) -> None:
    """A request that is cancelled before its connection is made ends at once."""
    with full_backlog() as url:
        async with httpx.AsyncClient(transport=make(), timeout=PATIENCE) as client:
            task = asyncio.ensure_future(client.get(url))
            for _ in range(10):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


@both()
@pytest.mark.parametrize("script", [answers(), endless], ids=["before the head", "within the body"])
@scripted
async def test_cancellation_while_the_server_works(make: Make, script: Script) -> None:
    """A cancelled request closes its connection at once, before the head and within the body: the model can stop."""
    working = asyncio.Event()

    async def tells(peer: Peer) -> None:
        await script(peer)
        if script is not endless:
            await peer.request()
        working.set()

    async with meeting(make, tells) as (server, client):
        task = asyncio.ensure_future(client.get("/"))
        await working.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.all_gone()


# A client that reads slowly


@both()
@scripted
async def test_slow_reader(make: Make) -> None:
    """A reader that stops stops the server: of 64 MiB only buffers' worth leaves it; then all of it arrives."""
    piece = bytes(range(256)) * 256

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (len(piece) * 1024))
        await peer.flood(piece, 1024)

    async with meeting(make, script) as (server, client), client.stream("GET", "/") as response:
        await server.peers[0].blocked.wait()
        assert server.peers[0].sent < 16 * 2**20
        size = 0
        async for data in response.aiter_raw():
            assert data == (piece * (len(data) // 65536 + 2))[size % 256 :][: len(data)]
            size += len(data)
    assert size == len(piece) * 1024

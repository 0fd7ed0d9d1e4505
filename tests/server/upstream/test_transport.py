"""The project's own transport, without httpx's layers: what the library does not have, and what no client may see."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx
import pytest

from proxy.server.upstream.connection import MAX_BUFFERED
from proxy.server.upstream.http1 import ResponseParser
from proxy.server.upstream.transport import NO_TIMEOUTS, Http1Origin, Http1Response, Http1Transport, Timeouts
from tests.server.faulty_server import FaultyServer, Peer, Script, answers, chunked, ok
from tests.server.transports import Clock, loops, scripted, watched_loop
from tests.waiting import PATIENCE, a_moment, until


@pytest.fixture(scope="module", params=loops())
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Every test here runs on uvloop and on asyncio's own loop."""
    return request.param


@asynccontextmanager
async def origin_of(*scripts: Script, expiry: float = 60, host: str = "127.0.0.1") -> AsyncIterator[Any]:
    """A server and an origin for it. Afterwards no connection may be open, nor any error have gone unseen."""
    async with FaultyServer(*scripts, host=host) as server:
        async with watched_loop(), Http1Transport(keepalive_expiry=expiry) as transport:
            yield server, transport.origin(server.url)
        await server.all_gone()


async def get(origin: Http1Origin, target: bytes = b"/", timeouts: Timeouts = NO_TIMEOUTS) -> bytes:
    """The whole body of a GET."""
    async with aclosing(await origin.request(b"GET", target, timeouts=timeouts)) as response:
        pieces = []
        while piece := await response.read_some():
            pieces.append(piece)
        return b"".join(pieces)


async def asked(origin: Http1Origin) -> Http1Response:
    """The answer, as soon as the origin's only connection waits for it."""
    await until(lambda: [connection for connection in origin._connections if connection._response is not None])
    (connection,) = origin._connections
    assert connection._response is not None
    return connection._response


# Reading


@scripted
async def test_one_read_one_chunk() -> None:
    """Whatever arrived in one read is handed out in one piece, however many HTTP chunks it was."""
    async with origin_of(answers(chunked(*[b"data: %d\n\n" % i for i in range(100)]))) as (_, origin):
        response = await origin.request(b"GET", b"/")
        assert await response.read_some() == b"".join(b"data: %d\n\n" % i for i in range(100))
        assert response.complete
        assert [await response.read_some(), await response.read_some()] == [b"", b""]


@scripted
async def test_chunks_as_they_come() -> None:
    """Each piece is handed out when it has arrived, not when the next one or the end has."""
    step = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(chunked(b"0", end=b""))
        for _ in range(5):
            await step.wait()
            step.clear()
            await peer.send(b"1\r\n1\r\n")
        await peer.send(b"0\r\n\r\n")

    async with origin_of(script) as (_, origin):
        response = await origin.request(b"GET", b"/")
        got = b""
        while data := await response.read_some():
            got += data
            step.set()
        assert got == b"011111"


@scripted
async def test_answer_says_how_it_ends() -> None:
    """Status, headers, reason and version come with the head; `ends_by_close` tells of an end that proves nothing."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.0 418 Tea Pot\r\nX-A: b\r\n\r\n")
        peer.half_close()

    async with origin_of(script, answers(ok())) as (_, origin):
        response = await origin.request(b"GET", b"/")
        assert (response.status, response.reason, response.http_version) == (418, b"Tea Pot", b"HTTP/1.0")
        assert (response.headers, response.ends_by_close) == ([(b"x-a", b"b")], True)
        assert await response.read_some() == b""
        assert not (await origin.request(b"GET", b"/")).ends_by_close


@scripted
async def test_closed_answer() -> None:
    """After `aclose` nothing more is read: not what had arrived, and no end that looks clean."""

    async def unfinished(peer: Peer) -> None:
        await peer.request()
        await peer.send(chunked(b"word", end=b""))

    async with origin_of(unfinished, answers(ok())) as (server, origin):
        for _ in range(2):
            response = await origin.request(b"GET", b"/")
            await response.aclose()
            await response.aclose()
            with pytest.raises(httpx.StreamClosed):
                await response.read_some()
        assert server.connections == 2


@scripted
async def test_close_while_another_task_reads() -> None:
    """`abort` from elsewhere, as a watcher does it, wakes the reader."""

    async def silent(peer: Peer) -> None:
        await peer.request()
        await peer.send(chunked(end=b""))

    async with origin_of(silent) as (server, origin):
        response = await origin.request(b"GET", b"/")
        reader = asyncio.ensure_future(response.read_some())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="reader already"):
            await response.read_some()
        response.abort()
        with pytest.raises(httpx.StreamClosed):
            await reader
        await server.all_gone()


@scripted
async def test_what_lies_unread_is_bounded() -> None:
    """A reader that does not read has at most the bound and one read more in memory."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await peer.flood(b"a" * 65536, 512)
        peer.half_close()

    async with origin_of(script) as (server, origin):
        response = await origin.request(b"GET", b"/")
        await server.peers[0].blocked.wait()
        size = len(await response.read_some())
        assert MAX_BUFFERED / 2 < size <= 2 * MAX_BUFFERED
        while data := await response.read_some():
            size += len(data)
        assert size == 65536 * 512


# The clock


@scripted
async def test_dripping_head() -> None:
    """The read timeout bounds the head as a whole: a server cannot hold a request by a byte now and then."""

    step = asyncio.Event()

    async def drips(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nx: ")
        for _ in range(3):
            await step.wait()
            step.clear()
            await peer.send(b"a")

    async with origin_of(drips) as (_, origin):
        asking = asyncio.ensure_future(get(origin, timeouts=Timeouts(read=10_000)))
        response = await asked(origin)
        clock = Clock(origin)
        for _ in range(3):
            assert not asking.done()
            response._buffered = 0
            step.set()
            await until(lambda: response._buffered)
            clock.forward(3_400)
        await a_moment()
        assert asking.done()
        with pytest.raises(httpx.ReadTimeout):
            await asking


@scripted
async def test_dripping_body() -> None:
    """The read timeout bounds each wait for body bytes, not the whole."""
    step = asyncio.Event()

    async def drips(peer: Peer) -> None:
        await peer.request()
        await peer.send(chunked(b"0", end=b""))
        for _ in range(3):
            await step.wait()
            step.clear()
            await peer.send(b"1\r\n1\r\n")

    async with origin_of(drips) as (_, origin):
        response = await origin.request(b"GET", b"/", timeouts=Timeouts(read=10_000))
        clock = Clock(origin)
        assert await response.read_some() == b"0"
        for _ in range(3):
            reading = asyncio.ensure_future(response.read_some())
            await asyncio.sleep(0)
            clock.forward(9_000)
            step.set()
            assert await reading == b"1"
        reading = asyncio.ensure_future(response.read_some())
        await asyncio.sleep(0)
        clock.forward(10_001)
        await a_moment()
        assert reading.done()
        with pytest.raises(httpx.ReadTimeout):
            await reading


@scripted
async def test_clock_stands_still_while_nobody_waits() -> None:
    """A reader that is slow itself does not run into the read timeout."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(chunked(b"word", end=b""))
        await read.wait()
        await peer.send(b"0\r\n\r\n")

    read = asyncio.Event()
    async with origin_of(script) as (_, origin):
        response = await origin.request(b"GET", b"/", timeouts=Timeouts(read=10_000))
        Clock(origin).forward(100_000)  # the reader's own slowness
        assert await response.read_some() == b"word"
        read.set()
        assert await response.read_some() == b""


@scripted
async def test_server_that_does_not_read() -> None:
    """A request that the server stops taking is WriteTimeout; the answer's clock does not run before it has left."""

    given_up = asyncio.Event()

    async def deaf(peer: Peer) -> None:
        await given_up.wait()

    async with origin_of(deaf) as (_, origin):
        with pytest.raises(httpx.WriteTimeout):
            await origin.request(b"POST", b"/", body=bytes(32 * 2**20), timeouts=Timeouts(read=0.05, write=0.2))
        given_up.set()


@scripted
async def test_server_that_reads_slowly() -> None:
    """A request that goes on leaving, however slowly, is not timed out, and its answer has all the time it may take."""

    read_on = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await read_on.wait()
        await peer.request()
        await peer.send(ok())

    async with origin_of(slow) as (server, origin):
        timeouts = Timeouts(read=10_000, write=10_000)
        asking = asyncio.ensure_future(origin.request(b"POST", b"/", body=bytes(32 * 2**20), timeouts=timeouts))
        await asked(origin)
        (connection,) = origin._connections
        await until(lambda: connection._unsent)
        clock = Clock(origin)
        for _ in range(3):
            while connection._transport.get_write_buffer_size() >= connection._unsent:
                await server.peers[0].read()
            clock.forward(10_001)
            assert connection._unsent
        read_on.set()
        response = await asking
        assert await response.read_some() == b"hello"


# Connections


@scripted
async def test_early_answer() -> None:
    """An answer that comes before the whole request has left is read; the rest of the request goes nowhere."""

    async def refuses(peer: Peer) -> None:
        await peer.read()
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")

    async with origin_of(refuses, answers(ok(b"next"))) as (server, origin):
        response = await origin.request(b"POST", b"/", body=bytes(32 * 2**20))
        assert (response.status, await response.read_some()) == (413, b"no")
        assert await get(origin) == b"next"
        assert server.connections == 2


@scripted
async def test_unread_answer_frees_its_connection() -> None:
    """A complete answer gives its connection back although nobody has read it, and is read later all the same."""
    async with origin_of(answers(ok(b"first"), ok(b"second"))) as (server, origin):
        first = await origin.request(b"GET", b"/")
        assert await get(origin) == b"second"
        assert await first.read_some() == b"first"
        assert server.connections == 1


@scripted
async def test_last_in_first_out() -> None:
    """Of two idle connections the one that came back last serves the next request; the other one expires."""
    both_here = asyncio.Barrier(2)

    async def script(peer: Peer) -> None:
        await peer.request()
        await both_here.wait()
        while True:
            await peer.send(ok())
            await peer.request()

    async with origin_of(script, expiry=10_000) as (server, origin):
        await asyncio.gather(get(origin), get(origin))
        first, last = origin._idle
        for _ in range(3):
            await get(origin)
            assert list(origin._idle) == [first, last]
        origin._idle[first] -= 10_000
        origin._sweeper.cancel()
        origin._sweep()
        await until(lambda: sorted(task.done() for task in server.tasks) == [False, True])
        assert list(origin._idle) == [last]


@scripted
async def test_idle_connections_expire() -> None:
    """A connection that nobody uses is closed after its time, without any request coming by."""
    async with origin_of(answers(ok(), ok()), expiry=0.05) as (server, origin):
        await get(origin)
        await server.all_gone()
        assert origin.open_connections == 0
        await get(origin)
        assert server.connections == 2


@scripted
async def test_stale_connection_and_no_server() -> None:
    """When the fresh connection fails too, that error is the answer."""

    async def last(peer: Peer) -> None:
        await peer.request()
        await peer.send(ok())
        await peer.request()
        server.stop_listening()
        peer.close()

    async with origin_of(last) as (server, origin):
        await get(origin)
        with pytest.raises(httpx.ConnectError):
            await get(origin)


@scripted
async def test_closed_transport() -> None:
    """Closing the transport ends the streams that are open with an error; later requests are refused."""

    async def unfinished(peer: Peer) -> None:
        await peer.request()
        await peer.send(chunked(b"word", end=b""))

    async with FaultyServer(unfinished) as server, watched_loop():
        transport = Http1Transport()
        origin = transport.origin(server.url)
        response = await origin.request(b"GET", b"/")
        assert await response.read_some() == b"word"
        reader = asyncio.ensure_future(response.read_some())
        waiting = asyncio.ensure_future(origin.request(b"GET", b"/"))
        await asyncio.sleep(0)
        await transport.aclose()
        with pytest.raises(httpx.CloseError):
            await reader
        with pytest.raises(httpx.TransportError):
            await waiting
        with pytest.raises(RuntimeError, match="closed"):
            await origin.request(b"GET", b"/")
        await server.all_gone()


@scripted
async def test_small_packets_go_at_once() -> None:
    """TCP_NODELAY is set: no request waits for the acknowledgement of another."""
    async with origin_of(answers(chunked(b"word", end=b""))) as (_, origin):
        response = await origin.request(b"GET", b"/")
        (connection,) = origin._connections
        assert connection._transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await response.aclose()


@scripted
async def test_no_work_for_the_garbage_collector() -> None:
    """Finished exchanges free their parsers by themselves."""
    async with origin_of(answers(*[ok()] * 20)) as (_, origin):
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                await get(origin)
            assert sum(isinstance(thing, ResponseParser) for thing in gc.get_objects()) <= 1
        finally:
            gc.enable()


# Addresses


@scripted
async def test_ipv6() -> None:
    """An IPv6 origin is reached, and named in brackets in Host."""
    hosts = []

    async def script(peer: Peer) -> None:
        hosts.append((await peer.request()).split(b"\r\n")[1])
        await peer.send(ok())

    async with origin_of(script, host="::1") as (server, origin):
        await get(origin)
        assert hosts == [b"host: [::1]:%d" % server.port]


@scripted
async def test_localhost() -> None:
    """A name with several addresses is tried until one of them answers."""
    async with origin_of(answers(ok())) as (server, _), Http1Transport() as transport:
        assert await get(transport.origin(f"http://localhost:{server.port}/ignored")) == b"hello"


@pytest.mark.parametrize("url", ["https://127.0.0.1", "ftp://127.0.0.1", "127.0.0.1:80", "http://"])
def test_origins_that_are_none(url: str) -> None:
    """An origin is http:// and a host."""
    with pytest.raises(httpx.UnsupportedProtocol):
        Http1Transport().origin(url)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".invalid"])
@scripted
async def test_names_that_are_none(host: str) -> None:
    """A name that leads nowhere is ConnectError."""
    async with Http1Transport() as transport:
        with pytest.raises(httpx.ConnectError):
            await get(transport.origin(f"http://{host}"))


# Under httpx


def under_httpx() -> httpx.AsyncClient:
    """A client of httpx with the project's transport."""
    return httpx.AsyncClient(transport=Http1Transport(), timeout=PATIENCE)


@scripted
async def test_https_is_left_to_httpx() -> None:
    """https:// goes through httpx's own transport: the server sees a TLS handshake begin."""
    first = []

    async def not_tls(peer: Peer) -> None:
        first.append((await peer.read())[:1])
        peer.reset()

    async with (
        FaultyServer(not_tls) as server,
        under_httpx() as client,
    ):
        with pytest.raises(httpx.TransportError):
            await client.get(server.url.replace("http:", "https:"))
    assert first == [b"\x16"]


@scripted
async def test_streamed_request_body() -> None:
    """A request body that is a stream is refused, and nothing of it is sent."""

    async def body() -> AsyncIterator[bytes]:
        yield b"never"

    async with (
        FaultyServer(answers()) as server,
        under_httpx() as client,
    ):
        with pytest.raises(TypeError, match="pass bytes"):
            await client.post(server.url, content=body())
        assert server.connections == 0


@scripted
async def test_forged_header() -> None:
    """A header with a line break in it is refused, and nothing of the request is sent."""
    async with (
        FaultyServer(answers()) as server,
        under_httpx() as client,
    ):
        with pytest.raises(httpx.LocalProtocolError):
            await client.get(server.url, headers={"x": "1\r\nevil: 1"})
        assert server.connections == 0


@scripted
async def test_extensions_of_the_response() -> None:
    """httpx sees the version, the reason, and whether only a close ends the answer."""
    async with (
        FaultyServer(answers(ok())) as server,
        under_httpx() as client,
    ):
        response = await client.get(server.url)
        assert (response.http_version, response.reason_phrase, response.extensions["ends_by_close"]) == (
            "HTTP/1.1",
            "OK",
            False,
        )

"""Every fault a server can commit, over both transports. What differs between them is a row or a reason here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import aiohttp
import httpx
import pytest

from tests.server.faulty_server import LIMIT, FaultyServer, Peer, answers, chunked, full_backlog, ok
from tests.server.transports import Make, both, library, loops, meeting, own, scripted
from tests.waiting import PATIENCE


@pytest.fixture(scope="module", params=loops())
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Every test here runs on uvloop and on asyncio's own loop."""
    return request.param


# Answers that are right

RIGHT = {
    "content-length": (ok(b"hello"), 200, b"hello"),
    "an empty body": (ok(b""), 200, b""),
    "chunked": (chunked(b"hel", b"lo"), 200, b"hello"),
    "chunked with trailers": (chunked(b"hello", end=b"0\r\nx-sum: 1\r\nx-more: 2\r\n\r\n"), 200, b"hello"),
    "chunked with extensions": (chunked(end=b"5;a=b;c\r\nhello\r\n0\r\n\r\n"), 200, b"hello"),
    "after 100": (b"HTTP/1.1 100 Continue\r\n\r\n" + ok(), 200, b"hello"),
    "after 102, 103 and 100": (
        b"HTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 Early\r\nlink: </a>\r\n\r\nHTTP/1.1 100 C\r\n\r\n" + chunked(b"hello"),
        200,
        b"hello",
    ),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304, b""),
    "no reason phrase": (b"HTTP/1.1 200\r\ncontent-length: 5\r\n\r\nhello", 200, b"hello"),
    "503": (b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy", 503, b"busy"),
}


@both()
@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@scripted
async def test_right_answer(make: Make, name: str, bytewise: bool) -> None:
    """A right answer is read right, whole or byte by byte, and its connection serves the next request."""
    answer, status, body = RIGHT[name]

    async def script(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            await peer.send(*([bytes([byte]) for byte in answer] if bytewise else [answer]))

    async with meeting(make, script) as (server, client):
        for _ in range(2):
            response = await client.post("/", content=b"hi")
            assert (response.status_code, response.content) == (status, body)
        assert server.connections == 1


@both()
@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"], ids=["1.1", "1.0"])
@pytest.mark.parametrize("close", [Peer.half_close, Peer.close])
@scripted
async def test_answer_that_ends_by_close(make: Make, head: bytes, close: Callable[[Peer], None]) -> None:
    """An answer without a length ends, cleanly, where the server closes or half-closes the connection."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(head, b"hel", b"lo")
        close(peer)

    async with meeting(make, script) as (server, client):
        for times in (1, 2):
            assert (await client.post("/", content=b"hi")).content == b"hello"
            assert server.connections == times


@both()
@scripted
async def test_head_request(make: Make) -> None:
    """The answer to HEAD has no body, whatever length it names, and the next request gets its own answer."""
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n"
    async with meeting(make, answers(head, ok(b"next")), answers(ok(b"next"))) as (_, client):
        response = await client.head("/")
        assert (response.headers["content-length"], response.content) == ("99", b"")
        assert (await client.get("/")).content == b"next"


@both()
@scripted
async def test_request_on_the_wire(make: Make) -> None:
    """The request arrives as httpx made it: path and query, Host, content-length, body."""
    requests: list[bytes] = []

    async def script(peer: Peer) -> None:
        requests.append(await peer.request())
        await peer.send(ok())

    async with meeting(make, script) as (server, client):
        await client.post("/v1/chat?a=b%20c", content=b'{"a":1}', headers={"x-one": "1"})
    head, _, body = requests[0].partition(b"\r\n\r\n")
    line, *headers = head.lower().split(b"\r\n")
    assert line == b"post /v1/chat?a=b%20c http/1.1"
    assert {b"host: 127.0.0.1:%d" % server.port, b"content-length: 7", b"x-one: 1"} <= set(headers)
    assert body == b'{"a":1}'


# Answers that are wrong


class Fault(NamedTuple):
    """What the server does, and how each transport reports it: an error's type, or None for a clean-looking end."""

    name: str
    sent: bytes
    then: Callable[[Peer], None] | None
    own: type[Exception] | None
    library: type[Exception] | None


PROTOCOL, READ, NOT_MAPPED = httpx.RemoteProtocolError, httpx.ReadError, aiohttp.ClientResponseError
HEAD, SHORT, CHUNKS, BY_CLOSE = (
    b"HTTP/1.1 200 OK\r\nconte",
    b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello",
    chunked(b"hello", end=b""),
    b"HTTP/1.1 200 OK\r\n\r\nhello",
)
# httpx-aiohttp reports a connection lost before the head as ConnectTimeout, lets aiohttp's own errors through for bytes
# that are not HTTP, and takes a reset for the end of an answer that ends by close.
FAULTS = [
    Fault("reset before the answer", b"", Peer.reset, READ, httpx.ConnectTimeout),
    Fault("reset within the head", HEAD, Peer.reset, READ, httpx.ConnectTimeout),
    Fault("reset within a length", SHORT, Peer.reset, READ, READ),
    Fault("reset within chunks", CHUNKS, Peer.reset, READ, READ),
    Fault("reset within an answer that ends by close", BY_CLOSE, Peer.reset, READ, None),
    Fault("closed before the answer", b"", Peer.close, PROTOCOL, httpx.ConnectTimeout),
    Fault("closed within the head", HEAD, Peer.close, PROTOCOL, httpx.ConnectTimeout),
    Fault("closed within a length", SHORT, Peer.close, PROTOCOL, READ),
    Fault("closed within chunks", CHUNKS, Peer.close, PROTOCOL, READ),
    Fault("closed after an interim answer", b"HTTP/1.1 103 E\r\n\r\n", Peer.close, PROTOCOL, httpx.ConnectTimeout),
    Fault("half-closed before the answer", b"", Peer.half_close, PROTOCOL, httpx.ConnectTimeout),
    Fault("half-closed within the head", HEAD, Peer.half_close, PROTOCOL, httpx.ConnectTimeout),
    Fault("half-closed within a length", SHORT, Peer.half_close, PROTOCOL, READ),
    Fault("half-closed within chunks", CHUNKS, Peer.half_close, PROTOCOL, READ),
    Fault("not HTTP", b"220 mail.example ESMTP\r\n", None, PROTOCOL, NOT_MAPPED),
    Fault("HTTP/2", b"HTTP/2.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", None, PROTOCOL, None),
    Fault("status 101", b"HTTP/1.1 101 Up\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", None, PROTOCOL, None),
    Fault("status 42", b"HTTP/1.1 042 No\r\ncontent-length: 0\r\n\r\n", None, PROTOCOL, None),
    Fault("two lengths", ok(b"hello", b"content-length: 4"), None, PROTOCOL, NOT_MAPPED),
    Fault("a length and chunks", ok(b"0\r\n\r\n", b"transfer-encoding: chunked"), None, PROTOCOL, NOT_MAPPED),
    Fault("a chunk size that is none", chunked(b"hello", end=b"zz\r\n"), None, PROTOCOL, NOT_MAPPED),
    Fault("a chunk that is longer than it says", chunked(end=b"2\r\nhello\r\n"), None, PROTOCOL, NOT_MAPPED),
    Fault("a header longer than 64 KiB", ok(b"", b"x-a: " + b"a" * 66000), None, PROTOCOL, NOT_MAPPED),
    Fault("headers longer than 64 KiB", ok(b"", *[b"x-a: " + b"a" * 999] * 66), None, PROTOCOL, None),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("make", [own, library], ids=["own", "httpx-aiohttp"])
@scripted
async def test_fault(make: Make, fault: Fault) -> None:
    """A broken answer ends in the error of its row, after all body bytes that came before the fault."""
    seen = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(fault.sent)
        if b"hello" in fault.sent and fault.then:
            await seen.wait()
        if fault.then:
            fault.then(peer)

    got, error = b"", None
    async with meeting(make, script) as (server, client):
        try:
            async with client.stream("POST", "/", content=b"hi") as response:
                async for data in response.aiter_raw():
                    got += data
                    seen.set()
        except Exception as raised:
            error = type(raised)
        assert server.connections == 1
    assert error is (fault.own if make is own else fault.library)
    if fault.then and b"hello" in fault.sent:
        assert got == b"hello"


# The clock


@both()
@pytest.mark.parametrize("sent", [b"", HEAD], ids=["nothing", "half a head"])
@scripted
async def test_slow_head(make: Make, sent: bytes) -> None:
    """A head that does not come within the read timeout is ReadTimeout, and the connection is closed."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)

    async with meeting(make, script) as (server, client):
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/", content=b"hi", timeout=httpx.Timeout(LIMIT, read=0.05))
        await server.all_gone()


@both(library_differs="aiohttp's read timeout ends with the interim answer: the request hangs for ever")
@scripted
async def test_slow_head_after_an_interim_answer(make: Make) -> None:
    """An interim answer does not stop the clock of the head."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    patience = LIMIT if make is own else 0.5
    async with meeting(make, script) as (_, client), asyncio.timeout(patience):
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/", content=b"hi", timeout=httpx.Timeout(LIMIT, read=0.05))


@both()
@scripted
async def test_slow_body(make: Make) -> None:
    """A body that begins and then says nothing is ReadTimeout."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(chunked(b"0", b"1", end=b""))

    async with meeting(make, script) as (server, client):
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/", timeout=httpx.Timeout(LIMIT, read=0.05))
        await server.all_gone()


@both(library_differs="httpx-aiohttp reports a refused connection as ConnectTimeout")
@scripted
async def test_nobody_listens(make: Make) -> None:
    """A refused connection is ConnectError."""
    async with FaultyServer(answers()) as server:
        pass
    async with httpx.AsyncClient(transport=make(), timeout=PATIENCE) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(server.url)


@both()
@scripted
async def test_connection_that_is_never_made(make: Make) -> None:
    """A connection that takes longer than the connect timeout is ConnectTimeout."""
    with full_backlog() as url:
        async with httpx.AsyncClient(transport=make(), timeout=PATIENCE) as client:
            with pytest.raises(httpx.ConnectTimeout):
                await client.get(url, timeout=httpx.Timeout(LIMIT, connect=0.05))

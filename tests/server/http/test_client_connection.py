"""One client's connection: bodies that nobody reads, what a head may hold, and answers that were never finished."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.server import ServerState

from proxy.errors import ClientError
from proxy.server.http.body import ClientGone
from proxy.server.http.connection import Connection
from proxy.server.http.cycle import ResponseCycle, status_line
from proxy.server.http.listener import HttpConfig, ListenerOptions
from proxy.server.http.request import EXTENSION, Receive, RequestContext, Scope, Send
from tests.fakes import Answer, FakeUpstream, Stall, reply, reply_json, sse
from tests.server.running import chat_body, head, running, said, soon
from tests.waiting import at_once

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
LARGE = b"x" * 300_000


@pytest.mark.parametrize("door", ["POST /nowhere", "GET /v1/models"])
async def test_a_body_that_nobody_reads_is_in_nobodys_way(door: str) -> None:
    """After the answer to a request whose large body nobody wanted, the connection ends or serves the next request."""
    method, path = door.split(" ")
    async with FakeUpstream(lambda _: reply_json({"data": []})) as upstream, running(upstream) as proxy:
        for _ in range(5):
            async with proxy.wire() as wire:
                await wire.send(head(path, f"content-length: {len(LARGE)}", method=method) + LARGE)
                assert (await wire.answer()).complete
                await wire.send(head(path, method=method))
                next_one = await wire.answer()
                assert next_one.complete or next_one.status == 0


async def test_who_leaves_with_an_unread_body_is_noticed() -> None:
    """A client that goes away is seen to go at once, also when more of its body has come than anybody wants to read."""
    async with FakeUpstream(Answer((Stall(),))) as upstream, running(upstream) as proxy, proxy.wire() as wire:
        await wire.send(head("/v1/models", f"content-length: {len(LARGE)}", method="GET") + LARGE)
        exchange = await upstream.exchange()
        wire.leave()
        await at_once(exchange.client_closed)


async def test_a_large_body_leaves_the_connection_as_it_was() -> None:
    """A body that is larger than what may lie unread is read whole, and the next one on the same connection too."""
    async with FakeUpstream(lambda _: reply(sse(*said("Hello")))) as upstream, running(upstream) as proxy:
        async with proxy.wire() as wire:
            for _ in range(3):
                await wire.post(CHAT, chat_body("lorem ipsum " * 50_000))
                assert (await wire.answer()).text() == "Hello"
        assert len({request.connection for request in upstream.requests}) <= 3


async def test_a_handler_that_fails_in_mid_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that was begun and never ended closes its connection: its client must not wait for more."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        request = RequestContext(scope, receive, send)
        request.start(200, [])
        await request.send(b"half")
        raise OSError("the other half is lost")

    async with FakeUpstream([]) as upstream, running(upstream) as proxy:
        monkeypatch.setattr(proxy.server.listener.config, "loaded_app", serve)
        async with proxy.wire() as wire:
            await wire.send(head(CHAT))
            answer = await wire.answer()
            assert (answer.status, answer.body, answer.complete) == (200, b"half", False)
            assert await wire.ended() == b""


async def test_a_stream_in_old_http_that_breaks_off_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client of HTTP/1.0 takes a close for the end, so half a stream must not end with one."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        request = RequestContext(scope, receive, send)
        request.start(200, [])
        await request.send(b"half")
        raise OSError("the other half is lost")

    async with FakeUpstream([]) as upstream, running(upstream) as proxy:
        monkeypatch.setattr(proxy.server.listener.config, "loaded_app", serve)
        reader, writer = await asyncio.open_connection(*proxy.server.bound.listen)
        writer.write(head(CHAT).replace(b"HTTP/1.1", b"HTTP/1.0"))
        with pytest.raises(ConnectionResetError):
            await soon(reader.read())
        writer.transport.abort()


class _Kept:
    """A connection that keeps what it is given (see proxy.server.http.cycle.CycleConnection)."""

    date = b"date: today\r\n"

    def __init__(self) -> None:
        self.transport: asyncio.Transport = _Socket()
        self.flow = FlowControl(self.transport)

    @property
    def data(self) -> bytes:
        """What was written."""
        assert isinstance(self.transport, _Socket)
        return self.transport.data

    def pause_reading(self) -> None:
        """Nothing is read."""

    def resume_reading(self) -> None:
        """Nothing is read."""

    def response_complete(self, cycle: ResponseCycle) -> None:
        """Nothing follows."""


def client(method: str = "GET", keep_alive: bool = True, version: str = "1.1") -> tuple[RequestContext, _Kept]:
    """A request, and what its client is sent."""
    link = _Kept()
    scope: Scope = {"type": "http", "method": method, "path": "/", "http_version": version, "headers": []}
    cycle = ResponseCycle(link, scope, keep_alive, False)
    scope["extensions"] = {EXTENSION: cycle}
    return RequestContext(scope, cycle.receive, cycle.send), link


@pytest.mark.parametrize("value", [b"a\r\nb: c", b"a\nb", b"a\rb", b"a\0b", b"\x7f"])
async def test_no_value_breaks_out_of_its_header(value: bytes) -> None:
    """A control character in a header's value is an error, and nothing is sent."""
    asking, link = client()
    with pytest.raises(ValueError, match="control character"):
        await asking.reply(200, [(b"x-a", value)], b"")
    assert link.data == b""


async def test_the_bytes_of_answers() -> None:
    """A head leaves with the first bytes behind it; a whole answer is one piece; HEAD has no body."""
    asking, link = client()
    asking.start(200, [(b"a", b"b")])
    assert link.data == b""
    await asking.send(b"hello")
    assert asking.try_write(b", ")
    await asking.end(b"!")
    start = b"HTTP/1.1 200 OK\r\ndate: today\r\na: b\r\n"
    assert link.data == start + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n2\r\n, \r\n1\r\n!\r\n0\r\n\r\n"
    asking, link = client("HEAD", keep_alive=False)
    await asking.reply(200, [(b"a", b"b")], b"hello")
    assert link.data == start + b"content-length: 5\r\nconnection: close\r\n\r\n"


REQUESTS = {
    "length": b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
    "chunked": b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;x=1\r\nhel\r\n0\r\na: b\r\n\r\n",
    "query": b"\r\nGET /%41%zz?b=c HTTP/1.1\r\nhost: a\r\n\r\n",
    "upgrade": b"POST /a HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\nhi",
    "old": b"HEAD / HTTP/1.0\r\n\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
    "tunnel": b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n",
    "rubbish": b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "smuggled": b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
}


class _Socket(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""
        self.closing = False

    def write(self, data: Any) -> None:
        """Keep it."""
        self.data += data

    def can_write_eof(self) -> bool:
        """As TCP can."""
        return True

    def write_eof(self) -> None:
        """Nothing to do."""

    def get_write_buffer_size(self) -> int:
        """All is gone at once."""
        return 0

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.closing

    def close(self) -> None:
        """Close."""
        self.closing = True

    abort = close


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what was understood."""
    request = RequestContext(scope, receive, send)
    try:
        body = await request.read(1000, 10)
    except (ClientGone, ClientError):
        return
    line = (request.method, request.path, request.query, request.http_version)
    await request.reply(200, [(b"line", repr(line).encode())], body)


async def _said(pieces: Iterable[bytes]) -> tuple[bytes, bool]:
    """What is answered to a request that comes in these pieces, and whether the connection ends; nothing stays."""
    state, transport = ServerState(), _Socket()
    connection = Connection(HttpConfig(_echo, ListenerOptions()), state, {})
    connection.connection_made(transport)
    for piece in pieces:
        connection.data_received(piece)
        await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    assert not state.tasks
    assert not state.connections
    return transport.data, transport.closing


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
async def test_a_request_is_the_same_at_any_chunking(request_: bytes) -> None:
    """However it is cut, a request gets the same answer, and one only; nothing of it is left behind."""
    whole = await _said([request_])
    assert len(re.findall(rb"HTTP/1\.1 \d", whole[0])) == 1
    assert await _said(bytes([byte]) for byte in request_) == whole
    for cut in range(1, len(request_)):
        assert await _said([request_[:cut], request_[cut:]]) == whole


def test_a_status_that_nobody_knows() -> None:
    """A model server's own status has no phrase, and is passed on."""
    assert status_line(529) == b"HTTP/1.1 529 \r\n"
    assert status_line(404) == b"HTTP/1.1 404 Not Found\r\n"

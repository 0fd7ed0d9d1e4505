"""The front under attack: heads of two meanings, clients that read slowly, half or not at all, and what comes late."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Self

import pytest
from uvicorn.server import ServerState

from proxy.server.http import connection as protocol
from proxy.server.http.connection import Connection as ClientConnection
from proxy.server.http.listener import HttpConfig, ListenerOptions
from proxy.server.http.request import Receive, RequestContext, Scope, Send
from proxy.server.upstream.connection import Connection, Timeouts
from tests.fakes import FakeUpstream, reply_json
from tests.server.http.clock import Clock, only_connection
from tests.server.http.test_hardening import PIECE, answering
from tests.server.routing.test_edge import BODY, CHAT
from tests.server.running import chat_body, head, running, soon
from tests.waiting import until

pytestmark = pytest.mark.anyio

MODELS = {"object": "list", "data": []}
LONG = "lorem ipsum " * 400_000
WHOLE = {"id": "1", "choices": [{"index": 0, "message": {"content": LONG}, "finish_reason": "stop"}]}


async def test_an_upgrade_offered_in_old_http_is_old_http() -> None:
    """Without the offer, the request is what it was: HTTP/1.0 gets no chunks, and may send none."""
    offer = head(CHAT, "connection: upgrade", "upgrade: h2c").removesuffix(b"\r\n").replace(b"HTTP/1.1", b"HTTP/1.0")
    async with answering() as proxy:
        whole = await proxy.send(offer + b"content-length: %d\r\n\r\n" % len(BODY) + BODY)
        assert whole.status == 200
        assert "transfer-encoding" not in whole.headers
        chunks = b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
        assert (await proxy.send(offer + chunks)).status == 400


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://localhost/v1/models", "evil.example", 200),
        ("http://[::1]:80/v1/models", "evil.example", 200),
        ("http://evil.example/v1/models", "localhost", 403),
        ("http://evil.example:80/v1/models", "localhost", 403),
        ("http://localhost", "localhost", 200),
        ("http://localhost?a=b", "localhost", 200),
    ],
)
async def test_a_target_in_absolute_form_says_for_whom_it_is(target: str, host: str, status: int) -> None:
    """The name in the target counts, and not Host; without a path it is the root."""
    async with FakeUpstream(lambda _: reply_json(MODELS)) as upstream, running(upstream) as proxy:
        assert (await proxy.send(head(target, method="GET", host=host))).status == status


async def test_old_http_waits_for_no_interim_answer() -> None:
    """Nobody who speaks HTTP/1.0 knows 100 Continue."""
    async with answering() as proxy, proxy.wire() as wire:
        request = head(CHAT, "expect: 100-continue", f"content-length: {len(BODY)}").replace(b"HTTP/1.1", b"HTTP/1.0")
        await wire.send(request + BODY[:5])
        await wire.send(BODY[5:])
        assert not (await wire.ended()).startswith(b"HTTP/1.1 100")


async def test_no_content_has_no_length() -> None:
    """An answer of status 204 says nothing of a body's length."""
    async with answering() as proxy:
        answer = await proxy.send(head(CHAT, method="OPTIONS"))
        assert (answer.status, answer.complete) == (204, True)
        assert "content-length" not in answer.headers


async def test_what_is_no_request_is_answered_with_a_date() -> None:
    """Every answer of the 4xx class says when it was made."""
    async with answering() as proxy:
        answer = await proxy.send(b"rubbish\r\n\r\n")
        assert answer.status == 400
        assert answer.headers["date"].endswith("GMT")


async def test_a_body_of_doubtful_end_is_the_last() -> None:
    """After a request whose transfer coding is not understood the connection ends: the next could be a part of it."""
    async with answering() as proxy, proxy.wire() as wire:
        await wire.send(head(CHAT, "transfer-encoding: identity", "transfer-encoding: chunked") + b"0\r\n\r\n")
        answer = await wire.answer()
        assert answer.status == 400
        assert answer.headers["connection"] == "close"
        assert await wire.ended() == b""


async def test_who_floods_behind_a_request_gets_its_answer_whole() -> None:
    """What is sent before an answer is dropped, and the answer is not lost for it, however slowly it is read."""
    async with (
        FakeUpstream(reply_json(WHOLE), boundaries=False) as upstream,
        running(upstream) as proxy,
        proxy.wire() as wire,
    ):
        await wire.post(CHAT, chat_body(stream=False))
        await upstream.exchange()
        connection, clock = only_connection(proxy), Clock()
        connection.loop = clock.loop
        sock = connection.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)  # the system takes no more of the answer
        await wire.send(PIECE)
        assert (await proxy.exchange()).outcome == "allowed"
        await wire.send(PIECE)
        await until(lambda: connection._lingering_timer)
        assert connection.transport.get_write_buffer_size()
        clock.forward(2 * protocol.LINGERING_TIMEOUT + 0.2)  # this client is the one who waits
        answer = await wire.answer()
        assert answer.complete
        assert len(answer.json()["choices"][0]["message"]["content"]) == len(LONG)
        assert await wire.ended() == b""


class _Stuck(asyncio.Transport):
    """A transport of which the client takes nothing."""

    unread = 100

    def __init__(self) -> None:
        super().__init__()
        self.closed = asyncio.Event()
        self.aborted = asyncio.Event()

    def write(self, data: Any) -> None:
        """Nothing goes."""

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.closed.is_set()

    def close(self) -> None:
        """Close, once all has gone."""
        self.closed.set()

    def abort(self) -> None:
        """Close at once."""
        self.closed.set()
        self.aborted.set()

    def get_write_buffer_size(self) -> int:
        """What the client has not taken."""
        return self.unread


class _Front:
    """A connection whose requests are served by nobody: `requests` has them."""

    def __init__(self) -> None:
        self.requests: list[RequestContext] = []
        self.stop = asyncio.Event()
        self.transport = _Stuck()
        self.state = ServerState()
        self.clock = Clock()
        config = HttpConfig(self._serve, ListenerOptions())
        self.connection = ClientConnection(config, self.state, {}, self.clock.loop)
        self.connection.connection_made(self.transport)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests.append(RequestContext(scope, receive, send))
        await self.stop.wait()

    async def ask(self) -> RequestContext:
        """One request, at work."""
        self.connection.data_received(head("/", method="GET"))
        await asyncio.sleep(0)
        return self.requests[-1]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop.set()
        self.connection.connection_lost(None)
        await soon(asyncio.gather(*self.state.tasks))


async def test_who_reads_the_next_answer_slowly_is_not_cut_off() -> None:
    """What was left of one answer says nothing of a client that is behind with the next: that one has its own watch."""
    async with _Front() as front:
        first = await front.ask()
        await first.reply(200, [], b"a")
        second = await front.ask()
        second.on_disconnect(lambda: None)
        front.transport.unread = 5000
        front.clock.forward(4 * protocol.SEND_TIMEOUT)
        assert not front.transport.closed.is_set()
        second.on_disconnect(None)
        await second.reply(200, [], b"b")
        front.clock.forward(protocol.SEND_TIMEOUT + 1)
        assert front.transport.aborted.is_set()


async def test_the_time_to_read_an_answer_begins_with_it() -> None:
    """The clock of an answer before does not end the one that has just been sent."""
    async with _Front() as front:
        await (await front.ask()).reply(200, [], b"a")
        front.clock.forward(0.75 * protocol.SEND_TIMEOUT)
        await (await front.ask()).reply(200, [], b"b")
        front.clock.forward(protocol.SEND_TIMEOUT - 1)
        assert not front.transport.closed.is_set()
        front.clock.forward(2)
        assert front.transport.aborted.is_set()


async def test_who_leaves_without_reading_has_left() -> None:
    """The end of what a client sends is seen at once, though unread bytes keep its connection; and that ends too."""
    async with _Front() as front:
        client = await front.ask()
        left: list[bool] = []
        client.on_disconnect(lambda: left.append(True))
        front.connection.eof_received()
        front.transport.close()  # as a loop does after it
        assert left == [True]
        front.clock.forward(protocol.SEND_TIMEOUT - 1)
        assert not front.transport.aborted.is_set()
        front.clock.forward(2)
        assert front.transport.aborted.is_set()


async def test_half_an_answer_that_nobody_reads_keeps_no_connection() -> None:
    """An answer that broke off ends its connection, also for a client that takes nothing of it."""
    async with _Front() as front:
        await front.ask()
        front.stop.set()
        await soon(front.transport.closed.wait())
        front.clock.forward(protocol.SEND_TIMEOUT - 1)
        assert not front.transport.aborted.is_set()
        front.clock.forward(2)
        assert front.transport.aborted.is_set()


async def test_nothing_is_taken_after_a_failure() -> None:
    """Bytes that follow those on which the guard failed are handed to nobody, however soon they come."""
    got: list[bytes] = []

    def take(data: bytes) -> bytes | None:
        got.append(data)
        raise ValueError("a guard that failed")

    ours, theirs = socket.socketpair()
    with theirs:
        connection = Connection(lambda _: None, lambda _: None)
        await asyncio.get_running_loop().create_connection(lambda: connection, sock=ours)
        response = connection.send(b"GET / HTTP/1.1\r\n\r\n", Timeouts())
        connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")
        pumping = asyncio.create_task(response.pump(take))
        await asyncio.sleep(0)
        connection.data_received(b"bad")
        connection.data_received(b"one")
        with pytest.raises(ValueError, match="failed"):
            await soon(pumping)
    assert got == [b"bad"]

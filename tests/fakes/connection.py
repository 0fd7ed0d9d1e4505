"""One client's connection to the fake: its requests, what is played on it, and when the client went."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from tests.fakes.answers import Answer, Close, Reset, Stall, Step, Wait
from tests.fakes.socket_diag import unread_by_peer
from tests.waiting import PATIENCE

WAIT_SECONDS: Final = PATIENCE
"""How long the fake, and whoever waits for it, waits before the test fails."""
BOUNDARY_SECONDS: Final = 0.25
"""How long the next write waits for a peer that does not read: seconds of own work, as in tests.waiting."""
MAX_HEAD_BYTES: Final = 64 * 1024
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
RECEIVE_BYTES: Final = 64 * 1024
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""struct linger: close() throws away what is unsent and sends RST."""

T = TypeVar("T")


class FakeUpstreamError(AssertionError):
    """The script did not go as written: no answer left, a `Wait` that nobody ended, a request that is not HTTP."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came: names of headers in lower case, the body with its chunked framing undone."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        """The first header of that name, or None."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@dataclass(slots=True)
class Exchange:
    """A request and what became of its answer. Times are of time.monotonic()."""

    request: Request
    received_at: float = field(default_factory=time.monotonic)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    client_closed: asyncio.Event = field(default_factory=asyncio.Event)
    closed_at: float | None = None
    closed_by_reset: bool = False
    bytes_sent: int = 0

    async def wait_answered(self, within: float = WAIT_SECONDS) -> None:
        """Wait until all steps are played, or cut short because the client went."""
        await bounded(self.answered.wait(), within, f"the answer to {self.request.target} was not played to its end")

    async def wait_client_closed(self, within: float = WAIT_SECONDS) -> float:
        """Wait until the client closes this request's connection (FIN or RST). Returns when."""
        await bounded(self.client_closed.wait(), within, f"the client of {self.request.target} is still connected")
        assert self.closed_at is not None
        return self.closed_at


async def bounded(waiting: Coroutine[Any, Any, T], within: float, complaint: str) -> T:
    """What `waiting` gives; FakeUpstreamError with the complaint when that takes more than `within` seconds."""
    try:
        return await asyncio.wait_for(waiting, within)
    except TimeoutError:
        raise FakeUpstreamError(f"{complaint} after {within} s") from None


class Connection:
    """One client: a task reads all the time, so that its going away is seen the moment it happens."""

    def __init__(self, client: socket.socket, number: int, boundaries: bool) -> None:
        self._client = client
        self._number = number
        self._boundaries = boundaries
        self._received = bytearray()
        self._arrived = asyncio.Event()
        self._gone = asyncio.Event()
        self._ended = False
        self._reset = False
        self._exchanges: list[Exchange] = []

    async def __aenter__(self) -> Self:
        self._reading = asyncio.get_running_loop().create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._end()

    async def _read(self) -> None:
        try:
            while data := await asyncio.get_running_loop().sock_recv(self._client, RECEIVE_BYTES):
                self._received += data
                self._arrived.set()
        except OSError:
            self._reset = True
        for exchange in self._exchanges:
            self._tell(exchange)
        self._gone.set()
        self._arrived.set()

    def _tell(self, exchange: Exchange) -> None:
        exchange.closed_at = time.monotonic()
        exchange.closed_by_reset = self._reset
        exchange.client_closed.set()

    async def _end(self) -> None:
        """Stop reading and close the socket."""
        self._ended = True
        self._reading.cancel()
        try:
            await asyncio.gather(self._reading, return_exceptions=True)
        finally:
            self._client.close()

    async def next_exchange(self) -> Exchange | None:
        """Begins when the next request has come in full; None when the connection has ended before one began."""
        request = await self._next_request()
        if request is None:
            return None
        exchange = Exchange(request)
        self._exchanges.append(exchange)
        if self._gone.is_set():
            self._tell(exchange)
        return exchange

    async def _next_request(self) -> Request | None:
        if self._ended or not (self._received or await self._more()):
            return None
        method, target, headers = _parse_head(await self._take_until(b"\r\n\r\n", MAX_HEAD_BYTES))
        fields = dict(headers)
        if "chunked" in fields.get("transfer-encoding", ""):
            body = await self._take_chunks()
        else:
            body = await self._take(int(fields.get("content-length", "0")))
        return Request(method, target, headers, body, self._number)

    async def _more(self) -> bool:
        """Wait for more bytes; False when none will come."""
        so_far = len(self._received)
        self._arrived.clear()
        if not self._gone.is_set():
            await self._arrived.wait()
        return len(self._received) > so_far

    async def _take_until(self, mark: bytes, limit: int) -> bytes:
        while (end := self._received.find(mark)) < 0:
            if len(self._received) > limit or not await self._more():
                raise FakeUpstreamError(f"the client's request broke off: {bytes(self._received[:200])!r}")
        return (await self._take(end + len(mark)))[: -len(mark)]

    async def _take(self, count: int) -> bytes:
        while len(self._received) < count:
            if count > MAX_BODY_BYTES or not await self._more():
                raise FakeUpstreamError(f"the client's body broke off: {len(self._received)} of {count} bytes came")
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken

    async def _take_chunks(self) -> bytes:
        body = b""
        while size := int(await self._take_until(b"\r\n", MAX_HEAD_BYTES), 16):
            body += (await self._take(size + 2))[:-2]
        await self._take_until(b"\r\n", MAX_HEAD_BYTES)
        return body

    async def play(self, exchange: Exchange, answer: Answer) -> None:
        """Play the steps; stop where the client goes away or a step ends the connection."""
        try:
            for step in answer.steps:
                if self._ended or not await self._unless_gone(self._step(exchange, step)):
                    return
        finally:
            exchange.answered.set()

    async def _unless_gone(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do the work; False if the client is gone before it is done."""
        doing = asyncio.ensure_future(work)
        leaving = asyncio.ensure_future(self._gone.wait())
        try:
            await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                doing.result()
            return doing.done()
        finally:
            doing.cancel()
            leaving.cancel()
            await asyncio.gather(doing, leaving, return_exceptions=True)

    async def _step(self, exchange: Exchange, step: Step) -> None:
        match step:
            case bytes():
                await self._write(exchange, step)
            case Wait(event):
                await bounded(event.wait(), WAIT_SECONDS, f"the answer to {exchange.request.target} still waits")
            case Stall(released):
                await (released or asyncio.Event()).wait()
            case Close():
                await self._end()
            case Reset():
                self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                await self._end()

    async def _write(self, exchange: Exchange, data: bytes) -> None:
        """One write, and then wait until the peer has read it, so that it cannot melt into the next one."""
        with contextlib.suppress(ConnectionError):  # the reading task sees the client go
            await asyncio.get_running_loop().sock_sendall(self._client, data)
            exchange.bytes_sent += len(data)
        over = time.process_time() + (BOUNDARY_SECONDS if self._boundaries else 0)
        while time.process_time() < over and unread_by_peer(self._client):  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0)


def _parse_head(data: bytes) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """(method, target, headers) of RFC 9112."""
    request_line, *lines = data.decode("latin-1").split("\r\n")
    try:
        method, target, _version = request_line.split(" ")
        pairs = [line.split(":", 1) for line in lines]
        return method, target, tuple((name.lower(), value.strip()) for name, value in pairs)
    except ValueError:
        raise FakeUpstreamError(f"the client's request is not HTTP: {data[:200]!r}") from None

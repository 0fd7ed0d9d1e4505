"""One connection to an upstream, and the answer that is being read from it.

No task and no queue: bytes go from the socket's callback into the answer's buffer, and a reader who waits is woken.
One clock per exchange, not one per read. While an answer is being read its connection belongs to it alone; complete,
the connection goes back to its pool at once; given up or broken, it is aborted at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, cast

import httpx

from proxy.server.upstream.http1 import ResponseParser

OnData = Callable[[bytes], bytes | None]
"""Takes what has arrived. None: go on; bytes: stop, and hand them to whoever waits."""

BUFFER = 256 * 1024
"""Bytes of an answer that may lie unread before the socket is read no more. One read (at most as much) comes on top."""

TURN = 64 * 1024
"""Bytes in one read after which the other sockets have their turn: libuv would read a socket that is always full 32
times in a row, with all that is made of it, before it looks at another one."""


class Timeouts(NamedTuple):
    """Seconds, None for ever. `read` bounds the wait for the whole head and each wait for body bytes; `write` bounds
    the time in which no byte of the request leaves."""

    connect: float | None = None
    read: float | None = None
    write: float | None = None


class Http1Response:
    """An answer: its head is here, its body comes as it arrives. For one reader at a time.

    Close it (`aclose`, or `abort` where one cannot await), whether or not it was read to its end.
    """

    __slots__ = ("_buffered", "_connection", "_error", "_loop", "_on_data", "_parser", "_since", "_waiter")

    def __init__(self, connection: Connection, parser: ResponseParser, loop: asyncio.AbstractEventLoop) -> None:
        self._connection: Connection | None = connection
        self._parser = parser
        self._loop = loop
        self._error: Exception | None = None
        self._waiter: asyncio.Future[bytes | None] | None = None
        self._on_data: OnData | None = None
        self._since = loop.time()
        self._buffered = 0

    @property
    def status(self) -> int:
        """200 or above: interim answers are passed over."""
        return self._parser.status

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Names in lower case, in the order in which they came."""
        return self._parser.headers

    @property
    def reason(self) -> bytes:
        """The reason phrase, often empty."""
        return self._parser.reason

    @property
    def http_version(self) -> bytes:
        """HTTP/1.0 or HTTP/1.1"""
        return self._parser.http_version

    @property
    def ends_by_close(self) -> bool:
        """Nothing but the end of the connection ends this body, so a clean end says nothing about completeness."""
        return self._parser.ends_by_close

    @property
    def complete(self) -> bool:
        """The end has arrived; some of the body may still be unread."""
        return self._parser.done

    @property
    def received(self) -> bool:
        """At least one byte of an answer, were it an interim one, has arrived."""
        return self._parser.received

    async def read_some(self) -> bytes:
        """All body bytes that have arrived since the last call, at least one; b"" at the end.

        Raises `httpx.RemoteProtocolError` (cut short, not HTTP), `httpx.ReadError` (connection reset),
        `httpx.ReadTimeout`, `httpx.StreamClosed` (after `aclose`). A call that is cancelled gives the answer up.
        """
        parser = self._parser
        chunks = parser.chunks
        if not chunks:
            self._since = self._loop.time()
            while not chunks:
                if self._error is not None:
                    raise self._error
                if parser.done:
                    return b""
                await self._wait_for_data()
        return self._taken()

    async def pump(self, on_data: OnData) -> bytes | None:
        """Hand on what arrives as it arrives, in the socket's own callback: waking a task costs more than the rest.

        Returns what `on_data` returned as soon as that is not None; None at the end of the response. Raises what
        `read_some` raises, and what `on_data` does.
        """
        parser = self._parser
        while True:
            if parser.chunks:
                stop = on_data(self._taken())
            elif self._error is not None:
                raise self._error
            elif parser.done:
                return None
            else:
                stop = await self._pump_callbacks(on_data)
            if stop is not None:
                return stop

    async def _pump_callbacks(self, on_data: OnData) -> bytes | None:
        """Until `on_data` says stop, or something else has happened."""
        self._since = self._loop.time()
        self._on_data = on_data
        try:
            return await self._wait_for_data()
        finally:
            self._on_data = None

    def _taken(self) -> bytes:
        """What lies unread, no longer kept."""
        chunks = self._parser.chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._drained()
        return data

    async def aclose(self) -> None:
        """Gives up what has not arrived yet and drops what was not read. Never waits."""
        self.abort()

    def abort(self) -> None:
        """`aclose` for callers that cannot await. An unfinished answer takes its connection with it, at once."""
        if self._parser.done and not self._parser.chunks:
            return
        self._parser.chunks.clear()
        self._error = self._error or httpx.StreamClosed()
        if self._connection is not None:
            self._connection.fail(self._error)

    async def head(self) -> None:
        """Waits for the head. For the pool; nobody else sees an answer without one."""
        while not self._parser.head_done:
            if self._error is not None:
                raise self._error
            await self._wait_for_data()

    async def _wait_for_data(self) -> bytes | None:
        """What `wake` was told."""
        if self._waiter is not None:
            raise RuntimeError("this answer has a reader already")
        self._waiter = self._loop.create_future()
        try:
            return await self._waiter
        except BaseException:
            self.abort()
            raise
        finally:
            self._waiter = None

    def _drained(self) -> None:
        if self._buffered > BUFFER and self._connection is not None:
            self._connection.resume()
        self._buffered = 0

    # What the connection calls.

    def arrived(self, size: int) -> bool:
        """Bytes have been parsed. True when so many lie unread that no more should come.

        Every event of every stream comes through here, so it is one function, and not five.
        """
        on_data, chunks = self._on_data, self._parser.chunks
        if on_data is None or not chunks:
            self._buffered += size
            self.wake()
            return self._buffered > BUFFER
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        if self._buffered:
            self._drained()
        self._since = self._loop.time()
        try:
            stop = on_data(data)
        except Exception as error:  # nothing more may come after it
            assert self._connection is not None
            self._connection.fail(error)
            return False
        if stop is not None:
            self._on_data = None
            self.wake(stop)
        return False

    def wake(self, stop: bytes | None = None) -> None:
        """Something has changed for the reader, if one waits; `stop` is what `pump` is to return."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(stop)

    def detached(self, error: Exception | None = None) -> None:
        """The connection is no longer this answer's: the end has arrived, or `error` has come instead of it."""
        self._connection = None
        self._error = error
        self._parser.close()
        self.wake()

    def time_left(self, limit: float) -> float:
        """Of a wait that may last `limit` seconds; all of it while nobody waits."""
        if self._waiter is None:
            return limit
        return self._since + limit - self._loop.time()


class Connection(asyncio.Protocol):
    """A socket: idle, or carrying one exchange. `on_idle` gets it back, `on_lost` hears of its end, perhaps twice."""

    def __init__(self, on_idle: Callable[[Connection], None], on_lost: Callable[[Connection], None]) -> None:
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._response: Http1Response | None = None
        self._parser: ResponseParser | None = None
        self._timeouts = Timeouts()
        self._timer: asyncio.TimerHandle | None = None
        self._unsent = 0  # bytes of the request that the socket had not taken when last looked at

    @property
    def usable(self) -> bool:
        """Open, as far as anybody has noticed."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes, timeouts: Timeouts, *, to_head: bool = False) -> Http1Response:
        """Starts an exchange on an idle connection; the answer's head is still to be waited for."""
        assert self._transport is not None
        self._parser = ResponseParser(to_head=to_head)
        self._response = response = Http1Response(self, self._parser, self._loop)
        self._timeouts = timeouts
        self._transport.write(request)
        if not self._unsent:
            self._start_timer(timeouts.read)
        return response

    def fail(self, error: Exception) -> None:
        """Ends the exchange, if there is one, with an error, and the connection at once."""
        if self._response is not None:
            self._detach().detached(error)
        self.abort()

    def abort(self) -> None:
        """Closes the socket without waiting for anything."""
        self._on_lost(self)
        if self._transport is not None:
            self._transport.abort()

    def resume(self) -> None:
        """The reader has caught up."""
        if self.usable:
            assert self._transport is not None
            self._transport.resume_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Every byte that the socket does not take at once pauses writing, so that its wait can be bounded."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._transport.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer; bytes that nobody asked for end the connection, lest they answer the next request."""
        parser, response = self._parser, self._response
        if parser is None or response is None:
            self.abort()
            return
        try:
            parser.feed(data)
        except httpx.RemoteProtocolError as error:
            self.fail(error)
            return
        if parser.done:
            self._finish(parser.reusable)
        elif response.arrived(len(data)):
            self._pause()
        elif len(data) >= TURN:
            self._pause()
            self._loop.call_soon(self._next_turn, response)

    def _pause(self) -> None:
        if self.usable:
            assert self._transport is not None
            self._transport.pause_reading()

    def _next_turn(self, response: Http1Response) -> None:
        if self._response is response:
            self.resume()

    def eof_received(self) -> None:
        """The server will send no more: the end of some answers, a cut in all others."""
        if self._parser is None:
            self.abort()
            return
        try:
            self._parser.feed_eof()
        except httpx.RemoteProtocolError as error:
            self.fail(error)
        else:
            self._finish(reusable=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed. An exchange that is still under way has been cut by a reset."""
        if self._response is not None:
            error = httpx.ReadError(f"the connection to the server was lost: {exc or 'closed'}")
            error.__cause__ = exc
            self.fail(error)
        self._on_lost(self)

    def pause_writing(self) -> None:
        """Some of the request has not left yet."""
        assert self._transport is not None
        self._unsent = self._transport.get_write_buffer_size()
        if self._response is not None:
            self._start_timer(self._timeouts.write)

    def resume_writing(self) -> None:
        """All of the request has left: now its answer is waited for."""
        self._unsent = 0
        if self._response is not None:
            self._start_timer(self._timeouts.read)

    # The end of an exchange, and its clock

    def _detach(self) -> Http1Response:
        response = self._response
        assert response is not None
        self._response = self._parser = None
        self._stop_timer()
        return response

    def _finish(self, reusable: bool) -> None:
        self._detach().detached()
        if reusable and not self._unsent and self.usable:
            self._on_idle(self)
        else:
            self.abort()

    def _start_timer(self, seconds: float | None) -> None:
        self._stop_timer()
        if seconds is not None:
            self._timer = self._loop.call_later(seconds, self._look_at_clock)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_at_clock(self) -> None:
        if self._unsent:
            self._check_write()
        else:
            self._check_read()

    def _check_write(self) -> None:
        assert self._transport is not None
        left = self._transport.get_write_buffer_size()
        if left < self._unsent:
            self._unsent = left
            self._start_timer(self._timeouts.write)
        else:
            self.fail(httpx.WriteTimeout(f"the server took nothing of the request for {self._timeouts.write} s"))

    def _check_read(self) -> None:
        limit = self._timeouts.read
        assert limit is not None
        assert self._response is not None
        left = self._response.time_left(limit)
        if left > _TICK:
            self._start_timer(left)
        else:
            self.fail(httpx.ReadTimeout(f"nothing came from the server for {limit} s"))


_TICK = 0.001  # seconds; event loops keep time in milliseconds

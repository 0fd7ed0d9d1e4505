"""One connection to an upstream, and the response that is being read from it.

There is no task and no queue: bytes go from the socket's callback into the response's buffer, and a waiting reader is
woken. There is one clock for each exchange, not one for each read. A response has its connection alone. When it is
complete, the connection goes back to the pool. When it is given up or breaks, the connection is aborted at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, cast

import httpx

from proxy.server.upstream.http1 import ResponseParser

OnData = Callable[[bytes], bytes | None]
"""Takes what has arrived. None: go on. Bytes: stop, and hand them to the waiting reader."""

MAX_BUFFERED = 256 * 1024
"""Bytes of a response that may lie unread before reading pauses. One more read (at most as much) may come on top."""

FAIR_READ = 64 * 1024
"""Bytes in one read after which other sockets get their turn. libuv would read a socket that is always full 32 times
in a row before it reads another one."""


class Timeouts(NamedTuple):
    """Seconds; None: no limit. `read` bounds the wait for the whole head and each wait for body bytes. `write` bounds
    the time in which no byte of the request leaves."""

    connect: float | None = None
    read: float | None = None
    write: float | None = None


class Http1Response:
    """A response whose head has arrived. Its body can be read as it arrives, by one reader at a time.

    Close it (`aclose`, or `abort` where one cannot await), whether or not it was read to its end.
    """

    __slots__ = (
        "_buffered",
        "_connection",
        "_error",
        "_loop",
        "_on_data",
        "_parser",
        "_since",
        "_waiter",
        "interruptible",
    )

    def __init__(self, connection: Connection, parser: ResponseParser, loop: asyncio.AbstractEventLoop) -> None:
        self._connection: Connection | None = connection
        self._parser = parser
        self._loop = loop
        self._error: Exception | None = None
        self._waiter: asyncio.Future[bytes | None] | None = None
        self._on_data: OnData | None = None
        self._since = loop.time()
        self._buffered = 0
        self.interruptible = False  # see UpstreamResponse; here it always is

    @property
    def status(self) -> int:
        """200 or above: interim responses are skipped."""
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
        """At least one byte has arrived, perhaps of an interim response."""
        return self._parser.received

    async def read_some(self) -> bytes:
        """All body bytes that have arrived since the last call, at least one; b"" at the end.

        Raises `httpx.RemoteProtocolError` (cut short, not HTTP), `httpx.ReadError` (connection reset),
        `httpx.ReadTimeout`, `httpx.StreamClosed` (after `aclose`). Cancelling a call gives the response up.
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
        return self._take()

    async def pump(self, on_data: OnData) -> bytes | None:
        """Call `on_data` with what arrives, in the socket's own callback: to wake a task costs more than all the rest.

        Returns what `on_data` returned as soon as that is not None, and None at the end of the response. Raises what
        `read_some` raises, and what `on_data` raises.
        """
        parser = self._parser
        while True:
            if parser.chunks:
                stop = on_data(self._take())
            elif self._error is not None:
                raise self._error
            elif parser.done:
                return None
            else:
                stop = await self._pump_callbacks(on_data)
            if stop is not None:
                return stop

    def interrupt(self) -> None:
        """Let `pump` return b"" soon. What arrives meanwhile is kept for the next call."""
        self._on_data = None
        self.wake(b"")

    async def _pump_callbacks(self, on_data: OnData) -> bytes | None:
        """Wait until `on_data` has said stop, or something else has happened."""
        self._since = self._loop.time()
        self._on_data = on_data
        try:
            return await self._wait_for_data()
        finally:
            self._on_data = None

    def _take(self) -> bytes:
        """Take what lies unread."""
        chunks = self._parser.chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._drained()
        return data

    async def aclose(self) -> None:
        """Give up what has not arrived and drop what was not read. Never waits."""
        self.abort()

    def abort(self) -> None:
        """`aclose` for callers that cannot await. The connection of an unfinished response is closed at once."""
        if self._parser.done and not self._parser.chunks:
            return
        self._parser.chunks.clear()
        self._error = self._error or httpx.StreamClosed()
        if self._connection is not None:
            self._connection.fail(self._error)

    async def wait_for_head(self) -> None:
        """Wait for the head. Only the pool sees a response without one."""
        while not self._parser.head_done:
            if self._error is not None:
                raise self._error
            await self._wait_for_data()

    async def _wait_for_data(self) -> bytes | None:
        """Wait for `wake`, and return what it was given."""
        if self._waiter is not None:
            raise RuntimeError("this response has a reader already")
        self._waiter = self._loop.create_future()
        try:
            return await self._waiter
        except BaseException:
            self.abort()
            raise
        finally:
            self._waiter = None

    def _drained(self) -> None:
        if self._buffered > MAX_BUFFERED and self._connection is not None:
            self._connection.resume_reading()
        self._buffered = 0

    # What the connection calls.

    def body_received(self, size: int) -> bool:
        """Bytes of the body have been parsed. True if so many lie unread that reading should pause.

        Every event of every stream comes through here, so it is one function and not five.
        """
        on_data, chunks = self._on_data, self._parser.chunks
        if on_data is None or not chunks:
            self._buffered += size
            self.wake()
            return self._buffered > MAX_BUFFERED
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        if self._buffered:
            self._drained()
        self._since = self._loop.time()
        try:
            stop = on_data(data)
        except Exception as error:  # nothing may come after it
            assert self._connection is not None
            self._connection.fail(error)
            return False
        if stop is not None:
            self._on_data = None
            self.wake(stop)
        return False

    def wake(self, stop: bytes | None = None) -> None:
        """Something has changed for a waiting reader. `stop`: what `pump` returns."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(stop)

    def finish(self, error: Exception | None = None) -> None:
        """The end has arrived, or `error` instead of it. The connection no longer belongs to this response."""
        self._connection = None
        self._error = error
        self._parser.close()
        self.wake()

    def time_left(self, limit: float) -> float:
        """What is left of a wait of at most `limit` seconds; all of it while nobody waits."""
        if self._waiter is None:
            return limit
        return self._since + limit - self._loop.time()


class Connection(asyncio.Protocol):
    """A socket, idle or with one exchange. `on_idle` gets it back; `on_lost` is told when it ends, perhaps twice."""

    def __init__(self, on_idle: Callable[[Connection], None], on_lost: Callable[[Connection], None]) -> None:
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._response: Http1Response | None = None
        self._parser: ResponseParser | None = None
        self._timeouts = Timeouts()
        self._timer: asyncio.TimerHandle | None = None
        self._unsent = 0  # bytes of the request that the socket had not taken at the last check

    @property
    def usable(self) -> bool:
        """Open, as far as is known."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes, timeouts: Timeouts, *, to_head: bool = False) -> Http1Response:
        """Start an exchange on an idle connection. The response's head has still to be waited for."""
        assert self._transport is not None
        self._parser = ResponseParser(to_head=to_head)
        self._response = response = Http1Response(self, self._parser, self._loop)
        self._timeouts = timeouts
        self._transport.write(request)
        if not self._unsent:
            self._start_timer(timeouts.read)
        return response

    def fail(self, error: Exception) -> None:
        """End the exchange, if there is one, with an error, and close the connection at once."""
        if self._response is not None:
            self._detach_response().finish(error)
        self.abort()

    def abort(self) -> None:
        """Close the socket without waiting for anything."""
        self._on_lost(self)
        if self._transport is not None:
            self._transport.abort()

    def resume_reading(self) -> None:
        """Read on: the reader has caught up."""
        if self.usable:
            assert self._transport is not None
            self._transport.resume_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Writing pauses for every byte that the socket does not take at once, so the wait for it can be bounded."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._transport.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        """Bytes of the response. Bytes without a request end the connection, or they would answer the next request."""
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
            self._finish_response(parser.reusable)
        elif response.body_received(len(data)):
            self._pause_reading()
        elif len(data) >= FAIR_READ:
            self._pause_reading()
            self._loop.call_soon(self._resume_after_turn, response)

    def _pause_reading(self) -> None:
        if self.usable:
            assert self._transport is not None
            self._transport.pause_reading()

    def _resume_after_turn(self, response: Http1Response) -> None:
        if self._response is response:
            self.resume_reading()

    def eof_received(self) -> None:
        """The server sends no more. Some responses end so; all others are cut."""
        if self._parser is None:
            self.abort()
            return
        try:
            self._parser.feed_eof()
        except httpx.RemoteProtocolError as error:
            self.fail(error)
        else:
            self._finish_response(reusable=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed. If an exchange was under way, it was cut by a reset."""
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
        """All of the request has left. Now the response is waited for."""
        self._unsent = 0
        if self._response is not None:
            self._start_timer(self._timeouts.read)

    # The end of an exchange, and its clock

    def _detach_response(self) -> Http1Response:
        response = self._response
        assert response is not None
        self._response = self._parser = None
        self._stop_timer()
        return response

    def _finish_response(self, reusable: bool) -> None:
        self._detach_response().finish()
        if reusable and not self._unsent and self.usable:
            self._on_idle(self)
        else:
            self.abort()

    def _start_timer(self, seconds: float | None) -> None:
        self._stop_timer()
        if seconds is not None:
            self._timer = self._loop.call_later(seconds, self._check_timer)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_timer(self) -> None:
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
        if left > CLOCK_RESOLUTION:
            self._start_timer(left)
        else:
            self.fail(httpx.ReadTimeout(f"nothing came from the server for {limit} s"))


CLOCK_RESOLUTION = 0.001  # seconds; event loops keep time in milliseconds

"""HTTP/1.1 on a client's connection: httptools reads, `Client` writes; one request at a time.

Every wait has its bound: for a head, for an idle connection, for a client that reads nothing. What is no request gets
an answer of its own, and what comes while an answer is under way is dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, cast

import httptools

from proxy.server.http.error_responses import MALFORMED, MAX_HEAD, TOO_LARGE, TOO_SLOW, TRAILERS_TOO_LARGE, Refusal
from proxy.server.http.request import Client
from proxy.server.http.request_head import asks_for_upgrade, understood, without_upgrade

log = logging.getLogger("safety_proxy.server")

Serve = Callable[[Client], Coroutine[Any, Any, None]]

LINGER = 1.0  # seconds without a byte of the request after which a client has read the answer that came before its end
MOST_LINGERING = 10.0  # seconds for a client that goes on sending
UNREAD = 75.0  # seconds in which a client takes nothing of an answer that has been sent


class House:
    """What all connections of a listener share.

    serve: carries out a request
    header_timeout, idle: seconds for a head, and those that a connection is kept for its next request
    date:  the Date header as a line
    """

    def __init__(self, serve: Serve, header_timeout: float, idle: float) -> None:
        self.serve = serve
        self.header_timeout = header_timeout
        self.idle = idle
        self.date = b""
        self.connections: set[ClientConnection] = set()
        self.tasks: set[asyncio.Task[None]] = set()


class ClientConnection(asyncio.Protocol):
    """One client's connection."""

    __slots__ = (
        "_arrived",
        "_beside_body",
        "_client",
        "_head_size",
        "_head_timer",
        "_headers",
        "_house",
        "_idle_since",
        "_idle_timer",
        "_in_head",
        "_lingering",
        "_loop",
        "_parser",
        "_paused",
        "_pipelined",
        "_reading",
        "_transport",
        "_unread",
        "_unread_since",
        "_url",
        "_writable",
        "behind",
        "put",
    )

    def __init__(self, house: House) -> None:
        self._house = house
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # until it is made
        self._parser: httptools.HttpRequestParser | None = None  # while a request is read: it is larger than all else
        self._client: Client | None = None  # whose request is being read or answered
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._in_head = True
        self._head_size = 0  # of what has arrived of a head, perhaps with the beginning of the body
        self._arrived = 0
        self._beside_body = 0  # bytes since the last of the body
        self._pipelined = False
        self._paused = False
        self.behind = False
        self._writable: asyncio.Event | None = None  # while it is behind: set once it has caught up
        self._head_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._idle_since = 0.0
        self._lingering: asyncio.TimerHandle | None = None
        self._unread = 0
        self._unread_since = 0.0
        self._reading: asyncio.TimerHandle | None = None  # whether the client does

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The clock for the first head starts."""
        self._transport = cast(asyncio.Transport, transport)
        self.put: Callable[[bytes], None] = self._transport.write  # see `proxy.server.http.request.Link`
        self._house.connections.add(self)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._house.connections.discard(self)
        self._stop_clock()
        for timer in (self._idle_timer, self._lingering, self._reading):
            if timer is not None:
                timer.cancel()
        self.resume_writing()
        client, self._client = self._client, None
        if client is not None:
            client.lost()
        self._parser = None  # it refers back to this object

    def data_received(self, data: bytes) -> None:
        """Bytes of a request. What comes while an answer is under way is dropped, and the connection ends after it
        (RFC 9112, section 9.3.2, lets a client that pipelines expect that)."""
        client = self._client
        if self._lingering is not None:
            self._arrived += len(data)
            return
        if client is not None and not client.more_body:
            client.keep_alive = False
            self._pipelined = True
            return
        self._parse(data)
        if self._in_head and self._head_timer is None and not self._over():
            self._start_clock()

    def eof_received(self) -> None:
        """The client sends no more: it is taken to have left, also while what it has not read keeps the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.lost()
        self._watch_reading()

    def pause_writing(self) -> None:
        """The client does not read as fast as it is sent to."""
        self.behind = True
        self._writable = asyncio.Event()

    def resume_writing(self) -> None:
        """It has caught up."""
        self.behind = False
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    # What httptools calls

    def on_message_begin(self) -> None:
        """A head begins."""
        if self._client is not None:
            self._pipelined = True
            raise ValueError("a request before the answer to the one before it")
        self._idle_since = 0.0  # empty lines before a request do not get here, so they keep no connection open
        self._in_head = True
        self._head_size = self._arrived
        self._url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field. Trailers are read over: they must not become header fields (RFC 9110, section 6.5.1)."""
        if self._in_head:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self._in_head = False
        self._beside_body = 0
        self._stop_clock()
        if self._head_size > MAX_HEAD and len(self._url) + sum(len(n) + len(v) for n, v in self._headers) > MAX_HEAD:
            raise ValueError("a head that is too large")
        parser = self._parser
        assert parser is not None
        if not asks_for_upgrade(parser):
            self._begin(parser)

    def on_body(self, body: bytes) -> None:
        """Bytes of the body."""
        self._beside_body = 0
        if self._client is not None:
            self._client.arrived(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        if self._client is not None:
            self._client.complete()
            self._parser = None

    # A request

    def _begin(self, parser: httptools.HttpRequestParser) -> None:
        """Its head is here: it is served from now on."""
        house = self._house
        line, headers = understood(parser, self._url, self._headers)
        keep_alive = line.version != "1.0" and bool(parser.should_keep_alive())
        self._client = client = Client(self, line, headers, keep_alive)
        self._headers = []
        task = self._loop.create_task(house.serve(client))
        house.tasks.add(task)
        task.add_done_callback(partial(self._served, client))

    def _served(self, client: Client, task: asyncio.Task[None]) -> None:
        """One that was not answered to its end leaves a connection on which nothing more can be said."""
        self._house.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a request failed", exc_info=task.exception())
        if self._client is client:
            self._close()

    def shutdown(self) -> None:
        """Close: now, or once the request under way is answered."""
        if self._client is None:
            self._transport.close()
        else:
            self._client.keep_alive = False

    # What a client asks of its link

    @property
    def date(self) -> bytes:
        """See `proxy.server.http.request.Link`, as for all of these."""
        return self._house.date

    async def drain(self) -> None:
        """Wait for a client that is behind."""
        if self._writable is not None:
            await self._writable.wait()

    def pause_reading(self) -> None:
        """Read no more for now."""
        if not (self._paused or self._over()):
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def answered(self, client: Client) -> None:
        """The answer has been sent. What the client still sends of this request, or behind it, is read no more; but a
        close at once would make it lose the answer (RFC 9112, section 9.6)."""
        self._client = None
        self.resume_reading()
        if client.more_body or self._pipelined:
            self._linger()
        elif client.keep_alive:
            self._watch_reading()
            self._rest()
        else:
            self._close()

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    # Between requests

    def _rest(self) -> None:
        """The connection is idle. Its clock runs on through the requests that come, since to stop and start it for each
        would cost more than to look once too often."""
        self._idle_since = self._loop.time()
        if self._idle_timer is None:
            self._idle_timer = self._loop.call_later(self._house.idle, self._look_idle)

    def _look_idle(self) -> None:
        self._idle_timer = None
        if not self._idle_since:
            return
        left = self._idle_since + self._house.idle - self._loop.time()
        if left > 0.001:
            self._idle_timer = self._loop.call_later(left, self._look_idle)
        else:
            self._transport.close()

    # What is no request

    def _parse(self, data: bytes) -> None:
        parser = self._parser
        if parser is None:
            parser = self._parser = _parser_for(self)
        self._arrived = len(data)
        if self._in_head:
            self._head_size += len(data)
        else:
            self._beside_body += len(data)
        try:
            parser.feed_data(data)
            if self._in_head and self._head_size > MAX_HEAD:
                self._refuse(TOO_LARGE)
            elif self._beside_body > MAX_HEAD and not self._in_head:
                self._refuse(TRAILERS_TOO_LARGE)
        except httptools.HttpParserUpgrade as upgrade:
            self._parser = None
            self._parse(without_upgrade(parser, self._url, self._headers) + data[upgrade.args[0] :])
        except httptools.HttpParserError:
            if self._pipelined and self._client is not None:
                self._client.keep_alive = False
            else:
                self._refuse(TOO_LARGE if self._head_size > MAX_HEAD else MALFORMED)

    def _refuse(self, refusal: Refusal) -> None:
        client, self._client = self._client, None
        if client is not None:  # its body broke off: nobody else must answer it
            client.lost(refusal.error())
            if client.started:
                self._close()
                return
        self._transport.write(refusal.encoded(self.date))
        self._linger()

    def _linger(self) -> None:
        """Send no more, and drop what still comes: a close would make the client's system forget the answer."""
        if self._lingering is None and not self._transport.is_closing():
            self._stop_clock()
            self.resume_reading()
            self._transport.write_eof()
            self._watch_reading()
            self._arrived = 0
            self._lingering = self._loop.call_later(LINGER, self._lingered, self._loop.time() + MOST_LINGERING)

    def _lingered(self, until: float) -> None:
        unsent = self._transport.get_write_buffer_size()
        if unsent or (self._arrived and self._loop.time() < until):
            self._arrived = 0
            self._lingering = self._loop.call_later(LINGER, self._lingered, until)
        else:
            self._transport.abort()

    def _close(self) -> None:
        """Close, once the client has taken what has been sent."""
        self._watch_reading()
        self._transport.close()

    def _watch_reading(self) -> None:
        """See whether the client takes what it has not yet, also while the connection closes: else it would stay."""
        self._unread = self._transport.get_write_buffer_size()
        if self._unread:
            self._unread_since = self._loop.time()
            if self._reading is None:
                self._reading = self._loop.call_later(UNREAD, self._look_at_reading)

    def _look_at_reading(self) -> None:
        self._reading = None
        watched = self._client is not None and self._client.when_gone is not None  # by `proxy.server.exchange.timeouts`
        left = self._unread_since + UNREAD - self._loop.time()
        if watched or self._transport.get_write_buffer_size() < self._unread:
            self._watch_reading()
        elif self._unread and left > 0.001:
            self._reading = self._loop.call_later(left, self._look_at_reading)
        elif self._unread:
            self._transport.abort()

    def _over(self) -> bool:
        """No request is read any more."""
        return self._transport.is_closing() or self._lingering is not None

    def _start_clock(self) -> None:
        self._head_timer = self._loop.call_later(self._house.header_timeout, self._too_slow)

    def _stop_clock(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if not self._over():
            self._refuse(TOO_SLOW)


def _parser_for(connection: ClientConnection) -> httptools.HttpRequestParser:
    """It reads on after a request that ends the connection, so that more on it is dropped and not an error."""
    parser = httptools.HttpRequestParser(connection)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser

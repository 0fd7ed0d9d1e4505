"""HTTP/1.1 on a client's connection: uvicorn's protocol, and what it lacks.

Stock uvicorn reads the request and makes its scope. This class adds: a time-out and a bound for a request's head,
bounds on trailers and chunk extensions, trailers apart from header fields, targets in absolute form, the body behind an
offer of HTTP/2, no second response into a running one, a client that is seen to leave at once, the rest of a refused
body read so that its response is not lost, and an end for a response that nobody reads. The tests in tests/server/http
hold all of it: they are the gate of an upgrade of uvicorn.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import sys
from functools import partial
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from proxy.server.http.cycle import ResponseCycle, asks_for_upgrade, complete_scope, internal_error, without_upgrade
from proxy.server.http.error_responses import (
    HEAD_TOO_LARGE,
    HEAD_TOO_SLOW,
    MALFORMED,
    MAX_HEAD,
    TRAILERS_TOO_LARGE,
    ErrorResponse,
)
from proxy.server.http.request import EXTENSION, Scope

log = logging.getLogger("safety_proxy.server")

HEADER_TIMEOUT = 8.0  # seconds for a request's head, where the server's configuration names none
LINGERING_TIMEOUT = 1.0  # seconds without a byte of the request after which a client has read an early response
LINGERING_TIME = 10.0  # seconds for a client that goes on sending
RESET_ON_CLOSE = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)  # struct linger: on, for 0 seconds
SEND_TIMEOUT = 75.0  # seconds in which a client takes nothing of a response that has been sent


class Connection(HttpToolsProtocol):
    """One client's connection. It serves one request at a time."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._header_timeout: float = getattr(config, "header_timeout", HEADER_TIMEOUT)
        self.parser = None  # type: ignore[assignment]  # the base class keeps one for good; it is large
        self._parser: httptools.HttpRequestParser | None = None  # only while a request is read
        self._cycle: ResponseCycle | None = None  # whose request is being read or answered
        self.url = b""
        self._in_head = True
        self._head_size = 0  # bytes that have come of a head, perhaps with the beginning of the body
        self._received = 0  # bytes of the latest read; while lingering, since the latest look
        self._beside_body = 0  # bytes since the last of the body
        self._pipelined = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._idle_since = 0.0
        self._lingering_timer: asyncio.TimerHandle | None = None
        self._unread = 0  # bytes of responses that the client has not taken
        self._unread_since = 0.0
        self._send_timer: asyncio.TimerHandle | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The clock for the first head starts."""
        super().connection_made(cast(asyncio.Transport, transport))
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self.connections.discard(self)
        self._stop_head_timer()
        for timer in (self._idle_timer, self._lingering_timer, self._send_timer):
            if timer is not None:
                timer.cancel()
        self.flow.resume_writing()
        self._lose_cycle()
        self._parser = None  # it refers back to this object

    def data_received(self, data: bytes) -> None:
        """Bytes of a request. What comes while a response is under way is dropped, and the connection ends after it
        (RFC 9112, section 9.3.2, lets a client that pipelines expect that)."""
        cycle = self._cycle
        if self._lingering_timer is not None:
            self._received += len(data)
            return
        if cycle is not None and not cycle.more_body:
            cycle.keep_alive = False
            self._pipelined = True
            return
        self._parse(data)
        if self._in_head and self._head_timer is None and not self._over:
            self._start_head_timer()

    def eof_received(self) -> None:
        """The client sends no more: it is taken to have left, also while what it has not read keeps the connection."""
        self._lose_cycle()
        self._watch_sending()

    # What httptools calls

    def on_message_begin(self) -> None:
        """A head begins."""
        if self._cycle is not None:
            self._pipelined = True
            raise ValueError("a request before the response to the one before it")
        super().on_message_begin()
        self._idle_since = 0.0  # empty lines before a request do not get here, so they keep no connection open
        self._in_head = True
        self._head_size = self._received

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field. Trailers are dropped: they must not become header fields (RFC 9110, section 6.5.1)."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete: the request is served from now on."""
        self._in_head = False
        self._beside_body = 0
        self._stop_head_timer()
        if self._head_size > MAX_HEAD and len(self.url) + sum(len(n) + len(v) for n, v in self.headers) > MAX_HEAD:
            raise ValueError("a head that is too large")
        parser = self._parser
        assert parser is not None
        if not asks_for_upgrade(parser):
            self._start_cycle(parser)

    def on_body(self, body: bytes) -> None:
        """Bytes of the body."""
        self._beside_body = 0
        if self._cycle is not None:
            self._cycle.feed_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        if self._cycle is not None:
            self._cycle.feed_eof()
            self._parser = None

    # A request

    def _start_cycle(self, parser: httptools.HttpRequestParser) -> None:
        scope = cast(Scope, self.scope)
        complete_scope(scope, parser, self.url, self.root_path)
        is_old = scope["http_version"] == "1.0"
        keep_alive = not is_old and bool(parser.should_keep_alive())
        self._cycle = cycle = ResponseCycle(self, scope, keep_alive, self.expect_100_continue and not is_old)
        scope["extensions"] = {EXTENSION: cycle}
        self.headers = []
        self.scope = cast(Any, None)
        task = self.loop.create_task(cast(Any, self.app)(scope, cycle.receive, cycle.send))
        self.tasks.add(task)
        task.add_done_callback(partial(self._served, cycle))

    def _served(self, cycle: ResponseCycle, task: asyncio.Task[None]) -> None:
        """A request that was not answered to its end leaves a connection on which nothing more can be sent."""
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a request failed", exc_info=task.exception())
        if self._cycle is not cycle:
            return
        if not cycle.started:
            self.transport.write(internal_error(self.date))
        elif cycle.http10:  # its client takes a close for the end of the response
            _reset(self.transport)
        self._close()

    def shutdown(self) -> None:
        """Close: now, or once the request under way is answered. Called when the server stops listening."""
        if self._cycle is None:
            self.transport.close()
        else:
            self._cycle.keep_alive = False

    # What a cycle asks of its connection: see `proxy.server.http.cycle.CycleConnection`

    @property
    def date(self) -> bytes:
        """The Date header of every response, as a line."""
        return date_line(self.server_state)

    def pause_reading(self) -> None:
        """Read no more for now."""
        if not self._over:
            self.flow.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if not self.transport.is_closing():
            self.flow.resume_reading()

    def response_complete(self, cycle: ResponseCycle) -> None:
        """The response has been handed over. What the client still sends of this request, or behind it, is read no
        more; but a close at once would make it lose the response (RFC 9112, section 9.6)."""
        self._cycle = None
        self.server_state.total_requests += 1
        self.resume_reading()
        if cycle.more_body or self._pipelined:
            self._linger()
        elif cycle.keep_alive:
            self._watch_sending()
            self._start_idle_timer()
        else:
            self._close()

    # Between requests

    def _start_idle_timer(self) -> None:
        """The connection is idle. Its timer runs on through the requests that come: to stop and start it for each would
        cost more than one look too many."""
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._check_idle)

    def _check_idle(self) -> None:
        self._idle_timer = None
        if not self._idle_since:
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0.001:
            self._idle_timer = self.loop.call_later(left, self._check_idle)
        else:
            self.transport.close()

    # What is no request

    def _parse(self, data: bytes) -> None:
        parser = self._parser
        if parser is None:
            parser = self._parser = _parser_for(self)
        self._received = len(data)
        if self._in_head:
            self._head_size += len(data)
        else:
            self._beside_body += len(data)
        try:
            parser.feed_data(data)
            if self._in_head and self._head_size > MAX_HEAD:
                self._refuse(HEAD_TOO_LARGE)
            elif self._beside_body > MAX_HEAD and not self._in_head:
                self._refuse(TRAILERS_TOO_LARGE)
        except httptools.HttpParserUpgrade as upgrade:
            self._parser = None
            self._parse(without_upgrade(parser, self.url, self.headers) + data[upgrade.args[0] :])
        except httptools.HttpParserError:
            if self._pipelined and self._cycle is not None:
                self._cycle.keep_alive = False
            else:
                self._refuse(HEAD_TOO_LARGE if self._head_size > MAX_HEAD else MALFORMED)

    def _refuse(self, response: ErrorResponse) -> None:
        cycle = self._cycle
        started = cycle is not None and cycle.started
        self._lose_cycle(response)  # its body broke off: nobody else must answer it
        if started:
            self._close()
            return
        self.transport.write(response.encode(self.date))
        self._linger()

    def _lose_cycle(self, response: ErrorResponse | None = None) -> None:
        cycle, self._cycle = self._cycle, None
        if cycle is not None:
            cycle.connection_lost(response.error() if response is not None else None)

    def _linger(self) -> None:
        """Send no more, and drop what still comes: a close would make the client's system forget the response."""
        if self._lingering_timer is None and not self.transport.is_closing():
            self._stop_head_timer()
            self.resume_reading()
            if self.transport.can_write_eof():  # TLS cannot
                self.transport.write_eof()
            self._watch_sending()
            self._received = 0
            until = self.loop.time() + LINGERING_TIME
            self._lingering_timer = self.loop.call_later(LINGERING_TIMEOUT, self._check_lingering, until)

    def _check_lingering(self, until: float) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent or (self._received and self.loop.time() < until):
            self._received = 0
            self._lingering_timer = self.loop.call_later(LINGERING_TIMEOUT, self._check_lingering, until)
        else:
            self.transport.abort()

    def _close(self) -> None:
        """Close, once the client has taken what has been sent."""
        self._watch_sending()
        self.transport.close()

    def _watch_sending(self) -> None:
        """See whether the client takes what it has not yet, also while the connection closes: else it would stay."""
        self._unread = self.transport.get_write_buffer_size()
        if self._unread:
            self._unread_since = self.loop.time()
            if self._send_timer is None:
                self._send_timer = self.loop.call_later(SEND_TIMEOUT, self._check_sending)

    def _check_sending(self) -> None:
        self._send_timer = None
        watched = self._cycle is not None and self._cycle.watched  # by `proxy.server.exchange.timeouts`
        left = self._unread_since + SEND_TIMEOUT - self.loop.time()
        if watched or self.transport.get_write_buffer_size() < self._unread:
            self._watch_sending()
        elif self._unread and left > 0.001:
            self._send_timer = self.loop.call_later(left, self._check_sending)
        elif self._unread:
            self.transport.abort()

    @property
    def _over(self) -> bool:
        """No request is read any more."""
        return self.transport.is_closing() or self._lingering_timer is not None

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self._header_timeout, self._head_timed_out)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_timed_out(self) -> None:
        self._head_timer = None
        if not self._over:
            self._refuse(HEAD_TOO_SLOW)


def date_line(state: ServerState) -> bytes:
    """The Date header that uvicorn would send, as a line. It changes once a second."""
    return b"".join([b"%b: %b\r\n" % pair for pair in state.default_headers])


def _reset(transport: asyncio.Transport) -> None:
    """Close the connection with a TCP reset, so that its client does not take the close for an end."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    transport.abort()


def _parser_for(connection: Connection) -> httptools.HttpRequestParser:
    """It reads on after a request that ends the connection, so that more on it is dropped and not an error."""
    parser = httptools.HttpRequestParser(connection)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser

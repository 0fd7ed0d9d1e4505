"""One request and its response on a connection of ours: its scope, ASGI's two calls, and the direct way beside them.

The head of a response leaves together with its first bytes. A response of unknown length is chunked; in HTTP/1.0, which
has no chunks, it ends when the connection closes (RFC 9112, section 6.3).
"""

from __future__ import annotations

import asyncio
import http
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import FlowControl

from proxy.errors import ClientError
from proxy.server.http.headers import Headers
from proxy.server.http.request import Message, Scope

HIGH_WATER = 64 * 1024
"""Bytes of a body that may lie unread before the socket is read no more."""

NO_BODY = (204, 304)  # RFC 9110, sections 15.3.5 and 15.4.5


def complete_scope(scope: Scope, parser: httptools.HttpRequestParser, url: bytes, root_path: str) -> None:
    """Add the request's line to the scope that uvicorn has begun. Raises httptools' error for a target that is none.

    A target in absolute form says for whom the request is, and not Host (RFC 9112, section 3.2.2).
    """
    target = httptools.parse_url(url)
    raw_path: bytes = target.path or b"/"
    path = raw_path.decode("ascii")
    if target.host is not None:
        authority = _authority(target)
        scope["headers"] = [(name, authority if name == b"host" else value) for name, value in scope["headers"]]
    scope["method"] = parser.get_method().decode("ascii")
    scope["path"] = root_path + (unquote(path) if "%" in path else path)
    scope["raw_path"] = root_path.encode() + raw_path
    scope["query_string"] = target.query or b""
    scope["http_version"] = parser.get_http_version()


def _authority(target: Any) -> bytes:
    host = b"[%b]" % target.host if b":" in target.host else target.host
    return host if target.port is None else b"%b:%d" % (host, target.port)


def asks_for_upgrade(parser: httptools.HttpRequestParser) -> bool:
    """llhttp takes what follows such a head for another protocol, where it is the body."""
    return bool(parser.should_upgrade()) and parser.get_method() != b"CONNECT"


def without_upgrade(parser: httptools.HttpRequestParser, url: bytes, headers: Headers) -> bytes:
    """The head once more, without the offer (RFC 9110, section 7.8: a server may ignore it, and must in HTTP/1.0).

    Java's client offers HTTP/2 with every request. Websockets leave a mark.
    """
    lines = [b"%b %b HTTP/%b" % (parser.get_method(), url, parser.get_http_version().encode())]
    lines += [b"%b: %b" % pair for pair in headers if pair[0] not in (b"upgrade", b"connection")]
    lines += [b"x-upgrade: %b" % value for name, value in headers if name == b"upgrade"]
    return b"\r\n".join((*lines, b"connection: close", b"", b""))


class CycleConnection(Protocol):
    """What a cycle needs of its connection."""

    transport: asyncio.Transport
    flow: FlowControl

    @property
    def date(self) -> bytes:
        """The Date header of every response, as a line."""

    def pause_reading(self) -> None:
        """Read no more for now."""

    def resume_reading(self) -> None:
        """Read on."""

    def response_complete(self, cycle: ResponseCycle) -> None:
        """The whole response has been handed over."""


class ResponseCycle:
    """A request and its response. See `proxy.server.http.request.DirectConnection` for the direct way.

    more_body:    the end of the request's body has not arrived
    keep_alive:   the connection may serve another request
    disconnected: the client is gone, or has been told that this is no request; what is sent from now on is dropped
    watched:      somebody is told when the client disconnects
    """

    __slots__ = (
        "_body",
        "_body_error",
        "_chunked",
        "_connection",
        "_expects_continue",
        "_flow",
        "_head",
        "_length",
        "_on_disconnect",
        "_sent",
        "_status",
        "_unread",
        "_waiter",
        "_without_body",
        "_write",
        "disconnected",
        "http10",
        "keep_alive",
        "more_body",
        "response_complete",
    )

    def __init__(self, connection: CycleConnection, scope: Scope, keep_alive: bool, expects_continue: bool) -> None:
        self._connection = connection
        self._flow = connection.flow
        self._write = connection.transport.write
        self.http10 = scope["http_version"] == "1.0"
        self._without_body = scope["method"] == "HEAD"
        self.keep_alive = keep_alive
        self._expects_continue = expects_continue
        self._body: list[bytes] = []
        self._unread = 0
        self._waiter: asyncio.Future[None] | None = None
        self._body_error: ClientError | None = None
        self._on_disconnect: Callable[[], None] | None = None
        self.more_body = True
        self.disconnected = False
        self._status = 0  # of the response, once it is known
        self._head = b""  # not written yet
        self._chunked = False
        self._length: int | None = None  # of the body, where the response says it
        self._sent = 0
        self.response_complete = False

    # ASGI

    async def receive(self) -> Message:
        """The next message of the request. Raises ClientError when the body breaks off and its client was told."""
        if not (self._body or self._gone):
            if self._expects_continue and self.more_body:  # RFC 9110, section 10.1.1
                self._expects_continue = False
                self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await self._wait()
        if self._body_error is not None:
            raise self._body_error
        if self._gone:
            return {"type": "http.disconnect"}
        body = b"".join(self._body)
        self._take_body()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        """A message of the response. Waits while the client does not read. Raises RuntimeError for a wrong message."""
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.start" and not self._status:
            self.start(message["status"], list(message.get("headers", ())))
        elif kind == "http.response.body" and self._status and not self.response_complete:
            self._send_body(message.get("body", b""), message.get("more_body", False))
        else:
            raise RuntimeError(f"the message {kind} does not belong here")

    # The direct way

    @property
    def started(self) -> bool:
        """The status of the response is known."""
        return self._status != 0

    @property
    def watched(self) -> bool:
        """Somebody is told when the client disconnects."""
        return self._on_disconnect is not None

    @property
    def body_received(self) -> bool:
        """The whole body of the request is here, in part unread."""
        return not self.more_body and bool(self._body)

    def start(self, status: int, headers: Headers) -> None:
        """Take the head of the response; it is written with its first bytes."""
        self._status = status
        says_close = False
        for name, value in headers:
            if name == b"content-length":
                self._length = int(value)
            elif name == b"connection":
                says_close = value.lower() == b"close"
        if self._length is None and not self._without_body and status not in NO_BODY:
            self._frame_unknown_length(headers)
        self.keep_alive = self.keep_alive and not says_close
        if not (self.keep_alive or says_close):
            headers.append((b"connection", b"close"))
        lines = b"".join([b"%b: %b\r\n" % pair for pair in headers])
        self._head = b"%b%b%b\r\n" % (status_line(status), self._connection.date, lines)

    def write(self, body: bytes) -> bool:
        """Write bytes of a started response. False: nothing was written, as the client does not read as fast as it is
        sent to."""
        if self.disconnected:
            return True
        if self._flow.write_paused or self._without_body:
            return False
        data = b"%x\r\n%b\r\n" % (len(body), body) if self._chunked else body
        if self._head:
            data, self._head = self._head + data, b""
        self._write(data)
        self._sent += len(body)
        return True

    def on_disconnect(self, callback: Callable[[], None] | None) -> None:
        """Call this when the client disconnects. The body is dropped from now on, lest it hide the end."""
        self._on_disconnect = callback
        if callback is not None:
            self._take_body()
            if self.disconnected:
                callback()

    def abort(self) -> None:
        """Close the connection at once, whatever is unsent."""
        self._connection.transport.abort()

    # What the connection tells

    def feed_body(self, data: bytes) -> None:
        """Bytes of the body."""
        if self._on_disconnect is not None or self.response_complete:
            return
        self._body.append(data)
        self._unread += len(data)
        if self._unread > HIGH_WATER:
            self._connection.pause_reading()
        self._wake()

    def feed_eof(self) -> None:
        """The body is complete."""
        self.more_body = False
        if not self._body and self._on_disconnect is None:
            self._body.append(b"")
        self._wake()

    def connection_lost(self, error: ClientError | None = None) -> None:
        """The client is gone. Or its bytes are no request any more; then it has been told what `error` says."""
        self.disconnected = True
        self._body_error = error
        self._wake()
        if self._on_disconnect is not None:
            self._on_disconnect()

    # Inside

    @property
    def _gone(self) -> bool:
        return self.disconnected or self.response_complete

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _take_body(self) -> None:
        self._body.clear()
        if self._unread > HIGH_WATER:
            self._connection.resume_reading()
        self._unread = 0

    def _frame_unknown_length(self, headers: Headers) -> None:
        if self.http10:
            self.keep_alive = False
        else:
            self._chunked = True
            headers.append((b"transfer-encoding", b"chunked"))

    def _send_body(self, body: bytes, more_body: bool) -> None:
        if self._without_body:
            body = b""
        data, self._head = self._head, b""
        self._sent += len(body)
        if self._chunked:
            data += b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            data += b"" if more_body else b"0\r\n\r\n"
        else:
            data += body
        self._check_length(more_body)
        self._write(data)
        if not more_body:
            self.response_complete = True
            self._wake()
            self._connection.response_complete(self)

    def _check_length(self, more_body: bool) -> None:
        if self._length is None or self._without_body:
            return
        if self._sent > self._length or (self._sent < self._length and not more_body):
            raise RuntimeError("the response's body has another length than its Content-Length says")


@cache
def status_line(status: int) -> bytes:
    """The first line of a response. An unknown status has no phrase."""
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return b"HTTP/1.1 %d %b\r\n" % (status, phrase.encode())


def internal_error(date: bytes) -> bytes:
    """The response when an application has failed without one."""
    body = b"Internal Server Error"
    head = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
    return status_line(500) + date + head + body

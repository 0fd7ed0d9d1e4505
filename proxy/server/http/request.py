"""The client's side of one exchange: the request, what comes of its body, and what is sent in answer, and when.

Written for what a chat needs: a whole answer, or chunks. An answer's head leaves together with its first bytes.
"""

from __future__ import annotations

import asyncio
import http
import re
from collections.abc import Callable
from functools import cache
from time import perf_counter
from typing import NamedTuple, Protocol

from proxy.errors import ClientError
from proxy.server.http.body import ClientGone, decode, read_body, too_large
from proxy.server.http.headers import Headers

HIGH_WATER = 64 * 1024
"""Bytes of a body that may lie unread before the socket is read no more."""

_control = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search  # RFC 9110, section 5.5


class Line(NamedTuple):
    """What a request's head says. `version`: of HTTP, "1.1"."""

    method: str
    path: str
    query: bytes
    version: str


class Link(Protocol):
    """The connection on which a request came. `behind`: the client does not read as fast as it is sent to."""

    behind: bool

    def put(self, data: bytes, /) -> None:
        """Send, or keep until it can be sent."""

    @property
    def date(self) -> bytes:
        """The Date header of every answer, as a line."""

    async def drain(self) -> None:
        """Wait until the client has caught up, or is gone."""

    def pause_reading(self) -> None:
        """Read no more for now."""

    def resume_reading(self) -> None:
        """Read on."""

    def answered(self, client: Client) -> None:
        """The whole answer has been sent."""

    def abort(self) -> None:
        """End the connection at once."""


class Client:
    """A request, and what its client is sent.

    header:     the request's header fields by name, in lower case; of those that come twice the first
    more_body:  the end of the body has not arrived
    gone:       the client has left, or has been told that this is no request; what is sent from now on is dropped
    when_gone:  called when it leaves; see `follow`
    keep_alive: the connection may serve another request
    common:     headers that every answer gets
    started:    the head of an answer has been made
    ended:      the last of an answer has been handed over
    sending:    since when a send waits for a client that does not read; 0.0: none does
    last_sent:  when the last byte was handed over, time.perf_counter()
    """

    __slots__ = (
        "_body",
        "_chunked",
        "_head",
        "_link",
        "_refused",
        "_unread",
        "_waiter",
        "common",
        "ended",
        "gone",
        "header",
        "headers",
        "keep_alive",
        "last_sent",
        "line",
        "more_body",
        "sending",
        "started",
        "when_gone",
    )

    def __init__(self, link: Link, line: Line, headers: Headers, keep_alive: bool) -> None:
        self._link = link
        self.line = line
        self.headers = headers
        self.header: dict[bytes, bytes] = dict(reversed(headers))
        self.keep_alive = keep_alive
        self._body: list[bytes] = []
        self._unread = 0
        self._waiter: asyncio.Future[None] | None = None
        self.more_body = True
        self.gone = False
        self._refused: ClientError | None = None
        self.when_gone: Callable[[], None] | None = None
        self._head = b""  # not sent yet
        self._chunked = False
        self.common: Headers = []
        self.started = False
        self.ended = False
        self.sending = 0.0
        self.last_sent = perf_counter()

    # What comes

    async def read(self, limit: int, within: float) -> bytes:
        """The request's whole body, decoded. Raises ClientGone, or a ClientError that says what is wrong with it."""
        length = self.header.get(b"content-length")
        if length is not None and int(length) > limit:
            raise too_large(limit)
        body = await read_body(self.receive, limit, within) if self.more_body else self._taken()
        if len(body) > limit:
            raise too_large(limit)
        encoding = self.header.get(b"content-encoding")
        return body if encoding is None else await asyncio.to_thread(decode, body, encoding, limit)

    async def receive(self) -> tuple[bytes, bool]:
        """What has arrived of the body since the last call, and whether more will come; waits for one of both.

        Raises ClientGone, or a ClientError when the body is none.
        """
        if self.more_body and not self._body and not self.gone:
            expected = self.header.pop(b"expect", b"").lower()
            if expected == b"100-continue" and self.line.version != "1.0":  # RFC 9110, section 10.1.1
                self._link.put(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._taken(), self.more_body

    def _taken(self) -> bytes:
        if self.gone:
            raise self._refused or ClientGone
        body = b"".join(self._body)
        self._body.clear()
        if self._unread > HIGH_WATER:
            self._link.resume_reading()
        self._unread = 0
        return body

    def follow(self, when_gone: Callable[[], None]) -> None:
        """Call this when the client goes. No more of the body is wanted: it is dropped, lest it hide the end."""
        self.when_gone = when_gone
        self._body.clear()
        self._unread = 0
        self._link.resume_reading()
        if self.gone:
            when_gone()

    def forget(self) -> None:
        """Let go of the head: nobody will ask for it any more."""
        self.headers = []
        self.header = {}

    # What goes

    def start(self, status: int, headers: Headers) -> None:
        """Make the head of an answer of unknown length; it leaves with the first bytes."""
        self._chunked = True
        self._begin(status, headers, b"transfer-encoding: chunked\r\n")

    def write(self, body: bytes) -> bool:
        """Bytes of the body, for whoever cannot wait. False when the client is behind: `send`, of nothing, waits."""
        link = self._link
        if not self.gone:
            data = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if self._head:
                data, self._head = self._head + data, b""
            link.put(data)
        self.last_sent = perf_counter()
        return not link.behind

    async def send(self, body: bytes) -> None:
        """Bytes of the body; waits while the client does not read."""
        await self._drain()
        if body:
            self.write(body)

    async def end(self, body: bytes = b"") -> None:
        """The last bytes of the body."""
        self.ended = True
        await self._drain()
        self._finish(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n")

    async def reply(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer."""
        await self._drain()
        self._begin(status, headers, b"" if status == 204 else b"content-length: %d\r\n" % len(body))  # RFC 9110, 8.6
        self.ended = True
        self._finish(b"" if self.line.method == "HEAD" else body)

    def abort(self) -> None:
        """Cut the connection, whatever is unsent."""
        self._link.abort()

    def _begin(self, status: int, headers: Headers, framing: bytes) -> None:
        headers = headers + self.common
        if _control(b"".join([value for _, value in headers])):
            raise ValueError("a header's value holds a control character")
        lines = b"".join([b"%b: %b\r\n" % pair for pair in headers])
        close = b"" if self.keep_alive else b"connection: close\r\n"
        self._head = b"%b%b%b%b%b\r\n" % (status_line(status), self._link.date, lines, close, framing)
        self.started = True

    def _finish(self, rest: bytes) -> None:
        self.last_sent = perf_counter()
        if not self.gone:
            data, self._head = self._head + rest, b""
            self._link.put(data)
            self._link.answered(self)

    async def _drain(self) -> None:
        if self._link.behind and not self.gone:
            self.sending = perf_counter()
            await self._link.drain()
            self.sending = 0.0

    # What the connection tells

    def arrived(self, data: bytes) -> None:
        """Bytes of the body."""
        if self.when_gone is not None:
            return
        self._body.append(data)
        self._unread += len(data)
        if self._unread > HIGH_WATER:
            self._link.pause_reading()
        self._wake()

    def complete(self) -> None:
        """The body is."""
        self.more_body = False
        self._wake()

    def lost(self, refused: ClientError | None = None) -> None:
        """The client has left. Or what it sends is no request any more: then it has been told what is `refused`."""
        self.gone = True
        self._refused = refused
        self._wake()
        if self.when_gone is not None:
            self.when_gone()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


@cache
def status_line(status: int) -> bytes:
    """The first line of an answer; what is no known status has no phrase."""
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return b"HTTP/1.1 %d %b\r\n" % (status, phrase.encode())

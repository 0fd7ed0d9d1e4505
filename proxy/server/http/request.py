"""One HTTP request and its response, over ASGI: the body that comes, what is sent in answer, and when.

Every ASGI server will do. Our own offers a `DirectConnection` in the scope's extensions beside it; then the events of a
running response are written at once, without a coroutine for each.
Source: the ASGI specification, HTTP connection scope (version 2.3).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from random import getrandbits
from time import perf_counter
from typing import Any, Protocol

from proxy.server.http.body import ClientGone, decode, read_body, too_large
from proxy.server.http.headers import Headers
from proxy.server.keys.key import Key

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApplication = Callable[[Scope, Receive, Send], Awaitable[None]]

EXTENSION = "safety_proxy.connection"
"""The scope's extension under which a server offers a `DirectConnection`."""

_control = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search  # RFC 9110, section 5.5


class DirectConnection(Protocol):
    """What a server may offer beside ASGI's messages.

    body_received: the whole body of the request is here; `receive` does not wait
    """

    @property
    def body_received(self) -> bool: ...

    def start(self, status: int, headers: Headers, /) -> None:
        """Take the head of a response; it is written with its first bytes."""

    def write(self, body: bytes, /) -> bool:
        """Write bytes of a started response. False: the client does not read as fast as it is sent
        to, and nothing was written."""

    def on_disconnect(self, callback: Callable[[], None] | None, /) -> None:
        """Call this once when the client disconnects. What still comes of the body is dropped."""

    def abort(self) -> None:
        """Close the connection at once, whatever is unsent."""


class RequestContext:
    """A request, and the response to it.

    id:         what headers, notices, errors and the log call it
    client:     address of the client, as far as the server knows it; "": it does not, as on a unix socket
    key:        the key that the request shows; None: it shows none, and need not
    header:     the request's header fields by name, in lower case; of those that come twice the first
    common:     headers that every response gets
    keep_alive: False: the connection ends with this response
    started:    the status of the response has been chosen
    ended:      the last bytes of the response have been handed over
    sending:    since when a send waits for a client that does not read, time.perf_counter(); 0.0: none does
    last_sent:  when the last byte was handed over, time.perf_counter()
    """

    __slots__ = (
        "_connection",
        "_direct",
        "_disconnect_task",
        "_head",
        "_receive",
        "_send",
        "client",
        "common",
        "ended",
        "header",
        "headers",
        "http_version",
        "id",
        "keep_alive",
        "key",
        "last_sent",
        "method",
        "path",
        "query",
        "sending",
        "started",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._connection: DirectConnection | None = (scope.get("extensions") or {}).get(EXTENSION)
        self._disconnect_task: asyncio.Task[None] | None = None
        self._head: Message | None = None  # chosen, not sent yet
        self._direct: DirectConnection | None = None  # once it knows the head
        self.id = new_id()
        self.client: str = (scope.get("client") or ("",))[0]
        self.key: Key | None = None
        self.method: str = scope["method"]
        self.path = path_of(scope)
        self.query: bytes = scope.get("query_string", b"")
        self.http_version: str = scope.get("http_version", "1.1")
        self.headers: Headers = list(scope["headers"])
        self.header: dict[bytes, bytes] = dict(reversed(self.headers))
        self.common: Headers = []
        self.keep_alive = True
        self.started = False
        self.ended = False
        self.sending = 0.0
        self.last_sent = perf_counter()

    # The request

    async def read(self, limit: int, within: float) -> bytes:
        """The request's whole body, decoded. Raises ClientGone, or a ClientError that says what is wrong with it."""
        if self.key is not None and 0 < self.key.limits.max_body < limit:
            limit = self.key.limits.max_body
        length = self.header.get(b"content-length", b"")
        if length.isdigit() and int(length) > limit:
            raise too_large(limit)
        if self._connection is not None and self._connection.body_received:
            body, _ = await self.receive()
        else:
            body = await read_body(self.receive, limit, within)
        if len(body) > limit:
            raise too_large(limit)
        encoding = self.header.get(b"content-encoding")
        return body if encoding is None else await asyncio.to_thread(decode, body, encoding, limit)

    async def receive(self) -> tuple[bytes, bool]:
        """What has arrived of the body since the last call, and whether more will come. Raises ClientGone."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        return message.get("body", b""), message.get("more_body", False)

    def on_disconnect(self, callback: Callable[[], None] | None) -> None:
        """Call this once when the client disconnects; None: no more. What still comes of the body is dropped."""
        if self._connection is not None:
            self._connection.on_disconnect(callback)
            return
        if self._disconnect_task is not None:
            self._disconnect_task.cancel()
            self._disconnect_task = None
        if callback is not None:
            self._disconnect_task = asyncio.get_running_loop().create_task(self._wait_for_disconnect(callback))

    async def _wait_for_disconnect(self, callback: Callable[[], None]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        callback()

    def forget_headers(self) -> None:
        """Free the request's headers: nobody will ask for them any more."""
        self.headers = []
        self.header = {}

    # The response

    def start(self, status: int, headers: Headers) -> None:
        """Choose status and headers of a response of unknown length. They leave with its first bytes.

        Raises ValueError for a control character in a header's value.
        """
        headers = headers + self.common
        if not self.keep_alive:
            headers.append((b"connection", b"close"))
        if _control(b"".join([value for _, value in headers])):
            raise ValueError("a header's value holds a control character")
        self._head = {"type": "http.response.start", "status": status, "headers": headers}
        self.started = True

    def try_write(self, body: bytes) -> bool:
        """Write bytes of a started response at once. False: nothing was written; await `send` instead."""
        direct = self._direct or self._start_directly()
        if direct is None or not direct.write(body):
            return False
        self.last_sent = perf_counter()
        return True

    def _start_directly(self) -> DirectConnection | None:
        """The connection, once it knows the head. None: it has no direct way, or there is no head yet."""
        connection, head = self._connection, self._head
        if connection is None or head is None:
            return None
        connection.start(head["status"], head["headers"])
        self._head, self._direct = None, connection
        return connection

    async def send(self, body: bytes) -> None:
        """Send bytes of the response. Waits while the client does not read."""
        await self._transmit(body, more_body=True)

    async def end(self, body: bytes = b"") -> None:
        """Send the last bytes of the response."""
        self.ended = True
        await self._transmit(body, more_body=False)

    async def reply(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole response."""
        length = [] if status == 204 else [(b"content-length", b"%d" % len(body))]  # RFC 9110, section 8.6
        self.start(status, headers + length)
        await self.end(b"" if self.method == "HEAD" else body)

    def abort(self) -> None:
        """Close the connection at once, whatever is unsent. A server that has no such call closes it a little later,
        when it sees that the response was left without its end."""
        if self._connection is not None:
            self._connection.abort()

    async def _transmit(self, body: bytes, more_body: bool) -> None:
        self.sending = perf_counter()
        try:
            if self._head is not None:
                head, self._head = self._head, None
                await self._send(head)
                self._direct = self._connection
            await self._send({"type": "http.response.body", "body": body, "more_body": more_body})
        finally:
            self.sending = 0.0
        self.last_sent = perf_counter()


def new_id() -> str:
    """A name for a request, 16 hex digits; it identifies, it does not protect."""
    return f"{getrandbits(64):016x}"


def path_of(scope: Scope) -> str:
    """The path below the point where the application is mounted (ASGI, root_path)."""
    return _below(scope.get("root_path", "").rstrip("/"), scope["path"])


def other_paths(scope: Scope) -> tuple[str, ...]:
    """What a mounted application may be asked for instead of `path_of`.

    Older servers give a path without root_path, which may begin in the same way. A reverse proxy may leave on the
    prefix that root_path names, and the server puts it before the path once more.
    """
    root = scope.get("root_path", "").rstrip("/")
    return (scope["path"], _below(root, path_of(scope))) if root else ()


def _below(root: str, path: str) -> str:
    """The path without root at its beginning, if it stands there."""
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :] or "/"
    return path

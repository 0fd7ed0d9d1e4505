"""The client's side of one exchange: what it is sent, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter
from typing import Any

from proxy.server.body import Receive, decode, read_body
from proxy.server.headers import Headers

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Client:
    """An ASGI request with its ends.

    method, path, query, headers: of the request; header names in lower case, the first of each in `header`
    chunks:   the client understands an answer of unknown length (HTTP/1.1)
    common:   headers that every answer gets
    started:  the head has been sent
    ended:    the whole answer has been sent
    sending:  since when a send waits for a client that does not read; 0.0: none does
    last_sent: when the last byte was handed over, time.perf_counter()
    """

    __slots__ = (
        "_abort",
        "_send",
        "_write",
        "chunks",
        "common",
        "ended",
        "header",
        "headers",
        "last_sent",
        "method",
        "path",
        "query",
        "receive",
        "sending",
        "started",
    )

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        self._send = send
        self._abort: Callable[[], None] = scope["state"]["abort"]
        self._write: Callable[[bytes], bool] = scope["state"]["write"]
        self.receive = receive
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.chunks: bool = scope["http_version"] != "1.0"
        self.headers: Headers = scope["headers"]
        self.header: dict[bytes, bytes] = dict(reversed(self.headers))
        self.common: Headers = []
        self.started = False
        self.ended = False
        self.sending = 0.0
        self.last_sent = perf_counter()

    async def start(self, status: int, headers: Headers) -> None:
        """The head of an answer."""
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers + self.common})

    async def send(self, body: bytes) -> None:
        """Bytes of the body; waits while the client does not read."""
        self.sending = perf_counter()
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        self.sending = 0.0
        self.last_sent = perf_counter()

    def write(self, body: bytes) -> bool:
        """Bytes of the body, for whoever cannot wait. False when the client is behind: `send`, of nothing, waits."""
        self.last_sent = perf_counter()
        return self._write(body)

    async def end(self, body: bytes = b"") -> None:
        """The last bytes of the body."""
        self.ended = True
        self.sending = perf_counter()
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
        self.sending = 0.0
        self.last_sent = perf_counter()

    async def reply(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer."""
        await self.start(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.end(body)

    def abort(self) -> None:
        """Cut the connection, whatever is unsent."""
        self._abort()


async def read_request(client: Client, limit: int, within: float) -> bytes:
    """The request's whole body, decoded. Raises ClientGone, or a ClientError that says what is wrong with it."""
    header = client.header
    body = await read_body(client.receive, header.get(b"content-length"), limit, within)
    encoding = header.get(b"content-encoding")
    return body if encoding is None else await asyncio.to_thread(decode, body, encoding, limit)

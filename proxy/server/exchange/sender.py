"""What one exchange sends to its client, and the record of it."""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter

from proxy.dialects.base import Dialect
from proxy.dialects.request import Request
from proxy.server.exchange.headers import response_headers
from proxy.server.exchange.record import Exchange
from proxy.server.http.headers import Headers
from proxy.server.http.request import RequestContext

STREAM_HEADERS: Headers = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]


class Sender:
    """Sends the parts of a streamed answer, or a whole response.

    request: once it has been read; its headers tell what was left out of it
    """

    __slots__ = ("_dialect", "_exchange", "context", "request")

    def __init__(self, context: RequestContext, dialect: Dialect, exchange: Exchange) -> None:
        self.context = context
        self.request: Request | None = None
        self._dialect = dialect
        self._exchange = exchange

    def start(self) -> None:
        """Choose the head of a streamed answer."""
        self._exchange.status = 200
        headers = response_headers(self._exchange, self.request, self._dialect.stream_type)
        self.context.start(200, headers + STREAM_HEADERS)

    def try_write(self, out: bytes) -> bool:
        """Write a part of a streamed answer at once. False: nothing was written; await `send`."""
        if not self.context.started:
            self.start()
        if not self.context.try_write(out):
            return False
        self._record(len(out))
        return True

    async def send(self, out: bytes, last: bool = False) -> None:
        """Send a part of a streamed answer. Waits while the client does not read."""
        context = self.context
        if not context.started:
            self.start()
        if last:
            await context.end(out)
        else:
            await context.send(out)
        self._record(len(out))

    async def heartbeat(self) -> None:
        """Send a comment, so that nothing takes the connection for dead. It commits the response to status 200."""
        if not self.context.started:
            self.start()
        if not self.context.ended:
            await self.context.send(self._dialect.keep_alive)

    async def reply(self, status: int, body: bytes, extra: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Send a whole response."""
        self._exchange.status = status
        headers = response_headers(self._exchange, self.request, "application/json")
        await self.context.reply(status, [*headers, *extra], body)

    async def reply_answer(self, body: bytes) -> None:
        """Send an answer that is not streamed."""
        await self.reply(200, body)
        self._exchange.bytes_sent = len(body)
        self._exchange.client_bytes = self._exchange.client_text = perf_counter()

    def _record(self, size: int) -> None:
        self._exchange.bytes_sent += size
        if not self._exchange.client_text:
            self._exchange.record_first_sent(self.context.last_sent)

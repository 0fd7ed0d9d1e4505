"""HTTP/1.1 to a model server over plain TCP: as a transport for httpx, and the same without httpx's layers.

    transport = Http1Transport()
    client = httpx.AsyncClient(transport=transport)           # everything httpx can do
    origin = transport.origin("http://127.0.0.1:11434")       # the hot path
    response = await origin.request(b"POST", b"/api/chat", headers, body, Timeouts(connect=5, read=600, write=30))
    try:
        while data := await response.read_some(): ...
    finally:
        await response.aclose()

There is no limit on connections. Every stream holds one as long as it lasts, and a limit would stop the next stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx

from proxy.server.upstream.connection import Connection, Http1Response, OnData, Timeouts
from proxy.server.upstream.http1 import Headers, encode_request

__all__ = ["Headers", "Http1Origin", "Http1Response", "Http1Transport", "OnData", "Timeouts"]

NO_TIMEOUTS = Timeouts()

KEEPALIVE_EXPIRY = 4.0
"""Seconds. llama.cpp's server closes idle connections after 5, and the client should close first."""


class Http1Origin:
    """One host and port, and the connections to it. Made by `Http1Transport.origin`."""

    def __init__(self, host: bytes, port: int, keepalive_expiry: float) -> None:
        self._host = host.decode("ascii")
        self._port = port
        self._authority = (b"[%b]" if b":" in host else b"%b") % host + (b"" if port == 80 else b":%d" % port)
        self._expiry = keepalive_expiry
        self._idle: dict[Connection, float] = {}  # idle since; the longest idle first
        self._connections: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def request(
        self, method: bytes, target: bytes, headers: Headers = (), body: bytes = b"", timeouts: Timeouts = NO_TIMEOUTS
    ) -> Http1Response:
        """Send a request and wait for the head of its response. `target`: the path with its query.

        If a connection was closed while it was idle, the request is sent once more, on a fresh one, but only if not one
        byte of a response came. Raises `httpx.LocalProtocolError` (a request that may not be sent),
        `ConnectError`, `ConnectTimeout`, `WriteTimeout`, `ReadTimeout`, `ReadError`, `RemoteProtocolError`. Where there
        is no fresh connection, what ended the idle one is the cause of the error: the request has been sent.
        """
        request = encode_request(method, target, self._authority, headers, body)
        to_head = method == b"HEAD"
        connection, lost = self._take_idle(), None
        if connection is not None:
            response = connection.send(request, timeouts, to_head=to_head)
            try:
                await response.wait_for_head()
            except (httpx.ReadError, httpx.RemoteProtocolError) as error:
                if response.received:
                    raise
                lost = error
            else:
                return response
        try:
            connection = await self._connect(timeouts.connect)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if lost is not None:
                raise error from lost
            raise
        response = connection.send(request, timeouts, to_head=to_head)
        await response.wait_for_head()
        return response

    @property
    def open_connections(self) -> int:
        """Connections in use and idle."""
        return len(self._connections)

    def close(self) -> None:
        """Abort every connection, also those in use. Their readers get `httpx.CloseError`."""
        self._closed = True
        for connection in list(self._connections):
            connection.fail(httpx.CloseError("the transport was closed"))
        if self._sweeper is not None:
            self._sweeper.cancel()

    async def _connect(self, limit: float | None) -> Connection:
        self._refuse_when_closed()
        connection = Connection(self._return_idle, self._forget)
        where = self._authority.decode("ascii")
        try:
            async with asyncio.timeout(limit):
                await asyncio.get_running_loop().create_connection(lambda: connection, self._host, self._port)
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"{where}: no connection within {limit} s") from error
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(f"{where}: {error}") from error
        if self._closed or not connection.usable:
            connection.abort()
            raise httpx.ConnectError(f"{where}: the connection was closed at once")
        self._connections.add(connection)
        return connection

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise RuntimeError("this transport is closed; requests need a new one")

    # Idle connections. The last one that came back is used first, so that the others can expire.

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.usable:
                return connection
            connection.abort()
        return None

    def _return_idle(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        self._idle[connection] = loop.time()
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._expiry, self._sweep)

    def _forget(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        self._connections.discard(connection)

    def _sweep(self) -> None:
        """Close what has been idle for too long. Runs again when the next one is due."""
        self._sweeper = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection, since in list(self._idle.items()):
            left = since + self._expiry - now
            if left > 0:
                self._sweeper = loop.call_later(left, self._sweep)
                return
            connection.abort()


class Http1Transport(httpx.AsyncBaseTransport):
    """For `httpx.AsyncClient(transport=...)`: http:// by `Http1Origin`, https:// by httpx's own transport.

    Request bodies must be whole (bytes, json, form data), never streams. `ends_by_close` is in the extensions of a
    response. httpx's `pool` timeout has no effect: nobody waits for a connection.
    """

    def __init__(self, *, keepalive_expiry: float = KEEPALIVE_EXPIRY) -> None:
        self._expiry = keepalive_expiry
        self._origins: dict[tuple[bytes, int], Http1Origin] = {}
        self._tls: httpx.AsyncHTTPTransport | None = None

    def origin(self, url: httpx.URL | str) -> Http1Origin:
        """The origin of an http:// URL. Keep it and call it without httpx's layers.

        Raises `httpx.UnsupportedProtocol` for any other scheme.
        """
        url = httpx.URL(url)
        if url.scheme != "http" or not url.raw_host:
            raise httpx.UnsupportedProtocol(f"{str(url)!r}: want http://host[:port]")
        key = (url.raw_host, url.port or 80)
        if key not in self._origins:
            self._origins[key] = Http1Origin(*key, self._expiry)
        return self._origins[key]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """What httpx calls."""
        if request.url.scheme == "https":
            return await self._over_tls().handle_async_request(request)
        response = await self.origin(request.url).request(
            request.method.encode("ascii"),
            request.url.raw_path,
            request.headers.raw,
            _whole_body(request),
            _timeouts(request),
        )
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response),
            extensions={
                "http_version": response.http_version,
                "reason_phrase": response.reason,
                "ends_by_close": response.ends_by_close,
            },
        )

    async def aclose(self) -> None:
        """Abort every connection. Responses that are still being read raise `httpx.CloseError`."""
        for origin in self._origins.values():
            origin.close()
        if self._tls is not None:
            await self._tls.aclose()

    def _over_tls(self) -> httpx.AsyncHTTPTransport:
        if self._tls is None:
            limits = httpx.Limits(max_connections=None, keepalive_expiry=self._expiry)
            self._tls = httpx.AsyncHTTPTransport(limits=limits)
        return self._tls


class _Body(httpx.AsyncByteStream):
    """`read_some` as httpx wants it: one chunk for each read of the socket."""

    def __init__(self, response: Http1Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := await self._response.read_some():
            yield data

    async def aclose(self) -> None:
        self._response.abort()


def _whole_body(request: httpx.Request) -> bytes:
    try:
        return request.content
    except httpx.RequestNotRead:
        raise TypeError("the request body is a stream; this transport sends whole bodies only: pass bytes") from None


def _timeouts(request: httpx.Request) -> Timeouts:
    given = request.extensions.get("timeout", {})
    return Timeouts(given.get("connect"), given.get("read"), given.get("write"))

"""The client of the model server: one interface over two transports, and their failures as errors of ours.

The headers of a request are our own, and of the client's only those that are listed. So `X-Conversation-Id`, for which
llama.cpp keeps a raw copy of an answer, never reaches it.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import httpx

from proxy import __version__
from proxy.errors import SettingsError, UpstreamBroken, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from proxy.server.config import ServerConfig
from proxy.server.upstream.transport import Headers, Http1Origin, Http1Response, Http1Transport, OnData, Timeouts

WRITE_TIMEOUT = 60.0  # seconds in which the model server takes no byte of a request
END_TIMEOUT = 1.0  # seconds that the end of a response may take after its last event

TransportError = httpx.TransportError | httpx.StreamError
TRANSPORT_ERRORS = (httpx.TransportError, httpx.StreamError)

USER_AGENT = b"safety-proxy/" + __version__.encode()
TRACING = frozenset((b"traceparent", b"tracestate"))  # W3C Trace Context
CREDENTIALS = frozenset((b"authorization", b"x-api-key"))
FROM_UPSTREAM = frozenset((b"retry-after",))

QUERY_LIMIT = 1024
_PAIR = re.compile(rb"[A-Za-z][A-Za-z0-9_.-]{0,63}=[A-Za-z0-9_.+-]{0,128}")
_STATEFUL = re.compile(rb"conv|stream|model|autoload|slot|key|token", re.IGNORECASE)


class UpstreamResponse(Protocol):
    """A response whose head has arrived. For one reader."""

    @property
    def status(self) -> int:
        """Of the final response, never 1xx."""

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """Names in lower case."""

    @property
    def complete(self) -> bool:
        """The end has arrived."""

    interruptible: bool
    """Whether `interrupt` may be called while `pump` waits. To be set before it waits."""

    async def read_some(self) -> bytes:
        """All that has arrived since the last call, at least one byte; b"" at the end. Raises TRANSPORT_ERRORS."""

    async def pump(self, on_data: OnData) -> bytes | None:
        """Call `on_data` with what arrives. Returns what it returned as soon as that is not None; None at the end.
        Raises TRANSPORT_ERRORS."""

    def interrupt(self) -> None:
        """Let `pump` return b"" soon, without a further call of its `on_data`. What arrives is kept for the next."""

    def abort(self) -> None:
        """Close the connection at once, unless the response has ended. Never waits."""


class Upstream(Protocol):
    """The model server that requests go to."""

    def open(self, method: bytes, path: bytes, headers: Headers, body: bytes) -> Awaitable[UpstreamResponse]:
        """Send a request and wait for the response's head. Raises TRANSPORT_ERRORS."""

    async def aclose(self) -> None:
        """Close every connection."""


def shown_url(upstream: str) -> str:
    """The model server's base URL for logs and operators, without a password and without a slash at its end."""
    return str(httpx.URL(upstream).copy_with(userinfo=b"")).rstrip("/")


def create_upstream(config: ServerConfig, base: str | None = None) -> Upstream:
    """A client of the model server at `base`, or of the first that is configured. No connection is opened yet."""
    url = httpx.URL(base or config.upstream)
    if config.transport == "own" and url.scheme == "http":
        return DirectUpstream(url, config)
    return HttpxUpstream(url, config)


class DirectUpstream:
    """Over our own transport, without httpx's layers: about 150 us less for each request."""

    def __init__(self, url: httpx.URL, config: ServerConfig) -> None:
        self._transport = Http1Transport()
        self._origin: Http1Origin = self._transport.origin(url)
        self._prefix = url.raw_path.rstrip(b"/")
        self._timeouts = Timeouts(connect=config.connect_timeout, write=WRITE_TIMEOUT)

    def open(self, method: bytes, path: bytes, headers: Headers, body: bytes) -> Awaitable[Http1Response]:
        """See Upstream."""
        return self._origin.request(method, self._prefix + path, headers, body, self._timeouts)

    async def aclose(self) -> None:
        """See Upstream."""
        await self._transport.aclose()


class HttpxUpstream:
    """Through httpx, for https. A connection is used once, so bytes after a response cannot become the next one."""

    def __init__(self, url: httpx.URL, config: ServerConfig) -> None:
        self._url = url.copy_with(raw_path=b"/")
        self._prefix = url.raw_path.rstrip(b"/")
        timeout = httpx.Timeout(None, connect=config.connect_timeout, write=WRITE_TIMEOUT)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._client = httpx.AsyncClient(
            timeout=timeout, limits=limits, trust_env=False, follow_redirects=False, verify=_trust(config.upstream_ca)
        )
        self._client.headers.clear()

    async def open(self, method: bytes, path: bytes, headers: Headers, body: bytes) -> HttpxResponse:
        """See Upstream."""
        url = self._url.copy_with(raw_path=self._prefix + path)
        request = self._client.build_request(method.decode(), url, headers=headers, content=body or None)
        return HttpxResponse(await self._client.send(request, stream=True))

    async def aclose(self) -> None:
        """See Upstream."""
        await self._client.aclose()


def _trust(authorities: Path | None) -> ssl.SSLContext | bool:
    """Whom an https upstream has to be vouched for by: these authorities and no others; None: the public ones. Raises
    SettingsError if the file cannot be read."""
    if authorities is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(authorities))
    except (OSError, ssl.SSLError) as error:
        reason = "it holds no PEM certificate" if isinstance(error, ssl.SSLError) else error.strerror or error
        raise SettingsError(f"upstream_ca {authorities} cannot be read ({reason}): give a PEM file") from None


class HttpxResponse:
    """An httpx response, raw: nothing is decoded."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._chunks: AsyncIterator[bytes] = response.aiter_raw()
        self._closing: asyncio.Task[None] | None = None
        self.status = response.status_code
        self.headers = [(name.lower(), value) for name, value in response.headers.raw]
        self.complete = False
        self.interruptible = False
        self._reading: asyncio.Task[bytes] | None = None  # a read that `interrupt` must not cancel
        self._interrupted: asyncio.Future[None] | None = None

    async def read_some(self) -> bytes:
        """See UpstreamResponse."""
        async for chunk in self._chunks:
            if chunk:
                return chunk
        self.complete = True
        return b""

    async def pump(self, on_data: OnData) -> bytes | None:
        """See UpstreamResponse."""
        while (data := await self._next()) != b"":
            stop = b"" if data is None else on_data(data)
            if stop is not None:
                return stop
        return None

    async def _next(self) -> bytes | None:
        """What `read_some` returns; None: interrupted."""
        if not self.interruptible:
            return await self.read_some()
        loop = asyncio.get_running_loop()
        reading = self._reading = self._reading or loop.create_task(self.read_some())
        self._interrupted = loop.create_future()
        both: set[asyncio.Future[Any]] = {reading, self._interrupted}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            interrupted, self._interrupted = self._interrupted, None
        if interrupted.done():
            return None
        self._reading = None
        return reading.result()

    def interrupt(self) -> None:
        """See UpstreamResponse."""
        if self._interrupted is not None and not self._interrupted.done():
            self._interrupted.set_result(None)

    def abort(self) -> None:
        """See UpstreamResponse."""
        if self._reading is not None:
            self._reading.cancel()
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._response.aclose())


def keep_or_abort(response: UpstreamResponse) -> None:
    """Everything that matters has been read. The connection is kept if the response ends soon, else closed."""
    if not response.complete:
        asyncio.get_running_loop().call_later(END_TIMEOUT, response.abort)


def to_upstream_error(error: Exception, after_head: bool = False) -> UpstreamError:
    """A transport's error as ours, without addresses, because clients read it. `after_head`: the head had arrived."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        unreachable = UpstreamUnreachable("The model server cannot be reached; is it running?", "connect")
        unreachable.was_sent = isinstance(error.__cause__, httpx.ReadError | httpx.RemoteProtocolError)
        return unreachable
    if isinstance(error, httpx.TimeoutException):
        return UpstreamTimeout("The model server took too long", "timeout")
    if after_head or isinstance(error, httpx.ReadError | httpx.CloseError):
        return UpstreamBroken("The model server broke off its answer", "truncated")
    return UpstreamBroken("The model server's answer is not HTTP, or there was none", "protocol")


class UpstreamHeaders:
    """Makes the headers of requests to the model server."""

    def __init__(self, key: str | None, pass_credentials: bool) -> None:
        self._fixed: list[tuple[bytes, bytes]] = [
            (b"content-type", b"application/json"),
            (b"accept-encoding", b"identity"),
            (b"user-agent", USER_AGENT),
        ]
        if key is not None:
            self._fixed.append((b"authorization", b"Bearer " + key.encode()))
        self._by_accept: dict[bytes, tuple[tuple[bytes, bytes], ...]] = {}
        self._passed = TRACING | (CREDENTIALS if pass_credentials and key is None else frozenset())

    def build(self, client: Iterable[tuple[bytes, bytes]], accept: bytes) -> Sequence[tuple[bytes, bytes]]:
        """For one request. `accept`: what the dialect reads. Most requests get the same tuple."""
        fixed = self._by_accept.get(accept)
        if fixed is None:
            fixed = self._by_accept[accept] = (*self._fixed, (b"accept", accept))
        passed = [pair for pair in client if pair[0] in self._passed]
        return [*fixed, *passed] if passed else fixed


def plain_query(query: bytes) -> bytes:
    """The part of a request's query that goes upstream: short plain pairs, for gateways that route by them.

    On the guarded paths model servers know only names that reach into stored streams or load models. Those are dropped.
    """
    if not query or len(query) > QUERY_LIMIT:
        return b""
    return b"&".join(pair for pair in query.split(b"&") if _PAIR.fullmatch(pair) and not _STATEFUL.match(pair))

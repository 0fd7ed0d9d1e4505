"""Asks services over HTTP: `check: http`. One connection pool for all, and for each service its own bounds."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Hashable
from typing import Any

import httpx

from proxy import __version__
from proxy.checks.http_check import HttpQuestion, HttpService
from proxy.core.failures import CheckFailed, Reason
from proxy.server.asks.breaker import Breaker, Clock
from proxy.server.asks.desk import About

QUEUE = 64
"""Questions that wait for a turn with one service; one more is not asked."""
MAX_ANSWER = 1024 * 1024
"""Bytes."""
BUSY = frozenset((429, 503))
HEADERS = {"content-type": "application/json", "user-agent": f"safety-proxy/{__version__}"}


class HttpAnswerer:
    """Answers HttpQuestion (see proxy.server.asks.desk.Answerer). `clock` counts seconds."""

    def __init__(self, clock: Clock = time.monotonic, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._clock = clock
        self._transport = transport
        self._client: httpx.AsyncClient | None = None
        self._lines: dict[HttpService, Line] = {}

    async def answer(self, data: Hashable, about: About) -> object:
        """The answer as JSON. Raises CheckFailed."""
        assert isinstance(data, HttpQuestion)
        line = self._lines.get(data.service)
        if line is None:
            line = self._lines[data.service] = Line(data.service, self._clock)
        body = json.dumps(data.body(about.request_id, about.model, about.key)).encode()
        try:
            async with asyncio.timeout(data.service.timeout):
                return await line.ask(lambda: self._post(data.service, body))
        except TimeoutError:
            line.failed()
            raise line.failure(Reason.DEADLINE, f"did not answer within {data.service.timeout:g} s") from None

    async def aclose(self) -> None:
        """Close every connection."""
        if self._client is not None:
            await self._client.aclose()

    async def _post(self, service: HttpService, body: bytes) -> object:
        try:
            return await self._send(service, body)
        except (httpx.ConnectError, httpx.ConnectTimeout):  # nothing was sent: the service may just be restarting
            return await self._send(service, body)

    async def _send(self, service: HttpService, body: bytes) -> object:
        if self._client is None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
            self._client = httpx.AsyncClient(
                transport=self._transport, limits=limits, timeout=None, trust_env=False, follow_redirects=False
            )
        async with self._client.stream("POST", service.url, content=body, headers=HEADERS) as response:
            if response.status_code != 200:
                reason = Reason.OVERLOADED if response.status_code in BUSY else Reason.REFUSED
                raise CheckFailed(service.name, reason, f"answered with status {response.status_code}")
            answer = bytearray()
            async for part in response.aiter_bytes():
                answer += part
                if len(answer) > MAX_ANSWER:
                    raise CheckFailed(service.name, Reason.WRONG_ANSWER, "gave an answer that is too long")
        try:
            return json.loads(answer)
        except (ValueError, RecursionError):
            raise CheckFailed(service.name, Reason.WRONG_ANSWER, "gave an answer that is no JSON") from None


class Line:
    """Those who wait for one service: so many are asked at once, so many wait, and none while it rests."""

    def __init__(self, service: HttpService, clock: Clock) -> None:
        self._service = service
        self._breaker = Breaker(service.name, clock)
        self._turn = asyncio.Semaphore(service.beside)
        self._waiting = 0

    async def ask(self, post: Callable[[], Any]) -> object:
        """Ask when it is the caller's turn. Raises CheckFailed."""
        if self._waiting >= QUEUE and self._turn.locked():
            raise self.failure(Reason.OVERLOADED, f"has {QUEUE} questions waiting")
        self._breaker.check()
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        try:
            reply = await post()
        except httpx.HTTPError as error:
            self.failed()
            raise self.failure(Reason.UNREACHABLE, f"cannot be asked ({type(error).__name__})") from None
        except CheckFailed:
            self.failed()
            raise
        finally:
            self._turn.release()
        self._breaker.answered()
        return reply

    def failed(self) -> None:
        """One more question was not answered."""
        self._breaker.failed()

    def failure(self, reason: Reason, detail: str) -> CheckFailed:
        """A failure of this service."""
        return CheckFailed(self._service.name, reason, detail)

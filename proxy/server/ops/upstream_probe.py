"""Whether the model server answers: seen in the traffic, and asked where there has been none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy.server.exchange.record import Exchange
from proxy.server.upstream.client import TRANSPORT_ERRORS, Upstream, UpstreamHeaders

INTERVAL = 10.0  # seconds between two looks
TIMEOUT = 5.0  # seconds in which the head of a response has to come
PATH = b"/v1/models"  # every model server of these dialects knows it, and it loads no model


class UpstreamProbe:
    """An observer of exchanges, and a task that asks.

    up: whether the model server answered when last asked, whatever it said; None: it has not been asked yet
    """

    def __init__(self, upstream: Upstream, headers: UpstreamHeaders, report: Callable[[bool], None]) -> None:
        """`report` is told of each answer and each failure."""
        self.up: bool | None = None
        self._upstream = upstream
        self._headers = headers.build([], b"application/json")
        self._report = report
        self._seen = False  # traffic has told since the last look

    def end(self, exchange: Exchange) -> None:
        """An exchange tells whether the model server answered, if it was asked."""
        if exchange.upstream_status:
            self._tell(True)
        elif exchange.upstream_reason == "connect":
            self._tell(False)

    async def run(self) -> None:
        """Look every INTERVAL, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(INTERVAL)

    async def look(self) -> None:
        """Ask, unless the traffic has told since the last look."""
        if not self._seen:
            self._tell(await self._answers())
        self._seen = False

    def _tell(self, up: bool) -> None:
        self.up, self._seen = up, True
        self._report(up)

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(TIMEOUT):
                response = await self._upstream.open(b"GET", PATH, self._headers, b"")
        except (*TRANSPORT_ERRORS, TimeoutError):
            return False
        response.abort()
        return True

"""Whether the model servers answer: seen in the traffic, and asked where there has been none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from proxy.server.backends.backend import Backend
from proxy.server.exchange.record import Exchange

INTERVAL = 10.0  # seconds between two looks


class UpstreamProbe:
    """An observer of exchanges, and a task that asks. Of several model servers each is asked every time, since requests
    go by their lists of models."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        self._backends = backends
        self._by_name = {backend.name: backend for backend in backends}

    @property
    def up(self) -> bool:
        """One of them answered when last asked, whatever it said."""
        return any(backend.up for backend in self._backends)

    def end(self, exchange: Exchange) -> None:
        """An exchange tells whether the model server answered, if it was asked."""
        backend = self._by_name.get(exchange.upstream)
        if backend is None:
            return
        if exchange.upstream_status:
            backend.tell(True)
        elif exchange.upstream_reason == "connect":
            backend.tell(False)

    async def run(self) -> None:
        """Look every INTERVAL, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for backend in self._backends:
                group.create_task(self._run(backend))

    async def look(self) -> None:
        """One look at each."""
        await asyncio.gather(*(self._look(backend) for backend in self._backends))

    async def _run(self, backend: Backend) -> None:
        while True:
            await self._look(backend)
            await asyncio.sleep(INTERVAL)

    async def _look(self, backend: Backend) -> None:
        """Ask, unless the traffic has told since the last look, and nothing else has to be known."""
        if not backend.heard or len(self._backends) > 1 or backend.known.kind is None:
            await backend.look()
        backend.heard = False

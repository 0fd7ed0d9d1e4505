"""What may interrupt an exchange: the client goes, one side says nothing for too long, the proxy stops.

One clock looks at all exchanges; there is nothing for each of them, and nothing for each event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import Enum, auto
from time import perf_counter
from typing import Any

from proxy.errors import UpstreamError, UpstreamTimeout
from proxy.server.config import ServerConfig
from proxy.server.http.request import RequestContext

LEAST_TICK, MOST_TICK = 0.002, 0.5  # seconds between two looks: so much later than asked for may a time-out be
TICKS = 10  # looks in the shortest time-out

Heartbeat = Callable[[], Coroutine[Any, Any, None]]


class Watchdog:
    """Those of all exchanges that run, and the clock that looks at them while there are any."""

    def __init__(self, config: ServerConfig) -> None:
        self.first_byte_timeout = config.first_byte_timeout
        self.idle_timeout = config.idle_timeout
        self.keep_alive = config.keep_alive
        shortest = min(self.first_byte_timeout, self.idle_timeout, self.keep_alive)
        self._tick = min(max(shortest / TICKS, LEAST_TICK), MOST_TICK)
        self._running: set[ExchangeTimeouts] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, timeouts: ExchangeTimeouts) -> None:
        """One more."""
        self._running.add(timeouts)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._tick, self._look)

    def discard(self, timeouts: ExchangeTimeouts) -> None:
        """It is over."""
        self._running.discard(timeouts)

    def stop(self) -> None:
        """End every exchange, each in its proper way."""
        for timeouts in list(self._running):
            timeouts.interrupt(Interrupt.STOPPING)

    def _look(self) -> None:
        self._timer = None
        now = perf_counter()
        for timeouts in list(self._running):
            timeouts.look(now)
        if self._running:
            self._timer = asyncio.get_running_loop().call_later(self._tick, self._look)


class Interrupt(Enum):
    """Why an exchange was interrupted."""

    CLIENT_GONE = auto()
    CLIENT_STUCK = auto()
    UPSTREAM_SILENT = auto()
    STOPPING = auto()


class ExchangeTimeouts:
    """Cancels the task that it was made in; `reason` then says why.

    heard:    when the upstream last said something (time.perf_counter()), set by whoever reads it; 0.0: it is not asked
    patience: seconds for which it may say nothing
    """

    __slots__ = (
        "_closed",
        "_heartbeat",
        "_heartbeat_task",
        "_on_disconnect",
        "_request",
        "_task",
        "_watchdog",
        "heard",
        "patience",
        "reason",
    )

    def __init__(self, request: RequestContext, watchdog: Watchdog) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._request = request
        self._heartbeat: Heartbeat | None = None
        self._heartbeat_task: asyncio.Task[None] | None = None
        self._closed = False
        self._on_disconnect: Callable[[], None] | None = None
        self._watchdog = watchdog
        self.reason: Interrupt | None = None
        self.heard = 0.0
        self.patience = watchdog.first_byte_timeout
        watchdog.add(self)

    def watch_client(self, on_disconnect: Callable[[], None] | None = None) -> None:
        """See the client go from now on: its body has been read. `on_disconnect` is called at once when it does, before
        the exchange's task gets to run."""
        self._on_disconnect = on_disconnect
        self._request.on_disconnect(self._client_disconnected)

    def watch_upstream(self, heartbeat: Heartbeat | None) -> None:
        """Count the time in which nothing comes from now on; `heartbeat` is run when nothing went out for too long."""
        self.heard = perf_counter()
        self._heartbeat = heartbeat

    def begun(self) -> None:
        """The upstream has said its first byte: from now on it may be silent for less long."""
        self.patience = self._watchdog.idle_timeout

    def interrupt(self, reason: Interrupt) -> None:
        """Cancel the exchange: once, and only while it runs."""
        if not self._closed and self.reason is None:
            self.reason = reason
            self._task.cancel()

    @property
    def error(self) -> UpstreamError | None:
        """What the client is told of an interruption; None: it is not there to read it."""
        if self.reason is Interrupt.STOPPING:
            return UpstreamError("The proxy is shutting down; ask again", "stopping", 503)
        if self.reason is Interrupt.UPSTREAM_SILENT:
            return UpstreamTimeout(f"The model server said nothing for {self.patience:g} s", "timeout")
        return None

    def resume(self) -> None:
        """Go on after the cancellation, to end the exchange properly. Raises it again if it was not ours."""
        if self.reason is None:
            raise asyncio.CancelledError
        self._task.uncancel()

    def close(self) -> None:
        """The exchange is over. What refers back to it is let go of, lest only the garbage collector can free it."""
        self._closed = True
        self._request.on_disconnect(None)
        self._heartbeat = self._on_disconnect = None
        self._watchdog.discard(self)
        if self._heartbeat_task is not None:
            self._heartbeat_task.cancel()

    def look(self, now: float) -> None:
        """Whether something is due."""
        request, watchdog = self._request, self._watchdog
        if request.sending:
            if now >= request.sending + watchdog.idle_timeout:
                self.interrupt(Interrupt.CLIENT_STUCK)
        elif self.heard and now >= self.heard + self.patience:
            self.interrupt(Interrupt.UPSTREAM_SILENT)
        elif self._heartbeat is not None and now >= request.last_sent + watchdog.keep_alive:
            self._heartbeat_task = self._task.get_loop().create_task(self._heartbeat())
            request.last_sent = now

    def _client_disconnected(self) -> None:
        if self._on_disconnect is not None:
            self._on_disconnect()
        self.interrupt(Interrupt.CLIENT_GONE)

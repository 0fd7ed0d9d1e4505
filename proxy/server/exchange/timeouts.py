"""What interrupts an exchange: the client leaves, one side sends or reads nothing for too long, the proxy stops.

One clock checks all exchanges. So there is no timer for each exchange, and nothing for each event.
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

MIN_TICK, MAX_TICK = 0.002, 0.5  # seconds between two checks; a time-out may be so much late
TICKS_PER_TIMEOUT = 10  # checks within the shortest time-out

Heartbeat = Callable[[], Coroutine[Any, Any, None]]


class Watchdog:
    """The clock that checks the timeouts of all running exchanges."""

    def __init__(self, config: ServerConfig) -> None:
        self.first_byte_timeout = config.first_byte_timeout
        self.idle_timeout = config.idle_timeout
        self.keep_alive = config.keep_alive
        self.end_grace = config.end_grace
        shortest = min(self.first_byte_timeout, self.idle_timeout, self.keep_alive, self.end_grace)
        self._tick = min(max(shortest / TICKS_PER_TIMEOUT, MIN_TICK), MAX_TICK)
        self._running: set[ExchangeTimeouts] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, timeouts: ExchangeTimeouts) -> None:
        """An exchange has begun."""
        self._running.add(timeouts)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._tick, self._check_all)

    def discard(self, timeouts: ExchangeTimeouts) -> None:
        """It has ended."""
        self._running.discard(timeouts)

    def stop(self) -> None:
        """Interrupt every exchange. Each gets a proper end."""
        for timeouts in list(self._running):
            timeouts.interrupt(Interrupt.STOPPING)

    def pause(self) -> None:
        """Interrupt every exchange in which a model is asked to generate."""
        for timeouts in list(self._running):
            if timeouts.generates:
                timeouts.interrupt(Interrupt.PAUSED)

    def _check_all(self) -> None:
        self._timer = None
        now = perf_counter()
        for timeouts in list(self._running):
            timeouts.check(now)
        if self._running:
            self._timer = asyncio.get_running_loop().call_later(self._tick, self._check_all)


class Interrupt(Enum):
    """Why an exchange was interrupted."""

    CLIENT_GONE = auto()
    CLIENT_STUCK = auto()
    UPSTREAM_SILENT = auto()
    ANSWER_FINISHED = auto()
    STOPPING = auto()
    PAUSED = auto()


class ExchangeTimeouts:
    """The timeouts of one exchange. They cancel the task in which this object was made; `reason` then says why.

    last_received:    when the upstream sent its last byte (time.perf_counter()), set by the reader; 0.0: not asked
    upstream_timeout: seconds in which the upstream may send nothing
    generates:        a model is asked to generate, so a pause ends it
    """

    __slots__ = (
        "_closed",
        "_finished_since",
        "_heartbeat",
        "_heartbeat_task",
        "_is_finished",
        "_on_disconnect",
        "_request",
        "_task",
        "_watchdog",
        "generates",
        "last_received",
        "reason",
        "upstream_timeout",
    )

    def __init__(self, request: RequestContext, watchdog: Watchdog, generates: bool = False) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._request = request
        self._heartbeat: Heartbeat | None = None
        self._heartbeat_task: asyncio.Task[None] | None = None
        self._closed = False
        self._is_finished: Callable[[], bool] | None = None
        self._finished_since = 0.0
        self._on_disconnect: Callable[[], None] | None = None
        self._watchdog = watchdog
        self.generates = generates
        self.reason: Interrupt | None = None
        self.last_received = 0.0
        self.upstream_timeout = watchdog.first_byte_timeout
        watchdog.add(self)

    def watch_client(self, on_disconnect: Callable[[], None] | None = None) -> None:
        """Notice from now on when the client leaves: its body has been read. `on_disconnect` is then called at once,
        before the exchange's task runs."""
        self._on_disconnect = on_disconnect
        self._request.on_disconnect(self._client_disconnected)

    def watch_queue(self, heartbeat: Heartbeat | None) -> None:
        """The exchange waits for its turn; `heartbeat` as in `watch_upstream`."""
        self._heartbeat = heartbeat

    def watch_upstream(self, heartbeat: Heartbeat | None) -> None:
        """Watch from now on how long nothing comes. `heartbeat` runs when the client was sent nothing for too long."""
        self.last_received = perf_counter()
        self._heartbeat = heartbeat

    def forget_upstream(self) -> None:
        """It will not answer; another one is asked. Until then the client is sent nothing."""
        self.last_received, self._heartbeat = 0.0, None
        if self._heartbeat_task is not None:
            self._heartbeat_task.cancel()

    def watch_end(self, is_finished: Callable[[], bool]) -> None:
        """Watch from now on whether the model has ended its answer. Only counts follow, and the exchange waits for them
        `end_grace` seconds: a model server that sends comments for ever would keep it open."""
        self._is_finished = is_finished

    def first_byte_received(self) -> None:
        """The upstream has sent its first byte. From now on it may be silent for a shorter time."""
        self.upstream_timeout = self._watchdog.idle_timeout

    def interrupt(self, reason: Interrupt) -> None:
        """Cancel the exchange, once, and only while it runs."""
        if not self._closed and self.reason is None:
            self.reason = reason
            self._task.cancel()

    @property
    def error(self) -> UpstreamError | None:
        """What the client is told of an interruption; None: nothing, because it has left."""
        if self.reason is Interrupt.STOPPING:
            return UpstreamError("The proxy is shutting down; ask again", "stopping", 503)
        if self.reason is Interrupt.UPSTREAM_SILENT:
            return UpstreamTimeout(f"The model server said nothing for {self.upstream_timeout:g} s", "timeout")
        return None

    def uncancel(self) -> None:
        """Undo the cancellation, to end the exchange properly. Raises it again if it came from elsewhere."""
        if self.reason is None:
            raise asyncio.CancelledError
        self._task.uncancel()

    def resume(self) -> None:
        """Undo a cancellation that only ended the wait for the upstream. The exchange may be interrupted again. Raises
        the cancellation again if it came for another reason."""
        if self.reason is not Interrupt.ANSWER_FINISHED:
            raise asyncio.CancelledError
        self._task.uncancel()
        self.reason = self._is_finished = None

    def close(self) -> None:
        """The exchange has ended. Drop what refers back to it, so that it is freed without the garbage collector."""
        self._closed = True
        self._request.on_disconnect(None)
        self._heartbeat = self._on_disconnect = self._is_finished = None
        self._watchdog.discard(self)
        if self._heartbeat_task is not None:
            self._heartbeat_task.cancel()

    def check(self, now: float) -> None:
        """Interrupt the exchange, or send a heartbeat, if that is due."""
        request, watchdog = self._request, self._watchdog
        if request.sending:
            if now >= request.sending + watchdog.idle_timeout:
                self.interrupt(Interrupt.CLIENT_STUCK)
        elif self._finished_for(now) > watchdog.end_grace:
            self.interrupt(Interrupt.ANSWER_FINISHED)
        elif self.last_received and now >= self.last_received + self.upstream_timeout:
            self.interrupt(Interrupt.UPSTREAM_SILENT)
        elif self._heartbeat is not None and now >= request.last_sent + watchdog.keep_alive:
            self._heartbeat_task = self._task.get_loop().create_task(self._heartbeat())
            request.last_sent = now

    def _finished_for(self, now: float) -> float:
        """Seconds since the model was first seen to have ended its answer, as far as it has not gone on; -1.0: it has
        not ended it."""
        if self._is_finished is None or not self._is_finished():
            self._finished_since = 0.0
            return -1.0
        self._finished_since = self._finished_since or now
        return now - self._finished_since

    def _client_disconnected(self) -> None:
        if self._on_disconnect is not None:
            self._on_disconnect()
        self.interrupt(Interrupt.CLIENT_GONE)

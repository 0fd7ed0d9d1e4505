"""What may interrupt an exchange: the client goes, one side says nothing for too long, the proxy stops.

One timer for each exchange, nothing for each event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import Enum, auto
from time import perf_counter
from typing import Any

from proxy.server.client import Client
from proxy.server.config import ServerConfig

MARGIN = 0.002  # seconds; event loops keep time in milliseconds

Beat = Callable[[], Coroutine[Any, Any, None]]


class Watches(set["Watch"]):
    """Those of all exchanges that run."""

    def stop(self) -> None:
        """End every exchange, each in its proper way."""
        for watch in list(self):
            watch.interrupt(Interrupt.STOPPING)


class Interrupt(Enum):
    """Why an exchange was interrupted."""

    CLIENT_GONE = auto()
    CLIENT_STUCK = auto()
    UPSTREAM_SILENT = auto()
    STOPPING = auto()


class Watch:
    """Cancels the task that it was made in; `reason` then says why.

    heard:    when the upstream last said something (time.perf_counter()); set by whoever reads it
    patience: seconds for which it may say nothing
    """

    __slots__ = (
        "_beat",
        "_beating",
        "_client",
        "_closed",
        "_idle_timeout",
        "_interval",
        "_loop",
        "_task",
        "_timer",
        "_watches",
        "heard",
        "patience",
        "reason",
    )

    def __init__(self, client: Client, config: ServerConfig, watches: Watches) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._loop = task.get_loop()
        self._client = client
        self._idle_timeout = config.idle_timeout
        self._interval = config.keep_alive
        self._timer: asyncio.TimerHandle | None = None
        self._beat: Beat | None = None
        self._beating: asyncio.Task[None] | None = None
        self._closed = False
        self._watches = watches
        watches.add(self)
        self.reason: Interrupt | None = None
        self.heard = 0.0
        self.patience = config.first_byte_timeout

    def follow_client(self) -> None:
        """See the client go from now on: its body has been read."""
        self._client.when_gone = self._client_gone
        if self._client.gone:
            self._client_gone()

    def follow_upstream(self, beat: Beat | None) -> None:
        """Count the time in which nothing comes from now on; `beat` is run when nothing went out for too long."""
        self.heard = perf_counter()
        self._beat = beat
        self._arm(self.heard)

    def interrupt(self, reason: Interrupt) -> None:
        """Cancel the exchange: once, and only while it runs."""
        if not self._closed and self.reason is None:
            self.reason = reason
            self._task.cancel()

    def resume(self) -> None:
        """Go on after the cancellation, to end the exchange properly. Raises it again if it was not ours."""
        if self.reason is None:
            raise asyncio.CancelledError
        self._task.uncancel()

    def close(self) -> None:
        """The exchange is over. What refers back to it is let go of, lest only the garbage collector can free it."""
        self._closed = True
        self._client.when_gone = self._beat = None
        self._watches.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._beating is not None:
            self._beating.cancel()

    def _client_gone(self) -> None:
        self.interrupt(Interrupt.CLIENT_GONE)

    def _arm(self, now: float) -> None:
        """Come back when the next thing can be due. `patience` may shrink to the idle time-out meanwhile."""
        due = self._stuck_at() if self._client.sending else self.heard + min(self.patience, self._idle_timeout)
        if self._beat is not None:
            due = min(due, max(self._client.last_sent, self._client.sending) + self._interval)
        self._timer = self._loop.call_later(max(due - now, 0.0) + MARGIN, self._look)

    def _look(self) -> None:
        now = perf_counter()
        client = self._client
        if client.sending:
            if now >= self._stuck_at():
                self.interrupt(Interrupt.CLIENT_STUCK)
                return
        elif now >= self.heard + self.patience:
            self.interrupt(Interrupt.UPSTREAM_SILENT)
            return
        elif self._beat is not None and now >= client.last_sent + self._interval:
            self._beating = self._loop.create_task(self._beat())
            client.last_sent = now
        self._arm(now)

    def _stuck_at(self) -> float:
        return self._client.sending + self._idle_timeout

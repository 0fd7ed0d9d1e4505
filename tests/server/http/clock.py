"""The clock of a client's connection, which a test puts forward instead of waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from proxy.server.http.connection import Connection
from tests.server.running import Proxy


class Timer:
    """What has to be done at a time, unless it is cancelled (see asyncio.TimerHandle)."""

    def __init__(self, when: float, act: Callable[[], object]) -> None:
        self.when = when
        self.act = act
        self.cancelled = False

    def cancel(self) -> None:
        """Do not do it."""
        self.cancelled = True


class Clock:
    """A loop whose time stands still but for `forward`. Put it in the place of a connection's loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time()
        self._timers: list[Timer] = []

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """This clock, as a connection takes it."""
        return cast(asyncio.AbstractEventLoop, self)

    def time(self) -> float:
        """Seconds."""
        return self._now

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Done by `forward`."""
        timer = Timer(self._now + delay, lambda: callback(*args))
        self._timers.append(timer)
        return timer

    def forward(self, seconds: float) -> None:
        """So much later: everything that falls due until then is done, each at its time."""
        until = self._now + seconds
        while timer := self._next(until):
            self._now = timer.when
            timer.act()
        self._now = until

    def _next(self, until: float) -> Timer | None:
        self._timers = [timer for timer in self._timers if not timer.cancelled]
        due = [timer for timer in self._timers if timer.when <= until]
        if not due:
            return None
        timer = min(due, key=lambda timer: timer.when)
        self._timers.remove(timer)
        return timer

    def __getattr__(self, name: str) -> Any:
        """All else is the loop's own."""
        return getattr(self._loop, name)


def only_connection(proxy: Proxy) -> Connection:
    """The one client's connection that a proxy has."""
    (connection,) = proxy.server.listener.server_state.connections
    return cast(Connection, connection)

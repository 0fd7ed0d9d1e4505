"""Counts by minute in this process, for the library `limits`.

The library's own storage takes the time of day: after a clock that was set back a minute lasts for hours. And each of
its counts makes a task that looks at all others. Here a minute is one of the monotonic clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from limits.aio.storage import Storage

MOST = 10_000  # counts; beyond them those whose time is over are dropped


class SteadyMemory(Storage):
    """A storage for the fixed windows of `limits`. For one event loop."""

    STORAGE_SCHEME = None

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._clock = clock
        self._wall = wall
        self._counts: dict[str, tuple[int, float]] = {}  # how many, and when they end

    @property
    def base_exceptions(self) -> type[Exception]:
        """What goes wrong here: nothing."""
        return ValueError

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count so many more; how many there are now."""
        count, end = self._current(key)
        if not count:
            if len(self._counts) >= MOST:
                self._sweep()
            end = self._clock() + expiry
        self._counts[key] = count + amount, end
        return count + amount

    async def get(self, key: str) -> int:
        """How many there are."""
        return self._current(key)[0]

    async def get_expiry(self, key: str) -> float:
        """When they end, in seconds since 1970."""
        _, end = self._current(key)
        return self._wall() + max(0.0, end - self._clock())

    async def check(self) -> bool:
        """It is always there."""
        return True

    async def reset(self) -> int | None:
        """Forget all counts."""
        count = len(self._counts)
        self._counts.clear()
        return count

    async def clear(self, key: str) -> None:
        """Forget one count."""
        self._counts.pop(key, None)

    def _current(self, key: str) -> tuple[int, float]:
        count, end = self._counts.get(key, (0, 0.0))
        return (count, end) if self._clock() < end else (0, 0.0)

    def _sweep(self) -> None:
        now = self._clock()
        for key in [key for key, (_, end) in self._counts.items() if end <= now]:
            del self._counts[key]

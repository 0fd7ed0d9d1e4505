"""Whoever tries again and again what is blocked has to wait: blocked requests are counted by key."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable

from proxy.errors import TooMany

MINUTE = 60.0
MOST = 10_000  # of whom blocked requests are remembered; those who were seen last stay


class _Tries:
    __slots__ = ("cool_until", "times")

    def __init__(self, most: int) -> None:
        self.times: deque[float] = deque(maxlen=most)
        self.cool_until = 0.0


class Probing:
    """Counts blocked requests.

    cooled: how often somebody had to begin to wait; refused: requests while they waited
    """

    def __init__(self, most: int, cool_down: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`most`: blocked requests in a minute after which one waits `cool_down` seconds; 0: never."""
        self._most = most
        self._cool_down = cool_down
        self._clock = clock
        self._tries: OrderedDict[str, _Tries] = OrderedDict()
        self.cooled = self.refused = 0

    def check(self, who: str) -> None:
        """Raises TooMany while somebody has to wait."""
        tries = self._tries.get(who)
        if tries is None:
            return
        left = tries.cool_until - self._clock()
        if left > 0:
            self.refused += 1
            message = f"Too many blocked requests: this {_kind(who)} has to wait for {left:.0f} s"
            raise TooMany(message, "cooling_down", left)

    def blocked(self, who: str) -> bool:
        """A request was blocked. True: from now on they have to wait."""
        if not self._most:
            return False
        tries = self._tries.setdefault(who, _Tries(self._most))
        self._tries.move_to_end(who)
        if len(self._tries) > MOST:
            self._tries.popitem(last=False)
        now = self._clock()
        tries.times.append(now)
        if len(tries.times) < self._most or now - tries.times[0] > MINUTE:
            return False
        tries.times.clear()
        tries.cool_until = now + self._cool_down
        self.cooled += 1
        return True


def _kind(who: str) -> str:
    return "key" if who.startswith("key:") else "client"

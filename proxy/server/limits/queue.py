"""The queue in front of the model server: so many requests are under way, a bounded number waits, in order."""

from __future__ import annotations

import asyncio
from collections import deque

from proxy.errors import Unavailable

RETRY = 5.0  # seconds after which a client that found no place may ask again


class Queue:
    """First come, first served.

    running: requests under way
    full, late: how many found no place, and how many waited too long
    """

    def __init__(self, most_running: int, most_waiting: int, timeout: float) -> None:
        """`most_running`: 0: any number, and nobody waits. `timeout`: seconds that a request waits."""
        self._most_running = most_running
        self._most_waiting = most_waiting
        self._timeout = timeout
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.running = 0
        self.full = self.late = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def take(self) -> bool:
        """Begin at once, if there is room. False: wait for it."""
        if self._most_running and (self.running >= self._most_running or self._waiting):
            return False
        self.running += 1
        return True

    def line_up(self) -> tuple[int, asyncio.Future[None]]:
        """Take a place: its number, and what to `wait` for. Raises Unavailable if the queue is full."""
        if len(self._waiting) >= self._most_waiting:
            self.full += 1
            message = f"The model server is busy, and {self._most_waiting} requests wait for it; ask again later"
            raise Unavailable(message, "queue_full", RETRY)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        return len(self._waiting), turn

    async def wait(self, turn: asyncio.Future[None]) -> None:
        """Wait for the turn; then the request is under way. Raises Unavailable if it does not come in time."""
        try:
            async with asyncio.timeout(self._timeout):
                await turn
        except TimeoutError:
            self._give_up(turn)
            self.late += 1
            message = f"The model server was busy for {self._timeout:g} s; ask again later"
            raise Unavailable(message, "queue_timeout", RETRY) from None
        except BaseException:
            self._give_up(turn)
            raise

    def leave(self) -> None:
        """A request that was under way has ended; the next one begins."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if turn in self._waiting:
            self._waiting.remove(turn)
        elif turn.done() and not turn.cancelled():
            self.leave()  # its turn came in the same moment

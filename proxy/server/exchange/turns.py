"""Long work of many exchanges on one event loop: in each turn of the loop one of them works, and not for long.

What comes in small pieces is judged where it arrives and does not ask here. So an event of a chat waits for one turn at
the most, however many others have much to do: a turn grows by QUANTUM and one step, not with their number.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter, thread_time

from proxy.core.steps import next_step
from proxy.dialects.answer import Answer

QUANTUM = 0.004
"""Seconds of work in one turn. A step that has begun is not interrupted; see `proxy.core.steps`."""


class Turns:
    """Whoever has work waits for a turn, first come, first served.

    clock: counts seconds
    used:  counts the processor's seconds: a step is no longer because other programs had the processor meanwhile
    """

    def __init__(self, clock: Callable[[], float] = perf_counter, used: Callable[[], float] = thread_time) -> None:
        self._clock, self._used = clock, used
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._calling = False

    async def wait(self) -> None:
        """Returns when it is the caller's turn, which lasts until the caller awaits something."""
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        if not self._calling:
            self._calling = True
            loop.call_soon(self._call_next)
        await turn

    def use(self, answer: Answer) -> bytes:
        """Work on an answer, at least one step and for as long as the turn lasts; bytes for its client."""
        guard, out = answer.guard, list[bytes]()
        end = self._clock() + QUANTUM
        while answer.work is not None and (not out or (self._clock() < end and not answer.stalled)):
            before, step = self._used(), guard.step
            out.append(answer.step())
            guard.step = next_step(step, self._used() - before)
        return b"".join(out)

    def _call_next(self) -> None:
        """Wake the first; the next one is woken in the loop's next turn, after that one has worked."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._call_next)
                return
        self._calling = False

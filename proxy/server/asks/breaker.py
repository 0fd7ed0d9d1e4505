"""A circuit breaker: who has failed several times in a row is left alone for a while, then asked once to see."""

from __future__ import annotations

import time
from collections.abc import Callable

from proxy.core.failures import CheckFailed, Reason

FAILURES = 5
"""In a row, after which somebody is left alone."""
REST = 5.0
"""Seconds for which that lasts. Then one question is asked to see whether an answer comes again."""

Clock = Callable[[], float]


class Breaker:
    """Of one service, or one model. `name`: for errors. `clock` counts seconds."""

    def __init__(self, name: str, clock: Clock = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._failures = 0
        self._rests_until = 0.0

    def check(self) -> None:
        """May it be asked? Raises CheckFailed while it rests. After that the first question finds out; the others go on
        failing until it is answered, or another rest is over."""
        if self._failures < FAILURES:
            return
        if self._clock() < self._rests_until:
            detail = f"has failed {self._failures} times in a row, and is not asked"
            raise CheckFailed(self._name, Reason.RESTING, detail)
        self._rests_until = self._clock() + REST

    def failed(self) -> None:
        """A question was not answered."""
        self._failures += 1
        if self._failures >= FAILURES:
            self._rests_until = self._clock() + REST

    def answered(self) -> None:
        """A question was answered."""
        self._failures = 0

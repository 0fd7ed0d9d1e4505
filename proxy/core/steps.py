"""Work in steps, so that whoever runs it can let others run in between."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]
"""It stands still after each step; what it returns is the result. Close it to give the work up."""

STEP = 2048
"""Characters that are judged in one step. The slowest text for the shipped rules takes some 3 us for each."""


def in_one_go(steps: Steps[T]) -> T:
    """All steps, one after the other."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result

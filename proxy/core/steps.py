"""Work in steps, so that whoever runs it can let others run in between."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, Literal, TypeVar

T = TypeVar("T")

STALLED: Final = "stalled"

Steps = Generator[Literal["stalled"] | None, None, T]
"""It stands still after each step; what it returns is the result. Close it to give the work up. A step that ends with
STALLED can do no more before a question has been answered."""

STEP = 2048
"""Characters that are judged in one step, to begin with: some 6 ms of the slowest text. See `next_step`."""

LEAST_STEP, MOST_STEP = 256, 32 * 1024
LONG, SHORT = 0.004, 0.001  # seconds


def next_step(step: int, took: float) -> int:
    """Characters of the next step, when one of `step` took so many seconds. Each begins with reading what the text held
    before once more, so a step that is too short costs time."""
    if took > LONG:
        return max(step // 2, LEAST_STEP)
    return min(step * 2, MOST_STEP) if took < SHORT else step


def in_one_go(steps: Steps[T]) -> T:
    """All steps, one after the other. Raises RuntimeError where an answer is needed, which nobody could bring."""
    while True:
        try:
            if next(steps) is STALLED:
                raise RuntimeError("a question is open: take the steps one by one, and answer it")
        except StopIteration as end:
            result: T = end.value
            return result

"""What is promised to happen at once, on a machine that may be busy with other things.

A wall clock also counts the time in which nobody let us run: the kernel tells how much that was, and it is no lateness.
What it does not tell of, another thread of the kernel that was late, say, may make a test late twice; whatever else it
finds wrong is wrong at the first try.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

AT_ONCE: Final = 0.1
"""Seconds within which the model server must notice that nobody wants its answer any more."""
TRIES: Final = 3

SCHEDULING: Final = Path("/proc/thread-self/schedstat")
"""Time on the processor, time of waiting for it (nanoseconds), and times that it was given (Linux, sched-stats.rst)."""
_waited_before = 0.0  # this thread's, when the test began

Test = TypeVar("Test", bound=Callable[..., Any])


class LateError(AssertionError):
    """It came, but not at once."""


def assert_at_once(seconds: float, within: float = AT_ONCE) -> None:
    """LateError if it took `seconds` and that is too long, also without the time in which this thread had to wait."""
    waited = _waited() - _waited_before
    if seconds >= within + waited:
        raise LateError(f"{seconds:.3f} s, not within {within} s; {waited:.3f} s of it nobody let us run")


def _waited() -> float:
    """Seconds for which this thread could have run and did not; 0.0 where the kernel does not tell (not Linux)."""
    try:
        return int(SCHEDULING.read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def _begin() -> None:
    global _waited_before
    _waited_before = _waited()


def timely(test: Test) -> Test:
    """A test that may be late twice, but not three times."""
    marked: Any = functools.wraps(test)(_async_tries(test) if inspect.iscoroutinefunction(test) else _tries(test))
    return cast(Test, marked)


def _tries(test: Callable[..., Any]) -> Any:
    def again(*args: Any, **kwargs: Any) -> None:
        for left in reversed(range(TRIES)):
            _begin()
            try:
                test(*args, **kwargs)
                return
            except LateError:
                if not left:
                    raise

    return again


def _async_tries(test: Callable[..., Any]) -> Any:
    async def again(*args: Any, **kwargs: Any) -> None:
        for left in reversed(range(TRIES)):
            _begin()
            try:
                await test(*args, **kwargs)
                return
            except LateError:
                if not left:
                    raise

    return again

"""What is promised to happen at once, on a machine that may be busy with other things.

A wall clock also counts the time in which nobody let us run. So a test of such a promise may be late twice; whatever
else it finds wrong is wrong at the first try.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

AT_ONCE: Final = 0.1
"""Seconds within which the model server must notice that nobody wants its answer any more."""
TRIES: Final = 3

Test = TypeVar("Test", bound=Callable[..., Any])


class LateError(AssertionError):
    """It came, but not at once."""


def assert_at_once(seconds: float, within: float = AT_ONCE) -> None:
    """LateError if it took `seconds` and that is too long."""
    if seconds >= within:
        raise LateError(f"{seconds:.3f} s, not within {within} s")


def timely(test: Test) -> Test:
    """A test that may be late twice, but not three times."""
    marked: Any = functools.wraps(test)(_async_tries(test) if inspect.iscoroutinefunction(test) else _tries(test))
    return cast(Test, marked)


def _tries(test: Callable[..., Any]) -> Any:
    def again(*args: Any, **kwargs: Any) -> None:
        for left in reversed(range(TRIES)):
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
            try:
                await test(*args, **kwargs)
                return
            except LateError:
                if not left:
                    raise

    return again

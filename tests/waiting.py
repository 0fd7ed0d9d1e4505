"""How tests wait: for a condition, never for a time.

What has to come is waited for until PATIENCE is over, however late a busy machine lets it be. What must not come before
its time is tried with a clock that the test sets. What has to come at once is measured in this process's own work: the
time in which others had the processor does not count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic, process_time, sleep
from typing import Any, Final

PATIENCE: Final = 60.0
"""Seconds after which a test that waits has failed. Nothing that goes right comes near."""
AT_ONCE: Final = 0.1
"""Seconds of own work. On a quiet machine they are seconds: these waits never rest."""

REST: Final = 0.05
"""Seconds between two looks at another process."""


class LateError(AssertionError):
    """It did not come at once."""


async def at_once(happens: asyncio.Event) -> None:
    """Wait for what has to follow at once, with all its parts in this process. LateError if it does not."""
    over = process_time() + AT_ONCE
    while not happens.is_set():
        if process_time() > over:
            raise LateError(f"it did not happen within {AT_ONCE} s of work")
        await asyncio.sleep(0)


async def stuck(work: asyncio.Future[Any]) -> bool:
    """Whether something that needs nothing but this process is not done at once."""
    over = process_time() + AT_ONCE
    while not work.done() and process_time() < over:  # noqa: ASYNC110 - own work is counted
        await asyncio.sleep(0)
    return not work.done()


async def until(holds: Callable[[], object]) -> None:
    """Wait until it is true. TimeoutError when PATIENCE is over."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - what is looked at has no event
            await asyncio.sleep(0)


def until_elsewhere(holds: Callable[[], object]) -> None:
    """Wait until another process has made it true. TimeoutError when PATIENCE is over."""
    over = monotonic() + PATIENCE
    while not holds():
        if monotonic() > over:
            raise TimeoutError
        sleep(REST)


async def rest() -> None:
    """Let another process work before it is looked at again."""
    await asyncio.sleep(REST)


async def at_rest(value: Callable[[], object]) -> None:
    """Wait until a value has stayed the same for AT_ONCE. TimeoutError when PATIENCE is over."""
    async with asyncio.timeout(PATIENCE):
        before, since = value(), process_time()
        while process_time() < since + AT_ONCE:
            await asyncio.sleep(0)
            if (now := value()) != before:
                before, since = now, process_time()


async def a_moment() -> None:
    """Give everybody in this process the time for all that they have to do now."""
    over = process_time() + AT_ONCE / 10
    while process_time() < over:  # noqa: ASYNC110 - own work is counted
        await asyncio.sleep(0)

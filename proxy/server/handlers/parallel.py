"""A model that reads a prompt while others are still asked about it: nothing of its answer is read before they say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from proxy.server.upstream.client import UpstreamResponse


class PromptChanged(Exception):
    """Who was asked about a prompt wants it changed, and the model has it already."""


async def response_after(
    verdict: asyncio.Task[bool], asking: asyncio.Task[UpstreamResponse], abort: Callable[[], None]
) -> UpstreamResponse:
    """The response, when the verdict is there: whether the prompt has to be changed.

    Raises what either of them raises, and PromptChanged. Then neither is under way any more, and the model is stopped
    (`abort`).
    """
    tasks: list[asyncio.Task[Any]] = [asking, verdict]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if asking.done() and asking.exception() is not None:
            return asking.result()
        if await verdict:
            raise PromptChanged
        return await asking
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        abort()
        raise

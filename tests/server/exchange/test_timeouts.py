"""When an exchange is interrupted: told by times that a test gives."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from proxy.server.config import ServerConfig
from proxy.server.exchange.timeouts import ExchangeTimeouts, Interrupt, Watchdog
from proxy.server.http.request import RequestContext

pytestmark = pytest.mark.anyio


class Client:
    """A client that reads all that is sent to it."""

    sending = 0.0
    last_sent = 0.0

    def on_disconnect(self, callback: object) -> None:
        """It stays."""


async def interrupted_at(finished: list[bool]) -> tuple[Interrupt | None, int]:
    """Why and at which second an exchange is interrupted whose answer has so finished, second for second."""
    config = ServerConfig(upstream="http://127.0.0.1:1", end_grace=2.5)
    watchdog, now = Watchdog(config), -1
    made: list[ExchangeTimeouts] = []

    async def serve() -> None:
        made.append(ExchangeTimeouts(cast(RequestContext, cast(Any, Client())), watchdog))
        made[0].watch_end(lambda: finished[now])
        await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    await asyncio.sleep(0)
    (timeouts,) = made
    while timeouts.reason is None and now + 1 < len(finished):
        now += 1
        timeouts.check(100.0 + now)
    timeouts.close()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return timeouts.reason, now


async def test_an_answer_that_goes_on_after_its_end_has_the_whole_grace_once_more() -> None:
    """The grace counts from the end after which nothing came."""
    assert await interrupted_at([True] * 9) == (Interrupt.ANSWER_FINISHED, 3)
    assert await interrupted_at([True, True, False, True, True, True, True, True]) == (Interrupt.ANSWER_FINISHED, 6)
    assert await interrupted_at([True, False] * 9) == (None, 17)

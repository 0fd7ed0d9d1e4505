"""Somebody who answers when a test says so. Nothing waits by the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable

from proxy.core.failures import CheckFailed
from proxy.server.asks.desk import About
from tests.server.running import soon


class Scripted:
    """Answers questions that are texts (tests.checks.questions.Finds).

    asked:     all questions, in the order in which they came
    cancelled: those that nobody waits for any more
    """

    def __init__(self, reply: Callable[[str], object] | None = None) -> None:
        """reply: what is answered at once; None: `say` answers."""
        self.asked: list[str] = []
        self.cancelled: list[str] = []
        self.abouts: list[About] = []
        self._reply = reply
        self._waiting: dict[str, list[asyncio.Future[object]]] = {}
        self._changed = asyncio.Event()

    async def answer(self, data: Hashable, about: About) -> object:
        """See Answerer."""
        assert isinstance(data, str)
        self.asked.append(data)
        self.abouts.append(about)
        self._changed.set()
        if self._reply is not None:
            return self._reply(data)
        answer = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(data, []).append(answer)
        try:
            reply = await answer
        except asyncio.CancelledError:
            self.cancelled.append(data)
            self._changed.set()
            raise
        if isinstance(reply, CheckFailed):
            raise reply
        return reply

    async def aclose(self) -> None:
        """See Answerer."""

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait until this is so; it is looked at whenever a question comes or is dropped."""
        while not done():
            self._changed.clear()
            await soon(self._changed.wait())

    async def was_asked(self, *texts: str) -> None:
        """Wait for these questions."""
        await self.until(lambda: set(texts) <= set(self.asked))

    def say(self, text: str, reply: object = ()) -> None:
        """Answer a question that was asked, to all who have asked it."""
        for answer in self._waiting.pop(text):
            if not answer.done():
                answer.set_result(reply)

    def waiting(self) -> list[str]:
        """The questions that have no answer."""
        return list(self._waiting)

"""The questions of one exchange, asked beside each other. Equal questions are asked once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from time import perf_counter
from typing import Any

from proxy.core.failures import CheckFailed
from proxy.server.asks.desk import About, Desk

BESIDE = 4
"""Questions of one exchange that are under way at once. Each service has a bound of its own for all exchanges."""
MOST_KNOWN = 1024
"""Answers of one exchange that are remembered."""


class _Question:
    """One question, and who waits for the answer."""

    __slots__ = ("began", "data", "names", "task")

    def __init__(self, data: Hashable) -> None:
        self.data = data
        self.names: list[Any] = []
        self.task: asyncio.Task[None] | None = None
        self.began = 0.0  # when it was asked, by perf_counter()


class Asker:
    """Asks, and keeps the answers until they are taken. An answer may come for a question that was dropped meanwhile.

    about:     the exchange
    told:      is told of each question that was asked: what, the answer (None: nobody waits for it any more), and the
               seconds until then
    on_answer: is called when an answer has come. For one that is known already when it is asked for it is not: whoever
               asks is about to send what stands before it
    """

    def __init__(
        self,
        desk: Desk,
        about: About,
        beside: int = BESIDE,
        told: Callable[[Hashable, object, float], None] = lambda *_: None,
    ) -> None:
        self._desk = desk
        self.about = about
        self._beside = beside
        self._told = told
        self._waiting: deque[_Question] = deque()
        self._open: dict[Hashable, _Question] = {}
        self._running = 0
        self._known: dict[Hashable, object] = {}
        self._answers: deque[tuple[Any, object]] = deque()
        self._woken: asyncio.Future[None] | None = None
        self._closed = False
        self.on_answer: Callable[[], None] | None = None

    @property
    def busy(self) -> bool:
        """Whether answers are to come, or to be taken."""
        return bool(self._open or self._answers)

    def ask(self, name: Any, data: Hashable) -> None:
        """Ask. The answer will be told under this name; one that is known already can be taken at once."""
        if self._closed:
            return
        if data in self._known:
            self._put(name, self._known[data])
            return
        question = self._open.get(data)
        if question is None:
            question = self._open[data] = _Question(data)
            self._waiting.append(question)
        question.names.append(name)
        self._start()

    def drop(self, names: Iterable[Any]) -> None:
        """These questions need no answer any more. What nobody waits for is not asked, or given up."""
        gone = set(names)
        for question in list(self._open.values()) if gone else ():
            question.names = [name for name in question.names if name not in gone]
            if not question.names:
                self._give_up(question)
        self._start()

    def take(self) -> list[tuple[Any, object]]:
        """The answers that have come, each with the name of its question."""
        answers = list(self._answers)
        self._answers.clear()
        return answers

    async def wait(self) -> None:
        """Until there is an answer to be taken."""
        while not self._answers:
            if not self._open:
                raise RuntimeError("nobody was asked, so there will be no answer")
            self._woken = asyncio.get_running_loop().create_future()
            try:
                await self._woken
            finally:
                self._woken = None

    async def answers(self, questions: Iterable[Hashable]) -> dict[Hashable, object]:
        """Ask all of these, and wait for all answers. Those to what was asked before, and given up, are dropped."""
        wanted = dict.fromkeys(questions)
        for data in wanted:
            self.ask(data, data)
        got: dict[Hashable, object] = {}
        while len(got) < len(wanted):
            await self.wait()
            got.update((name, reply) for name, reply in self.take() if name in wanted)
        return got

    def close(self) -> None:
        """The exchange is over: give up all that is under way."""
        self._closed = True
        self.on_answer = None
        for question in list(self._open.values()):
            self._give_up(question)
        self._answers.clear()

    def _start(self) -> None:
        while self._waiting and self._running < self._beside and not self._closed:
            question = self._waiting.popleft()
            if self._open.get(question.data) is question:
                self._running += 1
                question.task = asyncio.get_running_loop().create_task(self._run(question))
                question.task.add_done_callback(self._ended)  # also of a task that is given up before it has begun

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._running -= 1
        self._start()

    async def _run(self, question: _Question) -> None:
        question.began = perf_counter()
        try:
            reply = await self._desk.answer(question.data, self.about)
        finally:
            if self._open.get(question.data) is question:
                del self._open[question.data]
        self._told(question.data, reply, perf_counter() - question.began)
        if not isinstance(reply, CheckFailed) and len(self._known) < MOST_KNOWN:
            self._known[question.data] = reply
        for name in question.names:
            self._tell(name, reply)

    def _give_up(self, question: _Question) -> None:
        if self._open.get(question.data) is question:
            del self._open[question.data]
        if question.task is not None:
            question.task.cancel()
        if question.began:
            self._told(question.data, None, perf_counter() - question.began)

    def _tell(self, name: Any, reply: object) -> None:
        if self._closed:
            return
        self._put(name, reply)
        if self.on_answer is not None:
            self.on_answer()

    def _put(self, name: Any, reply: object) -> None:
        self._answers.append((name, reply))
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

"""Asks all the questions that have no reply yet, and waits for a model server that is away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Final

from proxy.audit.asking import Asker, Away
from proxy.audit.plan import Question, questions
from proxy.audit.progress import Progress, span
from proxy.audit.replies import Reply
from proxy.audit.results import Audit, ResultsFile
from proxy.errors import SettingsError

FIRST_WAIT: Final = 1.0  # seconds until a server that is away is asked again; each next wait is twice as long
LONGEST_WAIT: Final = 30.0


async def pause(seconds: float) -> None:
    """Wait until a server that is away is asked again."""
    await asyncio.sleep(seconds)


class Runner:
    """One run.

    patience: seconds that a model server may be away in a row
    """

    def __init__(
        self,
        audit: Audit,
        askers: Mapping[str, Asker],
        file: ResultsFile,
        progress: Progress,
        patience: float,
    ) -> None:
        """`askers`: by the names of the sides."""
        self._audit = audit
        self._askers = askers
        self._file = file
        self._progress = progress
        self._patience = patience
        self.replies: list[Reply] = list(audit.replies)

    async def run(self, concurrency: int = 1) -> Audit:
        """Ask, so many at once. Raises SettingsError when patience is over, or nothing can be asked."""
        left = self._left()
        workers = [asyncio.create_task(self._work(left)) for _ in range(concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers)
            self._progress.end()
        return self._audit._replace(replies=tuple(self.replies))

    def _left(self) -> Iterator[Question]:
        done = {reply.key for reply in self._audit.replies}
        audit = self._audit
        return (one for one in questions(audit.sides, audit.prompts, audit.options.repeats) if one.key not in done)

    async def _work(self, left: Iterator[Question]) -> None:
        for question in left:
            reply = await self._ask(question)
            self._file.add(reply)
            self.replies.append(reply)
            self._progress.advance()

    async def _ask(self, question: Question) -> Reply:
        waited, wait = 0.0, FIRST_WAIT
        while True:
            try:
                return await self._askers[question.side.name].ask(question)
            except Away as away:
                if waited >= self._patience:
                    told = f"`{question.side.name}` has not answered for {span(waited)} ({away})"
                    raise SettingsError(f"{told}; what is there is kept, and --resume goes on") from None
                if not waited:
                    told = f"`{question.side.name}` does not answer ({away}); it is waited for, {span(self._patience)}"
                    self._progress.say(f"{told} at most. Ctrl-C keeps what is there")
            await pause(wait)
            self._progress.waited(wait)
            waited, wait = waited + wait, min(2 * wait, LONGEST_WAIT)

"""Asks worker processes: checks of plug-ins with `isolation: process`. One process for each kind, one question at once.

A process that is over its deadline is killed; the next question starts another one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Hashable, Sequence

from proxy.checks.isolated import ProcessQuestion
from proxy.core.failures import CheckFailed, Reason
from proxy.server.asks.desk import About

START_TIMEOUT = 60.0
"""Seconds until a process has imported its plug-ins."""
QUEUE = 64
"""Questions that wait for a process; one more is not asked."""
MAX_LINE = 4 * 1024 * 1024
"""Bytes of an answer."""


class ProcessAnswerer:
    """Answers ProcessQuestion (see proxy.server.asks.desk.Answerer).

    command: starts a worker process, proxy.startup.worker; empty: there is none
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)
        self._workers: dict[str, WorkerProcess] = {}
        self._tasks: set[asyncio.Task[object]] = set()

    async def answer(self, data: Hashable, about: About) -> object:
        """The places that were found. Raises CheckFailed. A process that computes is not interrupted when nobody waits
        for its answer any more: it would have to start again."""
        assert isinstance(data, ProcessQuestion)
        worker = self._workers.get(data.kind)
        if worker is None:
            worker = self._workers[data.kind] = WorkerProcess(data.kind, self._command)
        task = asyncio.get_running_loop().create_task(worker.ask(data))
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """End every process."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for worker in self._workers.values():
            await worker.stop()

    def _done(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # somebody has seen it, or nobody waits any more


class WorkerProcess:
    """One process, and those who wait for it."""

    def __init__(self, kind: str, command: Sequence[str]) -> None:
        self._kind = kind
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        return None if self._process is None else self._process.pid

    async def ask(self, question: ProcessQuestion) -> object:
        """Ask when it is this question's turn. Raises CheckFailed."""
        if self._waiting >= QUEUE:
            raise self._failure(Reason.OVERLOADED, f"has {QUEUE} texts waiting")
        self._waiting += 1
        try:
            async with self._turn:
                return await self._ask(question)
        finally:
            self._waiting -= 1

    async def stop(self) -> None:
        """Kill the process."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # else its pipes are closed by the garbage collector

    async def _ask(self, question: ProcessQuestion) -> object:
        try:
            process = self._process or await self._start()
            asked = {"kind": question.kind, "options": question.options, "text": question.text}
            async with asyncio.timeout(question.deadline):
                reply = await self._exchange(process, json.dumps(asked).encode() + b"\n")
        except TimeoutError:
            await self.stop()
            raise self._failure(Reason.DEADLINE, f"took more than {question.deadline:g} s, and was killed") from None
        except (OSError, EOFError, ValueError) as error:
            await self.stop()
            raise self._failure(Reason.UNREACHABLE, f"has a process that ended ({type(error).__name__})") from None
        except asyncio.CancelledError:
            await self.stop()
            raise
        if isinstance(reply, dict):
            raise self._failure(Reason.RAISED, f"raised {reply.get('raised')}")
        return reply

    async def _start(self) -> asyncio.subprocess.Process:
        if not self._command:
            raise self._failure(Reason.UNREACHABLE, "has no process in which it could run")
        pipe = asyncio.subprocess.PIPE
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, limit=MAX_LINE
        )
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self._line(process)
        except TimeoutError:
            raise EOFError from None
        return process

    async def _exchange(self, process: asyncio.subprocess.Process, line: bytes) -> object:
        assert process.stdin is not None
        process.stdin.write(line)
        await process.stdin.drain()
        return await self._line(process)

    async def _line(self, process: asyncio.subprocess.Process) -> object:
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return json.loads(line)

    def _failure(self, reason: Reason, detail: str) -> CheckFailed:
        return CheckFailed(self._kind, reason, detail)

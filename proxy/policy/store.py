"""The policies in force: loaded off the event loop, swapped whole, and kept when a newer version is wrong."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from proxy.errors import PolicyError
from proxy.matching.pauses import Pause, no_pause
from proxy.policy.compile import Compilation
from proxy.policy.files import read_directory, settled
from proxy.policy.policyset import PolicySet
from proxy.policy.reuse import Kept
from proxy.policy.source import Source

WORK = 0.002  # seconds of compiling between two rests
REST = 0.002  # seconds of rest at least,
TURNS = 3  # and so many turns of the event loop
PATIENCE = 1.0  # seconds for a turn of the event loop; then it is not waited for
SWITCH = 0.0002  # seconds after which a compiling thread lets the event loop in
COLLECT = (1_000, 8, 1_000_000)  # small garbage collections only: a full one stops every thread,
CHEAP = 40_000  # for so long: some 10 ms when it has to look at so many objects

log = logging.getLogger("safety_proxy.policies")
_one_load = threading.Lock()  # what is set while it is held belongs to the whole process


@dataclass(frozen=True, slots=True)
class Status:
    """How loading went. Times are seconds since the epoch.

    revision:  of the set in force; empty before the first load
    loaded_at: when it was loaded
    error:     what was wrong with the latest attempt, all of it; empty when it went well
    failed_at: when an attempt last failed
    """

    revision: str = ""
    loaded_at: float = 0.0
    error: str = ""
    failed_at: float = 0.0
    loads: int = 0
    failures: int = 0


class PolicyStore:
    """One directory's policies. `current` is one reference, swapped whole: whoever took it keeps what it began with."""

    def __init__(self, directory: Path, *, hash_key: bytes, shadow: bool = False, allow_empty: bool = False) -> None:
        self.directory = directory
        self.shadow = shadow
        self.status = Status()
        self.listeners: list[Callable[[Status], None]] = []  # told after each attempt
        self._hash_key = hash_key
        self._allow_empty = allow_empty
        self._current: PolicySet | None = None
        self._kept = Kept()  # of the set in force
        self._tried = b""  # digest of the files of the latest attempt
        self._turn = asyncio.Lock()

    @property
    def current(self) -> PolicySet:
        """The set in force; there is one as soon as `load` has returned."""
        assert self._current is not None, "load() comes first"
        return self._current

    async def load(self) -> PolicySet:
        """The first load, before anybody is served. Raises PolicyError; then there is no set to fall back on."""
        async with self._turn:
            await self._attempt(first=True)
        if self._current is None:
            raise PolicyError(self.status.error.splitlines())
        return self._current

    async def reload(self) -> bool:
        """Read the files again, changed or not. False: they are wrong (see `status.error`), and the old set stays."""
        async with self._turn:
            await self._attempt()
            return not self.status.error

    async def refresh(self) -> None:
        """Reload if the files are not those of the latest attempt."""
        async with self._turn:
            if await asyncio.to_thread(self._look) != self._tried:
                await self._attempt()

    def _look(self) -> bytes:
        try:
            return _digest(read_directory(self.directory))
        except PolicyError as error:
            return str(error).encode()

    async def _attempt(self, first: bool = False) -> None:
        pause = no_pause if first else _Rests(asyncio.get_running_loop())
        try:
            self._accept(await asyncio.to_thread(self._compiled, first, pause))
        except PolicyError as error:
            self._refuse(str(error))
        except Exception as error:
            log.exception("loading policies failed")
            self._refuse(f"{self.directory}: loading failed ({type(error).__name__}): please report this")
        for listener in self.listeners:
            listener(self.status)

    def _compiled(self, first: bool, pause: Pause) -> PolicySet:
        """In a worker thread: read and compile."""
        sources = self._read(first)
        empty_is_fine = self._allow_empty and (self._current is None or not self._current.rules)
        compilation = Compilation(
            sources,
            hash_key=self._hash_key,
            shadow=self.shadow,
            allow_empty=empty_is_fine,
            origin=str(self.directory),
            kept=self._kept,
            asked=self._current.asked if self._current is not None else (),
            pause=pause,
        )
        with _giving_way():
            _free_what_is_over()
            compiled = compilation.run()
        self._kept = compilation.kept
        return compiled

    def _read(self, first: bool) -> tuple[Source, ...]:
        try:
            sources = read_directory(self.directory) if first else settled(self.directory)
        except PolicyError as error:
            self._tried = str(error).encode()
            raise
        self._tried = _digest(sources)
        return sources

    def _accept(self, new: PolicySet) -> None:
        if self._current is None or new.revision != self._current.revision:
            self._current = new  # else the old one stays: it knows more texts already
        self.status = replace(
            self.status, revision=new.revision, loaded_at=time.time(), error="", loads=self.status.loads + 1
        )
        rules = "1 rule" if len(new.rules) == 1 else f"{len(new.rules)} rules"
        log.info("policies %s loaded from %s: %s", new.revision[:12], self.directory, rules)
        for line in new.hints:
            log.info("%s", line)

    def _refuse(self, error: str) -> None:
        self.status = replace(self.status, error=error, failed_at=time.time(), failures=self.status.failures + 1)
        log.error("policies in %s cannot be used, %s:\n%s", self.directory, self._what_stays(), error)

    def _what_stays(self) -> str:
        return f"revision {self.status.revision[:12]} stays" if self._current else "and there are none to fall back on"


class _Rests:
    """To be called often by a thread that computes: every WORK seconds it stands back for the event loop.

    For the whole of WORK the loop may get nowhere: it gives the interpreter away with each of its system calls, and has
    to wait for it again. So it gets the time to catch up, however much it has to do.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tired = time.monotonic() + WORK

    def __call__(self) -> None:
        if time.monotonic() < self._tired:
            return
        rested = time.monotonic() + REST
        for _ in range(TURNS):
            self._turn()
        time.sleep(max(0.0, rested - time.monotonic()))
        self._tired = time.monotonic() + WORK

    def _turn(self) -> None:
        """Wait until the loop has done what it has to do by now."""
        turned = threading.Event()
        with suppress(RuntimeError):  # it is closed
            self._loop.call_soon_threadsafe(turned.set)
            turned.wait(PATIENCE)


@contextmanager
def _giving_way() -> Generator[None, None, None]:
    """Let the event loop in often while this thread computes."""
    with _one_load:
        usual = sys.getswitchinterval(), gc.get_threshold()
        sys.setswitchinterval(SWITCH)
        gc.set_threshold(*COLLECT)
        try:
            yield
        finally:
            sys.setswitchinterval(usual[0])
            gc.set_threshold(*usual[1])


def _free_what_is_over() -> None:
    """Collect the sets that nobody has any more, before there is another one; not if everybody had to wait for that."""
    if len(gc.get_objects(generation=2)) < CHEAP:
        gc.collect()


def _digest(sources: tuple[Source, ...]) -> bytes:
    digest = sha256()
    for source in sources:
        digest.update(f"{source.base}\0{len(source.data)}\0".encode())
        digest.update(source.data)
    return digest.digest()

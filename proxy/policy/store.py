"""The policies in force. They are loaded off the event loop and swapped as a whole. A wrong edit changes nothing."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from proxy.checks.registry import BUILT_IN_ONLY, Registry
from proxy.errors import PolicyError
from proxy.matching.pauses import no_pause
from proxy.policy.compile import Compilation
from proxy.policy.document import Source
from proxy.policy.file_store import FileStore
from proxy.policy.files import read_directory, settled
from proxy.policy.policyset import PolicySet
from proxy.policy.rule_compiler import CompileCache

WORK_TIME = 0.002  # seconds of compiling between two yields
YIELD_TIME = 0.002  # seconds that a yield lasts at least
LOOP_TURNS = 3  # turns of the event loop that a yield lasts at least
TURN_TIMEOUT = 1.0  # seconds that a yield waits for one turn of the event loop
SWITCH_INTERVAL = 0.0002  # seconds after which a compiling thread lets the event loop run
GC_THRESHOLDS = (1_000, 8, 1_000_000)  # small garbage collections only: a full one stops every thread
MAX_GC_OBJECTS = 40_000  # with more objects than these a full collection would take more than some 10 ms

log = logging.getLogger("safety_proxy.policies")
_load_lock = threading.Lock()  # guards the settings that belong to the whole process


class PolicyStore(FileStore[tuple[Source, ...], PolicySet]):
    """One directory's policies. `current` is one reference: a request keeps the set that it began with."""

    def __init__(
        self,
        directory: Path,
        *,
        hash_key: bytes,
        shadow: bool = False,
        allow_empty: bool = False,
        registry: Registry = BUILT_IN_ONLY,
    ) -> None:
        """`registry`: the kinds of checks that rules can name, as they were found at the start."""
        super().__init__(directory)
        self.registry = registry
        self.shadow = shadow
        self._hash_key = hash_key
        self._allow_empty = allow_empty
        self._current: PolicySet | None = None
        self._cache = CompileCache()  # of the set in force

    @property
    def current(self) -> PolicySet:
        """The set in force; there is one as soon as `load` has returned."""
        assert self._current is not None, "load() comes first"
        return self._current

    async def load(self) -> PolicySet:
        """The first load, before any request is served. Raises PolicyError; then there is no set to fall back on."""
        async with self._lock:
            await self._attempt(first=True)
        if self._current is None:
            raise PolicyError(self.status.error.splitlines())
        return self._current

    async def prepare(self) -> None:
        """Make the set in force quick with long texts. It takes up to seconds, in a thread that lets the loop run."""
        await asyncio.to_thread(self.current.prepare, _CooperativeYield(asyncio.get_running_loop()))

    def _read(self) -> tuple[Source, ...]:
        return read_directory(self.directory)

    def _read_settled(self) -> tuple[Source, ...]:
        return settled(self.directory)

    def _mark(self, content: tuple[Source, ...]) -> bytes:
        return _digest(content)

    def _make(self, content: tuple[Source, ...], first: bool, loop: asyncio.AbstractEventLoop) -> PolicySet:
        empty_is_fine = self._allow_empty and (self._current is None or not self._current.rules)
        compilation = Compilation(
            content,
            hash_key=self._hash_key,
            shadow=self.shadow,
            allow_empty=empty_is_fine,
            origin=str(self.directory),
            cache=self._cache,
            previous=self._current,
            pause=no_pause if first else _CooperativeYield(loop),
            registry=self.registry,
        )
        with _short_switch_interval():
            if self._current is not None:
                _collect_old_sets()
            compiled = compilation.run()
        self._cache = compilation.cache
        return compiled

    def _put_in_force(self, new: PolicySet) -> str:
        if self._current is None or new.revision != self._current.revision:
            self._current = new  # an equal set is not swapped: the old one has cached more
        rules = "1 rule" if len(new.rules) == 1 else f"{len(new.rules)} rules"
        log.info("policies %s loaded from %s: %s", new.revision[:12], self.directory, rules)
        for line in new.hints:
            log.info("%s", line)
        return new.revision

    def _tell_refusal(self, error: str, first: bool) -> None:
        log.error("policies in %s cannot be used, %s:\n%s", self.directory, self._what_stays(), error)

    def _what_stays(self) -> str:
        return f"revision {self.status.revision[:12]} stays" if self._current else "and there are none to fall back on"


class _CooperativeYield:
    """A pause for a thread that computes: every WORK_TIME seconds it lets the event loop run.

    During WORK_TIME the loop may make no progress: it gives up the interpreter with each of its system calls and has to
    wait for it again. So a yield lasts long enough for the loop to catch up.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._work_until = time.monotonic() + WORK_TIME

    def __call__(self) -> None:
        if time.monotonic() < self._work_until:
            return
        yield_until = time.monotonic() + YIELD_TIME
        for _ in range(LOOP_TURNS):
            self._wait_for_turn()
        time.sleep(max(0.0, yield_until - time.monotonic()))
        self._work_until = time.monotonic() + WORK_TIME

    def _wait_for_turn(self) -> None:
        """Wait until the loop has run everything that is ready now."""
        turned = threading.Event()
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(turned.set)
            turned.wait(TURN_TIMEOUT)


@contextmanager
def _short_switch_interval() -> Generator[None, None, None]:
    """Let the event loop run often while this thread computes."""
    with _load_lock:
        usual = sys.getswitchinterval(), gc.get_threshold()
        sys.setswitchinterval(SWITCH_INTERVAL)
        gc.set_threshold(*GC_THRESHOLDS)
        try:
            yield
        finally:
            sys.setswitchinterval(usual[0])
            gc.set_threshold(*usual[1])


def _collect_old_sets() -> None:
    """Free sets that are no longer in use, unless that would stop every thread for long."""
    if len(gc.get_objects(generation=2)) < MAX_GC_OBJECTS:
        gc.collect()


def _digest(sources: tuple[Source, ...]) -> bytes:
    digest = sha256()
    for source in sources:
        digest.update(f"{source.base}\0{len(source.data)}\0".encode())
        digest.update(source.data)
    return digest.digest()

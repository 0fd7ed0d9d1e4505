"""The keys in force. They are read off the event loop and swapped as a whole. A wrong edit changes nothing."""

from __future__ import annotations

import asyncio
import logging
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from proxy.errors import KeysError
from proxy.policy.document import MAX_BYTES, Source
from proxy.policy.store import Status
from proxy.server.keys.key import Key, Keys
from proxy.server.keys.reading import read_keys

PAUSE = 0.05  # seconds between two reads of a file that may be half written
READS = 12  # so often it is read until two reads in a row are the same

log = logging.getLogger("safety_proxy.keys")


class Clock:
    """The time of day, which never falls behind what has passed since the clock was made.

    So a time of day that is set back does not make a key valid again that has expired.
    """

    def __init__(self, wall: Callable[[], float] = time.time, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._elapsed = elapsed
        self._at_least = wall() - elapsed()

    def now(self) -> float:
        """Seconds since 1970."""
        return max(self._wall(), self._at_least + self._elapsed())


class KeyStore:
    """The keys of one file. `current` is one reference.

    directory: of the file, which a watcher watches: editors and Kubernetes replace files
    """

    def __init__(self, path: Path, clock: Callable[[], Clock] = Clock) -> None:
        """`clock`: makes the clock by which keys expire; a reload makes a new one."""
        self.path = path
        self.directory = path.absolute().parent
        self.status = Status()
        self.listeners: list[Callable[[Status], None]] = []  # called after each attempt
        self.current = Keys()
        self._make_clock = clock
        self._clock = clock()
        self._seen = b""  # what the latest attempt has read
        self._lock = asyncio.Lock()

    def load(self) -> Keys:
        """The first load. Raises KeysError; then there are no keys to fall back on."""
        self.current = self._read(self._content())
        self._loaded()
        return self.current

    async def reload(self) -> bool:
        """Read the file again, changed or not. False: it is wrong (see `status.error`); the old keys stay."""
        async with self._lock:
            await self._attempt()
            return not self.status.error

    async def refresh(self) -> None:
        """Reload if the file is not what the latest attempt has read."""
        async with self._lock:
            if await asyncio.to_thread(self._look) != self._seen:
                await self._attempt()

    async def prepare(self) -> None:
        """Keys have nothing to prepare."""

    def is_expired(self, key: Key) -> bool:
        """Whether its time is over."""
        return key.expires is not None and self._clock.now() >= key.expires

    async def _attempt(self) -> None:
        try:
            self.current = self._read(await self._settled())
        except KeysError as error:
            self.status = replace(
                self.status, error=str(error), failed_at=time.time(), failures=self.status.failures + 1
            )
            log.error("keys in %s cannot be used, the old ones stay:\n%s", self.path, error)
        else:
            self._loaded()
        for listener in self.listeners:
            listener(self.status)

    def _loaded(self) -> None:
        self._clock = self._make_clock()
        keys = self.current
        self.status = replace(
            self.status, revision=keys.revision, loaded_at=time.time(), error="", loads=self.status.loads + 1
        )
        number = len(keys.keys)
        log.info("keys loaded from %s: %s", self.path, "1 key" if number == 1 else f"{number} keys")

    async def _settled(self) -> bytes:
        """The file once two reads in a row give the same, so that a half-finished save is not loaded."""
        before = await asyncio.to_thread(self._look)
        for _ in range(READS):
            await asyncio.sleep(PAUSE)
            now = await asyncio.to_thread(self._look)
            if now == before and now:
                break
            before = now
        self._seen = before
        return await asyncio.to_thread(self._content)

    def _read(self, data: bytes) -> Keys:
        self._seen = data
        return read_keys(Source(str(self.path), data))

    def _look(self) -> bytes:
        try:
            return self._content()
        except KeysError as error:
            return str(error).encode()

    def _content(self) -> bytes:
        try:
            if not stat.S_ISREG(self.path.stat().st_mode):
                raise OSError("it is not a file")
            with self.path.open("rb") as file:
                return file.read(MAX_BYTES + 1)
        except OSError as error:
            raise KeysError(
                [f"{self.path}: cannot be read ({error.strerror or error}): fix the setting keys"]
            ) from None

"""The keys in force. They are read off the event loop and swapped as a whole. A wrong edit changes nothing."""

from __future__ import annotations

import asyncio
import logging
import stat
import time
from collections.abc import Callable
from pathlib import Path

from proxy.errors import KeysError
from proxy.policy.document import MAX_BYTES, Source
from proxy.policy.file_store import FileStore
from proxy.policy.files import at_rest
from proxy.server.keys.key import Key, Keys
from proxy.server.keys.reading import read_keys

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


class KeyStore(FileStore[bytes, Keys]):
    """The keys of one file. `current` is one reference."""

    def __init__(self, path: Path, clock: Callable[[], Clock] = Clock) -> None:
        """`clock`: makes the clock by which keys expire; a reload makes a new one."""
        super().__init__(path.absolute().parent)
        self.path = path
        self.current = Keys()
        self._make_clock = clock
        self._clock = clock()

    def load(self) -> Keys:
        """The first load. Raises KeysError; then there are no keys to fall back on."""
        content = self._read()
        self._seen = self._mark(content)
        self._accept(read_keys(Source(str(self.path), content)))
        return self.current

    def is_expired(self, key: Key) -> bool:
        """Whether its time is over."""
        return key.expires is not None and self._clock.now() >= key.expires

    def _read(self) -> bytes:
        try:
            if not stat.S_ISREG(self.path.stat().st_mode):
                raise OSError("it is not a file")
            with self.path.open("rb") as file:
                return file.read(MAX_BYTES + 1)
        except OSError as error:
            raise KeysError(
                [f"{self.path}: cannot be read ({error.strerror or error}): fix the setting keys"]
            ) from None

    def _read_settled(self) -> bytes:
        at_rest(self._look, bool)
        return self._read()

    def _make(self, content: bytes, first: bool, loop: asyncio.AbstractEventLoop) -> Keys:
        return read_keys(Source(str(self.path), content))

    def _put_in_force(self, new: Keys) -> str:
        self.current = new
        self._clock = self._make_clock()
        number = len(new.keys)
        log.info("keys loaded from %s: %s", self.path, "1 key" if number == 1 else f"{number} keys")
        return new.revision

    def _tell_refusal(self, error: str, first: bool) -> None:
        log.error("keys in %s cannot be used, the old ones stay:\n%s", self.path, error)

"""The decision log as a file: one JSON object a line, in files that only their owner reads.

The file is put aside when it is too large or too old, and the oldest of those that were put aside is deleted.
"""

from __future__ import annotations

import io
import json
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from proxy.errors import SettingsError
from proxy.server.exchange.record import Exchange
from proxy.server.ops.drops import FILE, Drops

OWNER_ONLY = 0o600

log = logging.getLogger("safety_proxy.server")


class RecordFile:
    """A sink that writes to a file. Raises SettingsError if it cannot be opened."""

    texts = True

    def __init__(
        self,
        path: Path,
        drops: Drops,
        *,
        size: int,
        age: float,
        keep: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`size` in bytes and `age` in seconds: when the file is put aside. `keep`: how many of them are kept."""
        try:
            self._handler = _Handler(path, size, age, keep, clock, lambda: self._fail(path, drops))
        except OSError as error:
            fix = "name a file in a directory that is there, and in which the proxy may write"
            raise SettingsError(f"decision_log: {path} cannot be written ({error.strerror}): {fix}") from None
        self._failed = False  # the latest record could not be written
        self._told = False

    def wants(self, exchange: Exchange) -> bool:
        """See Sink."""
        return True

    def write(self, record: dict[str, Any], exchange: Exchange) -> None:
        """See Sink. A record that cannot be written is counted; the log says so once."""
        failed, self._failed = self._failed, False
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
        self._handler.handle(logging.LogRecord("", logging.INFO, "", 0, line, (), None))
        if failed and not self._failed:
            self._told = False
            log.warning("decision_log: it can be written again")

    def close(self) -> None:
        """See Sink. What a full disk has not taken is lost, and counted already."""
        with suppress(OSError):
            self._handler.close()

    def _fail(self, path: Path, drops: Drops) -> None:
        drops.add(FILE)
        if not self._told:
            log.error("decision_log: %s cannot be written, and records are lost", path)
        self._failed = self._told = True


class _Handler(RotatingFileHandler):
    """The standard library's rotation by size, and by age too."""

    def __init__(
        self, path: Path, size: int, age: float, keep: int, clock: Callable[[], float], failed: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._age = age
        self._failed = failed
        self._began = _began(path) or clock()
        self._opened = (0, 0)  # device and inode
        super().__init__(path, maxBytes=size, backupCount=keep, encoding="utf-8", errors="backslashreplace")

    def _open(self) -> io.TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_RDWR | os.O_APPEND | os.O_CREAT, OWNER_ONLY)
        self._opened = _identity(os.fstat(descriptor))
        file = io.FileIO(descriptor, "r+")
        if _ends_within_a_line(file):
            file.write(b"\n")
        return io.TextIOWrapper(io.BufferedWriter(file), encoding=self.encoding, errors=self.errors)

    def shouldRollover(self, record: logging.LogRecord) -> int:  # noqa: N802 - logging's name
        """Called by logging."""
        self._follow_path()
        too_old = self._clock() - self._began >= self._age and os.path.getsize(self.baseFilename) > 0
        return int(too_old or super().shouldRollover(record))

    def doRollover(self) -> None:  # noqa: N802 - logging's name
        """Called by logging. A file that cannot be put aside is written on."""
        try:
            super().doRollover()
        except OSError:
            if self.stream is None or self.stream.closed:  # on a full disk closing fails, and closes
                self.stream = self._open()
        self._began = self._clock()

    def _follow_path(self) -> None:
        """Begin a new file if somebody else has moved or deleted this one. Raises OSError if that cannot be done."""
        with suppress(FileNotFoundError):
            if self.stream is not None and _identity(os.stat(self.baseFilename)) == self._opened:
                return
        stream, self.stream = self.stream, None
        if stream is not None:
            with suppress(OSError):
                stream.close()
        self.stream = self._open()
        self._began = self._clock()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Called by logging."""
        self._failed()


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _ends_within_a_line(file: io.FileIO) -> bool:
    """Whether the program ended while it wrote: a record must not begin on that line. A pipe does not tell."""
    if not file.seekable() or not file.seek(0, os.SEEK_END):
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"


def _began(path: Path) -> float:
    """When the first record of a file that is there was written; 0.0: nobody knows. A pipe or a device would block."""
    if not path.is_file():
        return 0.0
    try:
        with path.open(encoding="utf-8") as lines:
            stamp = json.loads(lines.readline())["time"]
        return time.mktime(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0

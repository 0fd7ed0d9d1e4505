"""What is read from files and kept in force: policies, models.yaml, keys. A wrong edit changes nothing.

Files are read off the event loop, and what they say is swapped as a whole.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from proxy.errors import PolicyError

Content = TypeVar("Content")  # what is read from the files
Made = TypeVar("Made")  # what is in force

log = logging.getLogger("safety_proxy.policies")


@dataclass(frozen=True, slots=True)
class Status:
    """How loading went. Times are seconds since the epoch.

    revision:  of what is in force; empty before the first load, and for what has none
    loaded_at: when it was loaded
    error:     all problems of the latest attempt; empty when it succeeded
    failed_at: when an attempt last failed
    """

    revision: str = ""
    loaded_at: float = 0.0
    error: str = ""
    failed_at: float = 0.0
    loads: int = 0
    failures: int = 0


class FileStore(ABC, Generic[Content, Made]):
    """Loads again when asked, one load at a time.

    directory: what a watcher watches: editors and Kubernetes replace files
    approvers: are asked before what was made takes effect; each raises PolicyError to reject it
    listeners: called after each attempt
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.approvers: list[Callable[[Made], Awaitable[None]]] = []
        self.status = Status()
        self.listeners: list[Callable[[Status], None]] = []
        self._seen: object = None  # of the latest attempt: a mark of the files, or why they cannot be read
        self._lock = asyncio.Lock()

    async def reload(self) -> bool:
        """Read the files again, changed or not. False: they are wrong (see `status.error`); what was in force stays."""
        async with self._lock:
            await self._attempt()
            return not self.status.error

    async def refresh(self) -> None:
        """Reload if the files are not those of the latest attempt."""
        async with self._lock:
            if await asyncio.to_thread(self._look) != self._seen:
                await self._attempt()

    async def prepare(self) -> None:
        """Make what is in force quick. Most have nothing to prepare."""

    async def _attempt(self, first: bool = False) -> None:
        try:
            new = await asyncio.to_thread(self._made, first, asyncio.get_running_loop())
            for approve in self.approvers:
                await approve(new)
            self._accept(new)
        except PolicyError as error:
            self._refuse(str(error), first)
        except Exception as error:
            log.exception("loading failed")
            self._refuse(f"{self.directory}: loading failed ({type(error).__name__}): please report this", first)
        for listener in self.listeners:
            listener(self.status)

    def _made(self, first: bool, loop: asyncio.AbstractEventLoop) -> Made:
        """In a worker thread: read the files, and make of them what can be in force."""
        try:
            content = self._read() if first else self._read_settled()
        except PolicyError as error:
            self._seen = str(error)
            raise
        self._seen = self._mark(content)
        return self._make(content, first, loop)

    def _look(self) -> object:
        try:
            return self._mark(self._read())
        except PolicyError as error:
            return str(error)

    def _accept(self, new: Made) -> None:
        revision = self._put_in_force(new)
        self.status = replace(
            self.status, revision=revision, loaded_at=time.time(), error="", loads=self.status.loads + 1
        )

    def _refuse(self, error: str, first: bool) -> None:
        self.status = replace(self.status, error=error, failed_at=time.time(), failures=self.status.failures + 1)
        self._tell_refusal(error, first)

    def _mark(self, content: Content) -> object:
        """What tells files from others; a digest where they are large."""
        return content

    @abstractmethod
    def _read(self) -> Content:
        """The files as they are now; in a worker thread. Raises PolicyError."""

    @abstractmethod
    def _read_settled(self) -> Content:
        """The files once two reads in a row give the same, so that a half-finished save is not loaded."""

    @abstractmethod
    def _make(self, content: Content, first: bool, loop: asyncio.AbstractEventLoop) -> Made:
        """What can be in force; in a worker thread, which lets the loop run. Raises PolicyError."""

    @abstractmethod
    def _put_in_force(self, new: Made) -> str:
        """Swap it, and tell the log. Returns its revision."""

    @abstractmethod
    def _tell_refusal(self, error: str, first: bool) -> None:
        """Tell the log what is wrong and what stays."""

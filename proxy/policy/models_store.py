"""The models.yaml in force. It is read off the event loop and swapped as a whole. A wrong edit changes nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from proxy.errors import PolicyError
from proxy.policy.document import Source
from proxy.policy.files import MODELS_FILE, read_file, settled_file
from proxy.policy.models_file import NO_REVIEWS, Reviews, read_models_file
from proxy.policy.store import Status

log = logging.getLogger("safety_proxy.policies")


class ModelsStore:
    """One file's reviews. A watcher keeps it in step like a directory of policies (see `PolicyStore`).

    needed: the file was named, so it has to be there
    """

    def __init__(self, path: Path, *, needed: bool = False) -> None:
        self.path = path
        self.needed = needed
        self.current: Reviews = NO_REVIEWS
        self.status = Status()
        self.listeners: list[Callable[[Status], None]] = []  # called after each attempt
        self._latest: Source | str | None = None  # of the latest attempt: the file, or why it cannot be read
        self._lock = asyncio.Lock()

    @classmethod
    def beside(cls, policies: Path, named: Path | None = None) -> ModelsStore:
        """The file that was named, or models.yaml in a directory of policies, if there is one."""
        return cls(named, needed=True) if named is not None else cls(policies / MODELS_FILE)

    @property
    def directory(self) -> Path:
        """Where it lies: what a watcher watches."""
        return self.path.parent

    async def load(self) -> None:
        """The first load. Raises PolicyError."""
        async with self._lock:
            await self._attempt(first=True)
        if self.status.error:
            raise PolicyError(self.status.error.splitlines())

    async def reload(self) -> bool:
        """Read it again, changed or not. False: it is wrong (see `status.error`); the old one stays."""
        async with self._lock:
            await self._attempt()
            return not self.status.error

    async def refresh(self) -> None:
        """Reload if the file is not that of the latest attempt."""
        async with self._lock:
            if await asyncio.to_thread(self._look) != self._latest:
                await self._attempt()

    async def prepare(self) -> None:
        """There is nothing to prepare."""

    def _look(self) -> Source | str | None:
        try:
            return read_file(self.path)
        except PolicyError as error:
            return str(error)

    async def _attempt(self, first: bool = False) -> None:
        try:
            self._accept(await asyncio.to_thread(self._read, first))
        except PolicyError as error:
            self._refuse(str(error), first)
        for listener in self.listeners:
            listener(self.status)

    def _read(self, first: bool) -> Reviews:
        """In a worker thread."""
        try:
            source = read_file(self.path) if first else settled_file(self.path)
        except PolicyError as error:
            self._latest = str(error)
            raise
        self._latest = source
        if source is not None:
            return read_models_file(source)
        if self.needed:
            raise PolicyError([f"{self.path}: there is no such file: write it, or leave the setting models_file out"])
        return NO_REVIEWS

    def _accept(self, new: Reviews) -> None:
        had_any = bool(self.current.entries)
        self.current = new
        self.status = replace(self.status, loaded_at=time.time(), error="", loads=self.status.loads + 1)
        if new.entries or had_any:
            log.info("%s read; models reviewed: %d", self.path, len(new.entries))

    def _refuse(self, error: str, first: bool) -> None:
        self.status = replace(self.status, error=error, failed_at=time.time(), failures=self.status.failures + 1)
        if not first:
            log.error("%s cannot be used, the version before stays:\n%s", self.path, error)

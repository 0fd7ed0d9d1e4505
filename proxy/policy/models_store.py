"""The models.yaml in force. It is read off the event loop and swapped as a whole. A wrong edit changes nothing."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from proxy.errors import PolicyError
from proxy.policy.document import Source
from proxy.policy.file_store import FileStore
from proxy.policy.files import MODELS_FILE, read_file, settled_file
from proxy.policy.models_file import NO_REVIEWS, Reviews, read_models_file

log = logging.getLogger("safety_proxy.policies")


class ModelsStore(FileStore[Source | None, Reviews]):
    """One file's reviews. A watcher keeps it in step like a directory of policies (see `PolicyStore`).

    needed: the file was named, so it has to be there
    """

    def __init__(self, path: Path, *, needed: bool = False) -> None:
        super().__init__(path.parent)
        self.path = path
        self.needed = needed
        self.current: Reviews = NO_REVIEWS

    @classmethod
    def beside(cls, policies: Path, named: Path | None = None) -> ModelsStore:
        """The file that was named, or models.yaml in a directory of policies, if there is one."""
        return cls(named, needed=True) if named is not None else cls(policies / MODELS_FILE)

    async def load(self) -> None:
        """The first load. Raises PolicyError."""
        async with self._lock:
            await self._attempt(first=True)
        if self.status.error:
            raise PolicyError(self.status.error.splitlines())

    def _read(self) -> Source | None:
        return read_file(self.path)

    def _read_settled(self) -> Source | None:
        return settled_file(self.path)

    def _make(self, content: Source | None, first: bool, loop: asyncio.AbstractEventLoop) -> Reviews:
        if content is not None:
            return read_models_file(content)
        if self.needed:
            raise PolicyError([f"{self.path}: there is no such file: write it, or leave the setting models_file out"])
        return NO_REVIEWS

    def _put_in_force(self, new: Reviews) -> str:
        had_any = bool(self.current.entries)
        self.current = new
        if new.entries or had_any:
            log.info("%s read; models reviewed: %d", self.path, len(new.entries))
        return ""

    def _tell_refusal(self, error: str, first: bool) -> None:
        if not first:
            log.error("%s cannot be used, the version before stays:\n%s", self.path, error)

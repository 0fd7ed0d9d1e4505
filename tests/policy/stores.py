"""A store on a directory of files, and waiting for what it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from proxy.policy.file_store import Status
from proxy.policy.store import PolicyStore
from tests.waiting import PATIENCE


def policy(*words: str, name: str = "house") -> str:
    """A policy with a rule for each word, each with the word as its id."""
    rules = ", ".join(f"{{id: {word}, words: [{word}], action: rewrite}}" for word in words)
    return f"version: 1\npolicy: {name}\nrules: [{rules}]\n"


def ids(store: PolicyStore) -> list[str]:
    """The rules in force."""
    return [rule.id for rule in store.current.rules]


class Loads:
    """What a store has tried, and a way to wait for it."""

    def __init__(self, store: PolicyStore) -> None:
        self.seen: list[Status] = []
        self._news = asyncio.Event()
        store.listeners.append(self._note)

    def _note(self, status: Status) -> None:
        self.seen.append(status)
        self._news.set()

    async def until(self, wanted: Callable[[], bool]) -> None:
        """Wait until it holds, looking after each attempt to load."""
        async with asyncio.timeout(PATIENCE):
            while not wanted():
                self._news.clear()
                await self._news.wait()


def rename_over(path: Path, text: str) -> None:
    """Save as editors do: a complete new file takes the old one's name."""
    other = path.with_name(f".{path.name}.new")
    other.write_text(text)
    other.rename(path)

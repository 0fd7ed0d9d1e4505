"""Checks as authors of plug-ins may write them: a good one, and several that do something wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from proxy.core.check import Progress
from proxy.core.types import Finding, Rule


@dataclass
class Word:
    """Finds a word of small letters, wherever it stands. `hold` is what waits for the rest of it."""

    rule: Rule
    word: str = "bomb"

    @property
    def hold(self) -> int:
        """All but the last character."""
        return len(self.word) - 1

    def open(self) -> WordScan:
        """A fresh scan."""
        return WordScan(self)


@dataclass
class WordScan:
    """A scan that cannot go back."""

    check: Word
    text: str = ""
    told: int = 0

    def feed(self, text: str, final: bool = False) -> Progress:
        """Find, and hold the beginning of the word."""
        self.text += text
        word, found = self.check.word, []
        while (at := self.text.find(word, self.told)) >= 0:
            found.append(Finding(at, at + len(word), self.check.rule))
            self.told = at + len(word)
        rest = self.text[self.told :]
        open_ = max((n for n in range(1, len(word)) if rest.endswith(word[:n])), default=0)
        return Progress(len(self.text) - (0 if final else open_), tuple(found))


Feed = Callable[["Scripted", str, bool], Any]


@dataclass
class Odd:
    """A check whose scan does what a function says."""

    do: Feed
    hold: Any = None
    opened: list[Scripted] = field(default_factory=list)

    def open(self) -> Scripted:
        """A fresh scan."""
        self.opened.append(Scripted(self.do))
        return self.opened[-1]


@dataclass
class Scripted:
    """read: how many characters have come, this feed's too. feeds: how many feeds."""

    do: Feed
    read: int = 0
    feeds: int = 0

    def feed(self, text: str, final: bool = False) -> Any:
        """What the function says."""
        self.read += len(text)
        self.feeds += 1
        return self.do(self, text, final)

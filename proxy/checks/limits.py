"""Limits on an answer: its length, and how often it may repeat itself. No text waits for either."""

from __future__ import annotations

from proxy.core.check import Progress
from proxy.core.types import Finding, Rule

STRIDE = 64  # characters between two searches for a loop
NEEDLE = 16  # characters at the end of the text that are searched for further back


class LengthLimit:
    """Ends a text at a number of characters."""

    hold = 0

    def __init__(self, rule: Rule, most: int) -> None:
        self.rule = rule
        self.most = most

    def open(self) -> _LengthScan:
        """A fresh scan."""
        return _LengthScan(self)


class _LengthScan:
    __slots__ = ("_limit", "_over", "_read")

    def __init__(self, limit: LengthLimit) -> None:
        self._limit = limit
        self._read = 0
        self._over = False

    def feed(self, text: str, final: bool = False) -> Progress:
        """Count on."""
        self._read += len(text)
        most, rule = self._limit.most, self._limit.rule
        if self._read <= most:
            return Progress(self._read)
        found = () if self._over else (Finding(most, most + 1, rule),)
        self._over = True
        return Progress(most if rule.holds else self._read, found)


class RepetitionLimit:
    """Ends a text that repeats one piece again and again, as a model does that is stuck in a loop.

    It is a loop when the last `characters` characters, and the last `most` pieces, are one piece of at most `longest`
    characters in a row. It is found at the next multiple of STRIDE characters, however the text was chunked.
    """

    hold = 0

    def __init__(self, rule: Rule, most: int, longest: int, characters: int) -> None:
        self.rule = rule
        self.most = most
        self.longest = longest
        self.characters = characters
        self.window = self.run(longest)
        self.needle = max(1, min(NEEDLE, *(self.run(period) - period for period in range(1, longest + 1))))

    def run(self, period: int) -> int:
        """The length from which a run of pieces of `period` characters is a loop."""
        return max(period * self.most, self.characters)

    def open(self) -> _RepetitionScan:
        """A fresh scan."""
        return _RepetitionScan(self)


class _RepetitionScan:
    __slots__ = ("_end", "_fresh", "_limit", "_read", "_tail")

    def __init__(self, limit: RepetitionLimit) -> None:
        self._limit = limit
        self._read = 0
        self._tail = ""  # as much of the text as a run may need
        self._fresh: list[str] = []  # text since the last search
        self._end: int | None = None  # where a loop was found

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on; search whenever a multiple of STRIDE is passed."""
        before = self._read
        self._read += len(text)
        if self._end is not None:
            return Progress(self._end if self._limit.rule.holds else self._read)
        self._fresh.append(text)
        first = before - before % STRIDE + STRIDE
        return Progress(self._read) if self._read < first else self._search(first)

    def _search(self, first: int) -> Progress:
        text = self._tail + "".join(self._fresh)
        self._fresh.clear()
        offset = self._read - len(text)
        rule = self._limit.rule
        for at in range(first, self._read + 1, STRIDE):
            if self._loops(text, at - offset):
                self._end = at - 1
                return Progress(at - 1 if rule.holds else self._read, (Finding(at - 1, at, rule),))
        self._tail = text[-self._limit.window :]
        return Progress(self._read)

    def _loops(self, text: str, end: int) -> bool:
        """Whether text[:end] ends in a run. Each earlier copy of its last characters gives a possible period."""
        limit = self._limit
        start = end - limit.needle
        if start < 0:
            return False
        needle, earliest = text[start:end], max(0, start - limit.longest)
        found = text.rfind(needle, earliest, end - 1)
        while found >= 0:
            period = start - found
            run = limit.run(period)
            if run <= end and text[end - run : end - period] == text[end - run + period : end]:
                return True
            found = text.rfind(needle, earliest, found + limit.needle - 1)
        return False


Limit = LengthLimit | RepetitionLimit

"""Code in Markdown, found while the text comes in: fenced blocks and inline code (CommonMark 0.31, 4.5 and 6.1).

Two rules are our own, so that the answer never needs the whole text: what an inline opener begins ends within
MOST_INLINE characters and within its paragraph, or the opener is text; a fence of backticks may also end on its own
line (```` ```x``` ````). A fence that nobody closes is code to the end of the text.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from enum import Enum
from typing import NamedTuple

from proxy.matching.rules import MOST_OPEN

MOST_INLINE = 256
LONGEST_RUN = 16
"""Longer runs of backticks open nothing."""
LAG = MOST_INLINE + 2 * LONGEST_RUN + 2
"""How many characters may come before it is known whether one is code."""

_NEXT = re.compile(r"\\(?:[\\`]|\Z)|`+|~+|\n")
_NO_CODE: tuple[tuple[int, int], ...] = ()
_RUN = re.compile(r"`+")
_INDENT = re.compile(r"[ \t>]*")
_PARAGRAPH_END = re.compile(r"\n[ \t]*\n|\n[ \t>]*(?:`{3}|~{3})")


class Part(Enum):
    """Where in a fenced block the reading stands."""

    FIRST_LINE = "behind the fence that opens it, on the same line"
    LINE_START = "where a line begins, which may end it"
    LINE = "within a line that does not"


class Fence(NamedTuple):
    """An open fence."""

    char: str
    length: int
    part: Part = Part.FIRST_LINE


class Known(NamedTuple):
    """Up to where it is known what is code, and the code that was found on the way there."""

    upto: int
    code: tuple[tuple[int, int], ...]


class CodeScan:
    """One text on its way."""

    __slots__ = ("_fence", "_indent", "_position", "_rest")

    def __init__(self) -> None:
        self._position = 0  # where _rest begins in the text
        self._rest = ""  # what has to be looked at again
        self._indent = True  # only white space and `>` stand on this line before _rest
        self._fence: Fence | None = None

    def save(self) -> tuple[int, str, bool, Fence | None]:
        """The whole state."""
        return self._position, self._rest, self._indent, self._fence

    def state_key(self) -> Hashable | None:
        """What the answers to all that may follow depend on; None when that is long."""
        return (self._rest, self._indent, self._fence) if len(self._rest) <= MOST_OPEN else None

    def restore_key(self, key: Hashable, position: int) -> None:
        """Stand there again, so many characters into a text."""
        assert isinstance(key, tuple)
        self._rest, self._indent, self._fence = key
        self._position = position - len(self._rest)

    def restore(self, state: tuple[int, str, bool, Fence | None]) -> None:
        """Go back."""
        self._position, self._rest, self._indent, self._fence = state

    def feed(self, text: str, final: bool) -> Known:
        """Read on."""
        if not self._rest and self._fence is None and _NEXT.search(text) is None:  # as most tokens are
            self._indent = self._indent and _INDENT.fullmatch(text) is not None
            self._position += len(text)
            return Known(self._position, _NO_CODE)
        text = self._rest + text
        base, at = self._position, 0
        code: list[tuple[int, int]] = []
        while True:
            before = at
            if self._fence is None:
                at = self._prose(text, at, final, code)
            else:
                at = self._block(text, at, final, code)
            if at == before or at == len(text):
                break
        known = len(text) if self._fence is not None else at
        self._rest, self._position = text[at:], base + at
        return Known(base + known, tuple((base + start, base + end) for start, end in code))

    def _prose(self, text: str, at: int, final: bool, code: list[tuple[int, int]]) -> int:
        """Read text that is no fenced block, up to where it is known what it is."""
        while (token := _NEXT.search(text, at)) is not None:
            start, end = token.span()
            at_start = self._indent and _INDENT.fullmatch(text, at, start) is not None
            self._indent = at_start
            if end == len(text) and not final and text[start] != "\n" and end - start <= LONGEST_RUN:
                return start
            if text[start] == "\n":
                self._indent, at = True, end
                continue
            if at_start and end - start >= 3 and text[start] != "\\":
                self._fence = Fence(text[start], end - start)
                code.append((start, end))
                return end
            self._indent = False
            closed = self._inline(text, token, final) if text[start] == "`" else end
            if closed is None:
                self._indent = at_start
                return start
            if closed > end:
                code.append((start, closed))
            at = closed
        self._indent = self._indent and _INDENT.fullmatch(text, at) is not None
        return len(text)

    @staticmethod
    def _inline(text: str, opener: re.Match[str], final: bool) -> int | None:
        """Where the code ends that a run of backticks opens; the run's end when it opens none; None: not known yet."""
        length, begin = len(opener[0]), opener.end()
        if length > LONGEST_RUN:
            return begin
        most = begin + MOST_INLINE
        stop = _PARAGRAPH_END.search(text, begin, most)
        last = stop.start() if stop else min(len(text), most)
        for run in _RUN.finditer(text, begin):
            if run.start() >= last:
                break
            if run.end() == len(text) and not final and len(run[0]) <= length:
                return None
            if len(run[0]) == length:
                return run.end()
        return begin if stop or final or len(text) >= most else None

    def _block(self, text: str, at: int, final: bool, code: list[tuple[int, int]]) -> int:
        """Read a fenced block to the end of its line; all of it is code."""
        fence = self._fence
        assert fence is not None
        newline = text.find("\n", at)
        end = len(text) if newline < 0 else newline
        complete = newline >= 0 or final
        closed = _closes(text, at, end, fence, complete)
        code.append((at, closed or min(end + 1, len(text))))
        if closed:
            self._fence, self._indent = None, False
            return closed
        if newline >= 0:
            self._fence = fence._replace(part=Part.LINE_START)
            return newline + 1
        undecided = _may_close_from(text, at, fence) if not final else len(text)
        if fence.part is Part.LINE_START and undecided == len(text):
            self._fence = fence._replace(part=Part.LINE)
        return undecided


def _closes(text: str, at: int, end: int, fence: Fence, complete: bool) -> int:
    """Where the fence ends within a line; 0: it does not, as far as is known."""
    if fence.part is Part.LINE_START and complete:
        line = text[at:end].strip(" \t>\r")
        return end if len(line) >= fence.length and line == fence.char * len(line) else 0
    if fence.part is Part.FIRST_LINE and fence.char == "`":
        runs = (run for run in _RUN.finditer(text, at, end) if run.end() < len(text) or complete)
        return next((run.end() for run in runs if len(run[0]) >= fence.length), 0)
    return 0


def _may_close_from(text: str, at: int, fence: Fence) -> int:
    """From where an unfinished line has to be looked at again."""
    if fence.part is Part.LINE_START and not text[at:].strip(" \t>\r" + fence.char):
        return at
    if fence.part is Part.FIRST_LINE:
        return len(text.rstrip("`")) if len(text.rstrip("`")) > at else at
    return len(text)

"""What is judged at a time, and whether text waits for it: `segment`, `start`, `whole` and `after`."""

from __future__ import annotations

from typing import Literal

from proxy.checks.asking import Pieces, Splitter, Whole
from proxy.checks.segments import LOOKAHEAD, Segment, Segmenter

Gate = Literal["segment", "start", "whole", "after"]
"""segment: each sentence or so, and text waits
start:   the beginning, and text waits; what follows is not judged
whole:   all of it, and all of it waits
after:   each sentence or so, and text is let out before its verdict"""
REST = 16
"""What is not judged goes on in pieces of so many characters."""


def splitter(gate: Gate, shortest: int, longest: int) -> Splitter:
    """For one text. With `start` the beginning has `longest` characters."""
    if gate == "whole":
        return Whole()
    if gate == "start":
        return Start(longest)
    return Segmenter(min(shortest, longest), longest)


def gate_hold(gate: Gate, longest: int) -> int | None:
    """The most characters that wait for the end of a segment; None: there is no bound."""
    return None if gate == "whole" else longest + LOOKAHEAD


class Start:
    """The first so many characters are one segment; what follows comes in small ones."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._read = 0
        self._first, self._rest = Pieces(size), Pieces(REST)

    def feed(self, text: str, final: bool = False) -> list[Segment]:
        """See Splitter."""
        first = max(0, self._size - self._read)
        self._read += len(text)
        segments = self._first.feed(text[:first], final) if first else []
        rest = self._rest.feed(text[first:], final)
        return segments + [Segment(self._size + start, piece) for start, piece in rest]

    def save(self) -> object:
        """See Splitter."""
        return self._read, self._first.save(), self._rest.save()

    def restore(self, mark: object) -> None:
        """See Splitter."""
        assert isinstance(mark, tuple)
        self._read, first, rest = mark
        self._first.restore(first)
        self._rest.restore(rest)

"""Questions as a rule may ask them, for tests: about segments, with answers that depend on the segment alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from proxy.checks.asking import AskingRule, Pieces, Splitter, Spot, Whole
from proxy.checks.segments import Segment, Segmenter
from proxy.core.check import Turn
from proxy.core.types import Action, Replacement, Rule


class Stops:
    """Segments end with a full stop."""

    def __init__(self) -> None:
        self._start, self._text = 0, ""

    def feed(self, text: str, final: bool = False) -> list[Segment]:
        """See Splitter."""
        *pieces, self._text = (self._text + text).split(".")
        pieces = [f"{piece}." for piece in pieces]
        if final and self._text:
            pieces.append(self._text)
            self._text = ""
        segments: list[Segment] = []
        for piece in pieces:
            segments.append(Segment(self._start, piece))
            self._start += len(piece)
        return segments

    def save(self) -> object:
        """See Splitter."""
        return self._start, self._text

    def restore(self, mark: object) -> None:
        """See Splitter."""
        assert isinstance(mark, tuple)
        self._start, self._text = mark


@dataclass(frozen=True)
class Finds:
    """Asks whether a word is in a segment. The answer: where, as pairs.

    by:   how the text is cut: `stops`, `whole`, `sentences`, or pieces of so many characters
    skip: segments of nothing but this are not asked about
    """

    by: str | int = "stops"
    skip: str = " "

    @property
    def hold(self) -> int | None:
        """As far as it is known."""
        return None if isinstance(self.by, str) else self.by - 1

    def split(self) -> Splitter:
        """See Questions."""
        if isinstance(self.by, int):
            return Pieces(self.by)
        splitters: dict[str, Callable[[], Splitter]] = {"stops": Stops, "whole": Whole, "sentences": Segmenter}
        return splitters[self.by]()

    def question(self, turn: Turn, before: str, text: str) -> Hashable | None:
        """See Questions."""
        return text if text.strip(self.skip) else None

    def spots(self, text: str, reply: object) -> Iterable[Spot]:
        """See Questions."""
        if not isinstance(reply, tuple):
            raise ValueError("no pairs")
        return [Spot(*pair) for pair in reply]


def where(word: str) -> Any:
    """Answers where the word stands in a segment."""
    return lambda text: tuple((found.start(), found.end()) for found in re.finditer(re.escape(word), text))


def all_of(word: str) -> Any:
    """Answers that a segment is bad as a whole when the word is in it."""
    return lambda text: ((0, len(text)),) if word in text else ()


def asking(action: Action, by: str | int = "stops", order: int = 1, **how: Any) -> AskingRule:
    """A rule that asks."""
    rule = Rule("p", f"{action.name.lower()}.{by}", action, order, Replacement("[?]"))
    return AskingRule(rule, "asked", Finds(by), **how)

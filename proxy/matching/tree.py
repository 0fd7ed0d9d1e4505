"""A pattern as a tree of character sets."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.matching.charsets import CharSet


@dataclass(frozen=True, slots=True)
class Chars:
    """One character of a set."""

    set: CharSet


@dataclass(frozen=True, slots=True)
class Behind:
    """Nothing, where the character before (or the edge of the text) is in the set."""

    set: CharSet


@dataclass(frozen=True, slots=True)
class Ahead:
    """Nothing, where the character that follows (or the edge of the text) is in the set."""

    set: CharSet


@dataclass(frozen=True, slots=True)
class Sequence:
    """One after the other; an empty one matches the empty text."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Any one of them."""

    branches: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """At least `low` times, at most `high` times (None: without end)."""

    body: Node
    low: int
    high: int | None
    column: int


Node = Chars | Behind | Ahead | Sequence | Choice | Repeat

"""Searches for many literals at once: Aho-Corasick's automaton, by the package ahocorasick_rs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate, pairwise

from proxy.matching.pauses import Pause, no_pause, pausing
from proxy.matching.writing import Images, Writing, encoded

try:
    from ahocorasick_rs import BytesAhoCorasick
except ImportError:  # there is no wheel for this platform
    BytesAhoCorasick = None  # type: ignore[assignment,misc]

AVAILABLE = BytesAhoCorasick is not None
Found = tuple[int, int, int]  # which literal, where it begins, where it ends
MOST_AT_ONCE = 4_000
_TOKEN = re.compile(rb"[^ ]+")


class Literals:
    """Literals to search for, numbered.

    Many of them are several automata: while one is built, nothing else runs.
    """

    def __init__(self, literals: Sequence[str], pause: Pause = no_pause) -> None:
        self._finders: list[tuple[int, Callable[[bytes, bool], list[Found]]]] = []
        for first in range(0, len(literals), MOST_AT_ONCE):
            some = [encoded(literal) for literal in literals[first : first + MOST_AT_ONCE]]
            self._finders.append((first, BytesAhoCorasick(some).find_matches_as_indexes))
            pause()

    def find(self, text: bytes, overlapping: bool = True) -> list[Found]:
        """Those in a text. Without `overlapping`, only the ones that end first, and none that overlaps those."""
        if len(self._finders) == 1:
            return self._finders[0][1](text, overlapping)
        return [
            (first + number, start, end)
            for first, find in self._finders
            for number, start, end in find(text, overlapping)
        ]


class LiteralSearch:
    """Literals, wherever they stand."""

    def __init__(self, literals: Iterable[str], images: Images, reach: int, pause: Pause = no_pause) -> None:
        self.reach = reach
        self._literals = Literals(sorted(literals), pause)
        self._images = images

    def hits(self, writing: Writing) -> Iterator[tuple[int, int]]:
        """The last character of one that ends first. It stands for the others that overlap it: they have it too."""
        written = writing.by(self._images)
        for _, _, end in self._literals.find(written, overlapping=False):
            last = writing.offset(written, end) - 1
            yield last, last


class TokenSearch:
    """Whole words, one or several in a row, whatever parts them."""

    def __init__(self, entries: Iterable[str], images: Images, reach: int, pause: Pause = no_pause) -> None:
        self.reach = reach
        self._literals = Literals([f" {words} " for words in sorted(entries)], pause)
        self._images = images

    def hits(self, writing: Writing) -> Iterator[tuple[int, int]]:
        """Where they begin."""
        spans = Spans(writing, self._images)
        for start in {start for _, start, _ in self._literals.find(spans.squeezed)}:
            first, _ = spans.span(*[spans.token_at(start)] * 2)
            yield first, first


class WordSearch:
    """The same for long lists: what an entry begins with, a word or two, is looked up in a set.

    It takes three times as long as the automaton, which for 100,000 entries would keep everybody waiting for 0.4 s.
    """

    def __init__(self, entries: Iterable[str], images: Images, reach: int, pause: Pause = no_pause) -> None:
        self.reach = reach
        self._images = images
        self._words: set[bytes] = set()
        self._pairs: set[tuple[bytes, bytes]] = set()
        for entry in pausing(entries, pause):
            first, *others = encoded(entry).split(b" ")
            if others:
                self._pairs.add((first, others[0]))
            else:
                self._words.add(first)

    def hits(self, writing: Writing) -> Iterator[tuple[int, int]]:
        """Where they begin."""
        written = writing.by(self._images)
        words = written.split()
        pairs = [*pairwise(words), (b"", b"")]
        if self._words.isdisjoint(words) and self._pairs.isdisjoint(pairs):
            return
        for word, pair, token in zip(words, pairs, _TOKEN.finditer(written), strict=True):
            if word in self._words or pair in self._pairs:
                first = writing.offset(written, token.start())
                yield first, first


class Spans:
    """A text's words with one blank between any two, and where they stand in the text.

    squeezed: they begin and end with a blank
    """

    def __init__(self, writing: Writing, images: Images) -> None:
        self._writing = writing
        self._written = writing.by(images)
        self.squeezed = b" ".join((b"", *self._written.split(), b""))

    @cached_property
    def _blanks(self) -> list[int]:
        """How many blanks stand before each byte of `squeezed`."""
        return list(accumulate((byte == 32 for byte in self.squeezed), initial=0))

    @cached_property
    def _tokens(self) -> list[tuple[int, int]]:
        return [token.span() for token in _TOKEN.finditer(self._written)]

    def token_at(self, at: int) -> int:
        """Which word has its first blank, or a letter but the first, at a place of `squeezed`."""
        return self._blanks[at + 1] - 1

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Where the first of some words begins in the text, and the last character of the last one."""
        begin, end = self._tokens[first][0], self._tokens[last][1]
        written = self._written
        return self._writing.offset(written, begin), self._writing.offset(written, end) - 1

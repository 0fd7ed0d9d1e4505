"""Lists of words: an automaton that is read off the sorted list while text is read. No tree of the list is in memory.

A list's entries are written in symbols (what a plain entry is in any case; what a folded one is to a reader). A cursor
is a place in the list: the entries that begin with the symbols read so far are a range of the sorted list, found by
bisection, and one more character moves the cursor. Cursors are items of the lazily built DFA (lazy_dfa.py), which does
the rest: where matches began, what text has to wait, what is cached.

So a list of 100,000 entries costs its sorted text and what the texts met so far have visited.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from proxy.matching import edges
from proxy.matching.charsets import LAST, CharSet
from proxy.matching.nfa import Edge, Item

MOST_CURSORS = 100_000  # that a list remembers before it starts afresh
Range = tuple[int, int]


class WordCursor:
    """A place in a list, as an item of the automaton.

    text:  the symbols read
    low, high: the entries that begin with them
    state: how they were read, as far as it matters for what may follow; the list's own business
    """

    __slots__ = ("high", "low", "state", "text", "words")
    ends = False
    accepts = False

    def __init__(self, words: WordList, text: str, low: int, high: int, state: Hashable) -> None:
        self.words, self.text, self.low, self.high, self.state = words, text, low, high, state

    @property
    def owner(self) -> Any:
        """The compiled rule that the list belongs to."""
        return self.words.owner


class Reached(NamedTuple):
    """What one character leads to: items, and whether a match is complete, whatever follows."""

    items: list[WordCursor | Item]
    accepts: bool


class WordList(ABC):
    """The entries of one rule, and how text is read as one of them.

    entries: in symbols, sorted, each once
    roots:   where a match may begin
    sets:    every set of characters that decides anything: characters in the same sets are read alike
    longest: characters of the longest match; None when there is none
    """

    longest: int | None
    sets: frozenset[CharSet]
    roots: tuple[Edge, ...]

    def __init__(self, runs: Iterable[Sequence[str]]) -> None:
        """runs: the entries, in parts that are sorted."""
        self.entries = tuple(dict.fromkeys(sorted(chain.from_iterable(runs))))
        self.owner: Any = None
        self.traces: Any = None  # what the quick look searches for (look.py), and its searches; made when first needed
        self.searches: Any = None
        self._cursors: dict[tuple[str, Hashable], WordCursor] = {}
        self._ranges: dict[str, Range] = {"": (0, len(self.entries))}
        self._ends: dict[CharSet, Item] = {}

    @abstractmethod
    def read(self, cursor: WordCursor, char: str) -> Reached:
        """Where a character leads."""

    def cursor(self, text: str, state: Hashable, within: Range) -> WordCursor:
        """The one cursor for this place."""
        key = text, state
        cursor = self._cursors.get(key)
        if cursor is None:
            if len(self._cursors) >= MOST_CURSORS:
                self._cursors.clear()
                self._ranges = {"": (0, len(self.entries))}
            cursor = self._cursors[key] = WordCursor(self, text, *within, state)
        return cursor

    def child(self, text: str, within: Range) -> Range:
        """The entries that begin with `text`; those `within` begin with all but its last symbol."""
        known = self._ranges.get(text)
        if known is not None:
            return known
        entries = self.entries
        low = bisect_left(entries, text, *within)
        last = ord(text[-1])
        high = bisect_left(entries, text[:-1] + chr(last + 1), low, within[1]) if last < LAST else within[1]
        if low < high:
            self._ranges[text] = low, high
        return low, high

    def has(self, text: str, within: Range) -> bool:
        """Is `text` an entry? It would be the first of those that begin with it."""
        return self.entries[within[0]] == text

    def end(self, after: CharSet) -> Item:
        """A match is complete, if a character of `after` or the text's edge follows."""
        item = self._ends.get(after)
        if item is None:
            item = self._ends[after] = Item(after, ends=True)
            item.owner = self.owner
        return item


def root(words: WordList, state: Hashable, behind: CharSet | None, past_invisible: bool = False) -> Edge:
    """Where a match may begin, if `behind` is before it."""
    cursor = words.cursor("", state, (0, len(words.entries)))
    return Edge(behind, cursor, past_invisible)  # type: ignore[arg-type]


@lru_cache(maxsize=1 << 16)
def edge_class(char: str) -> str:
    """W: joins with letters beside it. S: of a script without spaces. M: belongs to the one before. O: stands alone."""
    code = ord(char)
    if edges.joining().has(code):
        return "W"
    if edges.spaceless().has(code):
        return "S"
    return "M" if edges.marks().has(code) or edges.INVISIBLE.has(code) else "O"


def last_class(text: str) -> str:
    """The class of the last character that is no mark."""
    kind = edge_class(text[-1])
    if kind != "M":
        return kind
    return next((kind for kind in map(edge_class, reversed(text)) if kind != "M"), "O")


BEFORE = {"W": edges.before_word, "S": edges.before_spaceless}
AFTER = {"W": edges.after_word, "S": edges.after_spaceless}


def roots_for(
    words: WordList, kinds: Iterable[str], state: Callable[[str], Hashable] = str, past_invisible: bool = False
) -> tuple[Edge, ...]:
    """A root for each class of characters that entries begin with; `state`: that of a cursor there."""
    return tuple(
        root(words, state(kind), BEFORE[kind]() if kind in BEFORE else None, past_invisible and kind == "W")
        for kind in sorted(kinds)
    )

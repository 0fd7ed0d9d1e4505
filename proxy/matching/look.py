"""The quick look: one search by a library over a whole text, for what every match contains.

Where it finds nothing, no rule of the pass can match, and the automaton need not read. Where it finds something, the
automaton reads the neighbourhood. So it may find too much, and must never miss anything (docs/adr/0014-quick-look.md).

The search is Aho-Corasick's, by the package ahocorasick_rs. Where that is not installed there is no quick look.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

from proxy.matching import edges
from proxy.matching.compiled import CompiledRule
from proxy.matching.factors import PLAIN, SHAPE, factor_of
from proxy.matching.foldedlook import FoldedSearch, Wanted, wanted
from proxy.matching.foldedwords import FoldedWords
from proxy.matching.foldtree import fold_tree
from proxy.matching.literalsearch import AVAILABLE, LiteralSearch, TokenSearch, WordSearch
from proxy.matching.pauses import Pause, no_pause, pausing
from proxy.matching.plainwords import MOST_SPACES, SPACE, PlainWords
from proxy.matching.syntax import parse
from proxy.matching.words import WordList, edge_class
from proxy.matching.writing import Images, Writing

SLACK = edges.MOST_INVISIBLE + 4
"""Characters read before those that matter: what may begin a word depends on a few before it."""
MOST_REACH = 512
SURE = 3.0
"""The score of a factor beside which no other alphabet is tried."""
LONG_LIST = 2_000
"""A list with so many entries has a search of its own, which all passes share."""
TELLING = 16
"""Characters of the words of an entry that are searched for."""
_TOKEN = re.compile(r"\S+")


Hit = tuple[int, int]
"""What a match contains has one of these offsets, the first to the last."""


class Search(Protocol):
    """Finds what some rules' matches contain.

    reach: every match of these rules contains a hit wholly within so many characters from its beginning
    """

    @property
    def reach(self) -> int: ...

    def hits(self, writing: Writing) -> Iterable[Hit]:
        """All of a text, in any order."""


class Look:
    """The quick look of one pass."""

    def __init__(self, searches: Sequence[Search]) -> None:
        self._searches = searches
        self.reach = max((search.reach for search in searches), default=0) + SLACK

    def finds_nothing(self, text: str) -> bool:
        """Whether there is nothing in a text."""
        writing = Writing(text)
        return not any(True for search in self._searches for _ in search.hits(writing))

    def hits(self, text: str) -> list[Hit]:
        """All of a text, in order."""
        writing = Writing(text)
        return sorted(hit for search in self._searches for hit in search.hits(writing))


def look_for(rules: Sequence[CompiledRule], pause: Pause = no_pause) -> Look | None:
    """The quick look of the pass of these rules. None when one of them has nothing that could be searched for."""
    if not AVAILABLE:
        return None
    found = _Collected(pause)
    for rule in rules:
        if rule.roots and not found.add(rule):
            return None
        pause()
    searches = found.searches()
    near = all(search.reach <= MOST_REACH for search in searches)
    return Look(searches) if near and all(_soon_enough(rule, searches) for rule in rules) else None


def _soon_enough(rule: CompiledRule, searches: Iterable[Search]) -> bool:
    """What waits too long is covered or blocks although it is no match yet: it must have been seen by then."""
    if rule.source.on_overflow == "release" or not rule.unbounded:
        return True
    return all(search.reach <= rule.source.max_hold for search in searches)


class Traces(NamedTuple):
    """What the matches of a rule contain, by the way in which the text is written for the search.

    reach: see Search
    """

    plain: frozenset[str] = frozenset()
    shape: frozenset[str] = frozenset()
    tokens: frozenset[str] = frozenset()
    reach: int = 0


class _Collected:
    """The traces of several rules, put together so that each way of writing needs one search."""

    def __init__(self, pause: Pause) -> None:
        self._pause = pause
        self._traces: list[Traces] = []
        self._folded: list[Wanted] = []
        self._own: list[Search] = []

    def add(self, rule: CompiledRule) -> bool:
        """Whether there is anything to search for."""
        if rule.words is not None:
            return self._add_words(rule.words)
        assert rule.source.pattern is not None
        traces = traces_of_pattern(rule.source.pattern, rule.source.fold)
        if traces is not None:
            self._traces.append(traces)
        return traces is not None

    def _add_words(self, words: WordList) -> bool:
        if isinstance(words, FoldedWords):
            return self._add_folded(words)
        assert isinstance(words, PlainWords)
        if words.traces is None:
            words.traces = traces_of_words(pausing(words.entries, self._pause))
        if len(words.entries) < LONG_LIST:
            self._traces.append(words.traces)
        else:
            words.searches = words.searches or _searches([words.traces], WordSearch, self._pause)
            self._own += words.searches
        return True

    def _add_folded(self, words: FoldedWords) -> bool:
        if words.traces is None:
            words.traces = [wanted(entry) for entry in pausing(words.entries, self._pause)]
        if None in words.traces:
            return False
        if len(words.entries) < LONG_LIST:
            self._folded += words.traces
        else:
            words.searches = words.searches or [FoldedSearch(words.traces, self._pause)]
            self._own += words.searches
        return True

    def searches(self) -> list[Search]:
        folded = [FoldedSearch(self._folded, self._pause)] if self._folded else []
        return [*_searches(self._traces, TokenSearch, self._pause), *folded, *self._own]


def _searches(traces: Sequence[Traces], word_search: type[TokenSearch | WordSearch], pause: Pause) -> list[Search]:
    reach = max((some.reach for some in traces), default=0)
    plain = {literal for some in traces for literal in some.plain}
    shape = {literal for some in traces for literal in some.shape}
    tokens = {words for some in traces for words in some.tokens}
    out: list[Search] = []
    if plain:
        out.append(LiteralSearch(plain, _PLAIN, reach, pause))
    if shape:
        out.append(LiteralSearch(shape, _SHAPE, reach, pause))
    if tokens:
        out.append(word_search(tokens, _TOKENS, reach, pause))
    return out


# -- ways to write a text


def token_image(char: str) -> str:
    """Letters and digits in one case; a blank for all that may part words."""
    if not edges.joining().has(ord(char)):
        return " "
    return char if char.isdecimal() else PLAIN.image(char)


_PLAIN, _SHAPE, _TOKENS = Images(PLAIN.image), Images(SHAPE.image), Images(token_image)


# -- traces


@lru_cache(maxsize=1 << 14)
def traces_of_pattern(pattern: str, fold: bool) -> Traces | None:
    """What the matches of a pattern contain; None when that is too little, or too far from their beginning."""
    root = parse(pattern).root
    if fold:
        root = fold_tree(root)
    plain = factor_of(root, PLAIN)
    if plain is None or plain.score < SURE:
        shape = factor_of(root, SHAPE)
        if shape is not None and (plain is None or shape.score > plain.score):
            return Traces(shape=shape.literals, reach=shape.reach)
    return None if plain is None else Traces(plain=plain.literals, reach=plain.reach)


def traces_of_words(entries: Iterable[str]) -> Traces:
    """What a list's entries (in symbols) contain."""
    plain: set[str] = set()
    tokens: set[str] = set()
    reach = 0
    for entry in entries:
        words, length = _words_of(entry)
        if words:
            tokens.add(words)
        else:
            piece, length = _piece_of(entry)
            plain.add("".join(map(PLAIN.image, piece)))
        reach = max(reach, length)
    return Traces(plain=frozenset(plain), tokens=frozenset(tokens), reach=reach)


def _words_of(entry: str) -> tuple[str, int]:
    """The first words of an entry, and how far they reach; "" where it has other characters than words and ASCII."""
    if not all(char < "\x80" or edge_class(char) == "W" for char in entry):
        return "", 0
    found: list[str] = []
    written = "".join(map(token_image, entry))
    for token in _TOKEN.finditer(written):
        found.append(token[0])
        if token.end() >= TELLING or sum(map(len, found)) >= TELLING:
            return " ".join(found), _spread(entry[: token.end()])
    return " ".join(found), _spread(entry)


def _piece_of(entry: str) -> tuple[str, int]:
    """The longest part of an entry without white space, and how far it reaches."""
    piece = max(entry.split(SPACE), key=len)
    return piece, _spread(entry[: entry.index(piece) + len(piece)])


def _spread(text: str) -> int:
    """The most characters that a part of an entry takes."""
    return len(text) + (MOST_SPACES - 1) * text.count(SPACE)

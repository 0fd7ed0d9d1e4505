"""Word lists: an Aho-Corasick automaton, built lazily over the sorted list.

A node is a range of the list (the entries that begin with what was read), found by bisection and kept once visited;
there is no trie in memory. Whole words come from marks: one stands wherever \\b would match, in the entries and in the
text, and at both ends of every entry, so that finding the entry `word` is exactly finding (?i)\\b(?:word)\\b.

Aho and Corasick, "Efficient string matching", CACM 18(6), 1975.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, product
from typing import NamedTuple

from proxy.matching.charsets import LAST, category, half_letters, representatives, same_case
from proxy.matching.errors import PatternError

MARK = "\0"
MAX_TRANSITIONS = 200_000
_SLICE = 500
_BOUNDARY = re.compile(r"\b")


class WordList(NamedTuple):
    """A rule's number, its entries (marked and sorted), and whether text has to wait for them."""

    number: int
    entries: Sequence[str]
    holds: bool


End = tuple[int, int]  # the number of a rule, and the length of its longest entry that ends here


def marked(words: Iterable[str]) -> tuple[str, ...]:
    """The entries with their marks, case taken out, in order, each once."""
    runs = [sorted(entries) for entries in _slices(words)]
    return tuple(dict.fromkeys(sorted(entry for entries in runs for entry in entries)))


def _slices(words: Iterable[str]) -> Iterator[list[str]]:
    """The entries, some at a time, so that other threads get their turn."""
    rest = iter(words)
    while some := list(islice(rest, _SLICE)):
        for word in some:
            _check(word)
        spelled = [spelling for word in some for spelling in _spellings(word)]
        alone = [word for word in spelled if "\n" in word]
        joined = "\n".join([word for word in spelled if "\n" not in word] if alone else spelled)
        yield [_closed(entry) for entry in (*_marked(joined).split("\n"), *map(_marked, alone)) if entry]


def _marked(text: str) -> str:
    text = _BOUNDARY.sub(MARK, text)
    return text.upper() if text.isascii() else text.translate(representatives())


def _spellings(word: str) -> Iterable[str]:
    """The word; where one of its letters is an iota, also with the combining iota that (?i) takes for one."""
    if word.isascii() or half_letters().keys().isdisjoint(word):
        return (word,)
    return map("".join, product(*(char + half_letters().get(char, "") for char in word)))


def iotas(word: str) -> int:
    """How many letters of a word double its spellings."""
    return 0 if word.isascii() else sum(char in half_letters() for char in word)


def entry_length(entry: str) -> int:
    """How many characters of text a marked entry is."""
    return len(entry) - entry.count(MARK)


def _check(word: str) -> None:
    if not word:
        raise PatternError("an empty word", hint="leave it out")
    if MARK in word:
        raise PatternError(f"the word {word!r} has a NUL character", hint="leave it out")


def _closed(entry: str) -> str:
    """A mark at both ends; a word character there has got its own already."""
    start = "" if entry[0] == MARK else MARK
    end = "" if entry[-1] == MARK else MARK
    return start + entry + end


class AhoCorasick:
    """The entries of all word rules as one automaton; shared by all streams. The lists stay where they are."""

    def __init__(self, lists: Sequence[WordList], max_transitions: int = MAX_TRANSITIONS) -> None:
        """max_transitions: how many to cache before starting afresh."""
        self.max_transitions = max_transitions
        self.transitions = 0
        self.nodes: dict[str, Node] = {}
        self.states: dict[tuple[str, bool, tuple[End, ...] | None], WordState] = {}
        self.root = self.node("", [Range(words, 0, len(words.entries)) for words in lists], None)
        self.start = self.state(self.root, False)

    def node(self, text: str, ranges: list[Range], fail: Node | None) -> Node:
        """The node for the entries that begin with `text`."""
        node = self.nodes[text] = Node(text, ranges, fail)
        return node

    def state(self, node: Node, after_word: bool, ends: tuple[End, ...] | None = None) -> WordState:
        """The state after a character; see WordState."""
        key = (node.text, after_word, ends)
        state = self.states.get(key)
        if state is None:
            state = self.states[key] = WordState(self, node, after_word, ends)
        return state

    def step(self, state: WordState, char: str) -> WordState:
        """The state after one more character ("": the end of the text)."""
        self.transitions += 1
        if self.transitions >= self.max_transitions:
            self.flush()
        word = char in category("w")
        node = state.node
        ends: tuple[End, ...] = ()
        if word is not state.after_word:
            node = self.goto(node, MARK)
            ends = node.ends
        if char:
            node = self.root if char == MARK else self.goto(node, same_case(char))
        return self.state(node, word, ends or None)

    def goto(self, node: Node, char: str) -> Node:
        """The node for the longest suffix of what was read, and `char`, that begins an entry."""
        chain: list[Node] = []
        at: Node | None = node
        while at is not None and char not in at.gotos:
            chain.append(at)
            at = at.fail
        target = self.root if at is None else at.gotos[char]
        for node in reversed(chain):
            target = node.gotos[char] = self.child(node, char, target)
        return target

    def child(self, node: Node, char: str, otherwise: Node) -> Node:
        text = node.text + char
        known = self.nodes.get(text)
        if known is not None:
            return known
        ranges = [part for part in (whole.beginning(text) for whole in node.ranges) if part.low < part.high]
        return self.node(text, ranges, otherwise) if ranges else otherwise

    def flush(self) -> None:
        """Forget everything that was built. A state that a stream is in builds itself anew."""
        for state in self.states.values():
            state.clear()
        for node in self.nodes.values():
            node.gotos.clear()
        self.states = {(self.root.text, False, None): self.start}
        self.nodes = {"": self.root}
        self.transitions = 0


class Range(NamedTuple):
    """Entries of a list that begin alike."""

    words: WordList
    low: int
    high: int

    def beginning(self, text: str) -> Range:
        """Those that begin with `text`, which is one character longer than what they are known to begin with."""
        entries = self.words.entries
        low = bisect_left(entries, text, self.low, self.high)
        last = ord(text[-1])
        high = bisect_left(entries, text[:-1] + chr(last + 1), low, self.high) if last < LAST else self.high
        return Range(self.words, low, high)

    def has(self, text: str) -> bool:
        """Is `text` an entry? It would be the first one."""
        return self.low < self.high and self.words.entries[self.low] == text


class Node:
    """A prefix of entries.

    ends: what is complete here; of each rule the longest
    live: characters of the longest entry that is still open here and that text has to wait for
    """

    __slots__ = ("ends", "fail", "gotos", "live", "ranges", "text")

    def __init__(self, text: str, ranges: list[Range], fail: Node | None) -> None:
        self.text, self.ranges, self.fail = text, ranges, fail
        length = entry_length(text)
        own = tuple((part.words.number, length) for part in ranges if part.has(text))
        known = {number for number, _ in own}
        shorter = () if fail is None else tuple(end for end in fail.ends if end[0] not in known)
        self.ends: tuple[End, ...] = own + shorter
        is_open = any(part.words.holds and part.high - part.low > part.has(text) for part in ranges)
        self.live: int = length if is_open else 0 if fail is None else fail.live
        self.gotos: dict[str, Node] = {}


class WordState(dict[str, "WordState"]):
    """What was read so far, as far as it matters. Maps the next character to the next state.

    after_word: the character read last is part of a word
    ends:       the entries that were complete before that character, which decided it; None when there are none
    live:       how many characters an unfinished entry of a hiding rule has taken up
    """

    __slots__ = ("after_word", "automaton", "ends", "live", "node")
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(self, automaton: AhoCorasick, node: Node, after_word: bool, ends: tuple[End, ...] | None) -> None:
        super().__init__()
        self.automaton, self.node, self.after_word, self.ends, self.live = automaton, node, after_word, ends, node.live

    def __missing__(self, char: str) -> WordState:
        state = self[char] = self.automaton.step(self, char)
        return state

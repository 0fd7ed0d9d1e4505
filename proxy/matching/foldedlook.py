"""The quick look for lists with `fold`: words of an entry, however they are spelled.

A word of an entry stands in the text in one of four ways (spellings.py), and each is searched for in a text of its own,
in which substitutes are written as the letters that they stand for:

* in one piece, perhaps with digits for letters: all words of the text
* with signs for letters, or interrupted by markup: runs of letters and such signs, markup left out
* with its letters apart: chains of single letters

An entry of several words is there only where two of them are. What makes a spelling long without end (markup, tags) is
a hit by itself where there is much of it, so everything else is found near the beginning of a match.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from proxy.matching import edges
from proxy.matching.foldsymbols import BETWEEN, INSIDE
from proxy.matching.literalsearch import Literals, Spans
from proxy.matching.pauses import Pause, no_pause, pausing
from proxy.matching.spellings import MARKUP
from proxy.matching.words import edge_class
from proxy.matching.writing import Images, Writing, ascii_and_others

MOST_MARKUP = 40
"""Characters of markup within a run of letters; with more the run is a hit by itself."""
LEAST = 3
"""Letters of a part of a word that is searched for, where the word has others than ASCII's."""
AROUND = 6  # low lines around a word
GAP = 10 + 2 * MOST_MARKUP  # between two words: white space, signs, a tag on each side
FIRST_WORDS = 3  # of an entry, of which two are searched for
SUBSTITUTES = {"4": "a", "8": "b", "3": "e", "9": "g", "1": "i", "l": "i", "0": "o", "5": "s", "7": "t"}
SIGNS = {"@": "a", "!": "i", "|": "i", "+": "t", "$": "s", "¢": "c", "€": "e", "£": "i", "¥": "y"}

_SIGN = "[" + re.escape("".join(SIGNS)) + "]"
_SPECIAL = "[" + "".join(re.escape(char) for char in sorted({*MARKUP, *SIGNS})) + "]"
_GROUP = rf"(?:{_SPECIAL}|<[a-z/]+>)+"
_MARK_OR_TAG = re.compile(rf"{_SPECIAL[:-1]}<]")
_RUN = re.compile(rf"(?:{_GROUP}\w*+)+")
_SPELLS = re.compile(rf"{_SIGN}|\w{_GROUP}\w")
_TAG = re.compile(r"<[a-z/]+>")
_OPEN_TAG = re.compile(rf"<[a-z/]{{{MOST_MARKUP - 2},}}")
_SIGN_APART = re.compile(rf"{_SIGN}[\W_]*[a-z0-9](?![a-z0-9])")
_CHAIN = re.compile(r"(?<![a-z0-9])[a-z0-9](?:[\W_]+[a-z0-9](?![a-z0-9]))+")
_ASCII = re.compile(r"[a-z0-9]+")
_WORDS = re.compile(f"[{BETWEEN}{INSIDE}]")
_MARKUP_OUT = str.maketrans(dict.fromkeys(MARKUP, ""))
_SIGNS_AS_LETTERS = str.maketrans(SIGNS)

Span = tuple[int, int]
_LEFT_OUT = "\x01"


def word_image(char: str) -> str:
    """Letters and digits as the letter that they may stand for; a blank for all else."""
    joins = char != "_" and edges.joining().has(ord(char))
    return SUBSTITUTES.get(char, char) if joins else " "


def spelled_image(char: str) -> str:
    """The same with signs as letters, and with what is to be left out."""
    return _LEFT_OUT if char in MARKUP else word_image(SIGNS.get(char, char))


_AS_WORDS, _AS_SPELLED = Images(word_image), Images(spelled_image)


class Part(NamedTuple):
    """Part of an entry: letters as they are searched for, and whether they are a whole word."""

    letters: str
    whole: bool


class Wanted(NamedTuple):
    """What an entry is searched for by: one part, or two. reach: see look.Search."""

    parts: tuple[Part, ...]
    reach: int


def wanted(entry: str) -> Wanted | None:
    """Of an entry in symbols. None when no part of it can be searched for."""
    found: list[tuple[Part, int]] = []
    reach = 0
    for word in _WORDS.split(entry)[:FIRST_WORDS]:
        reach += max(4 * len(word), len(word) + MOST_MARKUP) + AROUND
        part = _part(word)
        if part is not None:
            found.append((part, reach))
        reach += GAP
    if not found:
        return None
    best = sorted(found, key=lambda pair: len(pair[0].letters), reverse=True)[:2]
    return Wanted(tuple(part for part, _ in best), max(end for _, end in best))


def _part(word: str) -> Part | None:
    if _ASCII.fullmatch(word):
        return Part(_AS_WORDS.of(word), True)
    runs = []
    for run in _ASCII.finditer(word):
        marked = run.end() < len(word) and edge_class(word[run.end()]) == "M"  # the last letter and its mark may be one
        runs.append(run[0][: -1 if marked else None])
    longest = max(runs, key=len, default="")
    return Part(_AS_WORDS.of(longest), False) if len(longest) >= LEAST else None


class FoldedSearch:
    """The search for lists with `fold`."""

    def __init__(self, entries: Iterable[Wanted], pause: Pause = no_pause) -> None:
        numbers: dict[Part, int] = {}
        self._with: list[set[int]] = []  # for each part, what else has to be there: -1 for nothing
        self.reach = 0
        for entry in pausing(entries, pause):
            first, *others = (numbers.setdefault(part, len(numbers)) for part in entry.parts)
            self._with += [set() for _ in range(len(numbers) - len(self._with))]
            self._with[first].add(others[0] if others else -1)
            self.reach = max(self.reach, entry.reach)
        parts = list(numbers)
        self._shortest = max(2, min(len(part.letters) for part in parts))
        self._longest = max(len(part.letters) for part in parts)
        self._in_words = Literals([f" {part.letters} " if part.whole else part.letters for part in parts], pause)
        self._anywhere = Literals([part.letters for part in parts], pause)
        self._whole = [part.whole for part in parts]
        self._apart = re.compile(rb"(?<= )(?:[^ ] ){%d,}" % self._shortest)

    def hits(self, writing: Writing) -> Iterator[Span]:
        """Where they are, and what is long."""
        text, spans = writing.text, Spans(writing, _AS_WORDS)
        words = list(self._words(spans))
        found = [*self._runs(text), *self._with_signs(text)]
        there = {-1, *(number for number, *_ in words), *(number for number, _ in found)}
        for number, start, count in words:
            if not there.isdisjoint(self._with[number]):
                token = spans.token_at(start)
                yield spans.span(token, token + count - 1)
        yield from (span for number, span in found if number < 0 or not there.isdisjoint(self._with[number]))

    def _words(self, spans: Spans) -> Iterator[tuple[int, int, int]]:
        """Words in one piece, and those with their letters apart: which, the blank before them, how many tokens."""
        for number, start, _ in self._in_words.find(spans.squeezed):
            yield number, start if self._whole[number] else start - 1, 1
        for chain in self._apart.finditer(spans.squeezed):
            for number, _, _ in self._anywhere.find(chain[0].replace(b" ", b"")):
                yield number, chain.start() - 1, len(chain[0]) // 2

    def _runs(self, text: str) -> Iterator[tuple[int, Span]]:
        """Words with signs for letters, or interrupted by markup."""
        yield from ((-1, (tag.start(), tag.end() - 1)) for tag in _OPEN_TAG.finditer(text))
        all_of_it = not self._nowhere(text)
        spelled: list[tuple[Span, str]] = []
        for first, end in _marked_runs(text, 1 if all_of_it else MOST_MARKUP + 1):
            shown = _TAG.sub("", text[first:end]).translate(_MARKUP_OUT)
            if end - first - len(shown) > MOST_MARKUP:
                yield -1, (first, end - 1)
            if all_of_it and _SPELLS.search(text, first, end):
                spelled.append(((first, end - 1), shown))
        yield from self._in_spelled(spelled)

    def _nowhere(self, text: str) -> bool:
        """Whether no part is in any run: all runs are in the text without its markup."""
        shown = text if "<" not in text else _TAG.sub("", text)
        written = _AS_SPELLED.written(ascii_and_others(shown)).translate(None, _LEFT_OUT.encode())
        return not self._anywhere.find(written, overlapping=False)

    def _with_signs(self, text: str) -> Iterator[tuple[int, Span]]:
        """Letters that stand apart, with signs for some of them."""
        spelled: list[tuple[Span, str]] = []
        around = 8 * self._longest
        for sign in _SIGN_APART.finditer(text):
            begin = max(0, sign.start() - around)
            for chain in _CHAIN.finditer(text, begin, sign.end() + around):
                first, end = chain.span()
                if first < sign.start() < end:
                    spelled += self._readings(chain[0], (first, end - 1))
        yield from ((-1, span) for span, shown in spelled if not shown)
        yield from self._in_spelled([pair for pair in spelled if pair[1]])

    def _readings(self, chain: str, span: Span) -> list[tuple[Span, str]]:
        """A chain without its one sign, and with the letter for it; "" where several may be either."""
        with_signs = _letters(chain.translate(_SIGNS_AS_LETTERS))
        without = _letters(chain)
        if len(with_signs) < self._shortest:
            return []
        if len(with_signs) > len(without) + 1:
            return [(span, "")]
        return [(span, without), (span, with_signs)]

    def _in_spelled(self, spelled: list[tuple[Span, str]]) -> Iterator[tuple[int, Span]]:
        """The parts within texts, each told by the span that its text stands for."""
        written = [_as_letters(text) for _, text in spelled]
        if not self._anywhere.find(b" ".join(written)):
            return
        for (span, _), letters in zip(spelled, written, strict=True):
            yield from ((number, span) for number, _, _ in self._anywhere.find(letters))


def _marked_runs(text: str, least: int) -> Iterator[Span]:
    """Runs of letters, markup, tags and signs that stand for letters, with at least one of the latter three.

    least: characters of a run without the letters before its first mark; shorter ones are left out
    """
    at = 0
    while (mark := _MARK_OR_TAG.search(text, at)) is not None:
        run = _RUN.match(text, mark.start())
        if run is None:  # `<` alone
            at = mark.end()
            continue
        first, at = run.span()
        if at - first < least:
            continue
        while first and (text[first - 1].isalnum() or text[first - 1] == "_"):
            first -= 1
        yield first, at


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))


def _as_letters(text: str) -> bytes:
    return _AS_WORDS.written(ascii_and_others(text.translate(_SIGNS_AS_LETTERS)))

"""Words without `fold`: each entry as it is written, in any case, with word edges around it.

A run of white space in an entry stands for any run of up to MOST_SPACES white-space characters. Up to MOST_INVISIBLE
invisible characters behind a word go with it. As many before it are looked through, and stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice

from proxy.matching import edges
from proxy.matching.charsets import EDGE, CharSet, any_case, representatives, same_case
from proxy.matching.errors import PatternError
from proxy.matching.pauses import Pause, no_pause
from proxy.matching.words import AFTER, Reached, WordCursor, WordList, edge_class, last_class, roots_for

MOST_SPACES = 8
SPACE = " "
_SLICE = 500
_SPACES = re.compile(r"[^\S\n]+")
_NEWLINES = re.compile(r"\s+")


def symbols(words: Iterable[str], pause: Pause = no_pause) -> Iterator[list[str]]:
    """The entries in symbols: case taken out, white space as one space. Each part is sorted, so that none is long work.

    PatternError for an empty entry.
    """
    rest = iter(words)
    while some := list(islice(rest, _SLICE)):
        yield sorted(_symbols(some))
        pause()


def _symbols(words: list[str]) -> Iterator[str]:
    if any("\n" in word for word in words):
        words = [_NEWLINES.sub(SPACE, word) for word in words]
    text = _SPACES.sub(SPACE, "\n".join(words))
    text = text.upper() if text.isascii() else text.translate(representatives())
    for word, entry in zip(words, text.split("\n"), strict=True):
        entry = entry.strip()
        if not entry:
            raise PatternError(f"the word {word!r} is empty", hint="leave it out")
        yield entry


class PlainWords(WordList):
    """States of a cursor: W, S and O at the start, for entries that begin with a character of that class; "" after a
    symbol; ` 1` and more after so many white-space characters; `$1` and more after so many invisible characters behind
    an entry.
    """

    def __init__(self, words: Iterable[str], pause: Pause = no_pause) -> None:
        super().__init__(symbols(words, pause))
        firsts = {edge_class(char) for char in {entry[0] for entry in self.entries}}
        self.roots = roots_for(self, {"O" if kind == "M" else kind for kind in firsts}, past_invisible=True)
        self.sets = _sets(frozenset("".join(self.entries)))
        self.longest = max(len(entry) + (MOST_SPACES - 1) * entry.count(SPACE) for entry in self.entries)
        if not {"W", "M"}.isdisjoint(edge_class(char) for char in {entry[-1] for entry in self.entries}):
            self.longest += edges.MOST_INVISIBLE

    def read(self, cursor: WordCursor, char: str) -> Reached:
        """Where a character leads."""
        reached = Reached([], False)
        state = cursor.state
        assert isinstance(state, str)
        if not char:
            return reached
        if state[:1] == "$":
            self._read_invisible(cursor, char, reached)
        elif char in edges.SPACE:
            self._read_space(cursor, reached)
        else:
            return self._read_symbol(cursor, char, reached, state if state in ("W", "S", "O") else "")
        return reached

    def _read_symbol(self, cursor: WordCursor, char: str, reached: Reached, kind: str) -> Reached:
        """`kind`: the class that a first character has to have."""
        if kind and ("O" if (own := edge_class(char)) == "M" else own) != kind:
            return reached
        text = cursor.text + same_case(char)
        within = self.child(text, (cursor.low, cursor.high))
        return self._at(text, within, reached) if within[0] < within[1] else reached

    def _at(self, text: str, within: tuple[int, int], reached: Reached) -> Reached:
        """After a symbol: the entry may be complete, and longer ones may go on."""
        complete = self.has(text, within)
        if within[1] - within[0] > complete:
            reached.items.append(self.cursor(text, "", within))
        if not complete:
            return reached
        kind = last_class(text)
        if kind not in AFTER:
            return Reached(reached.items, True)
        reached.items.append(self.end(AFTER[kind]()))
        if kind == "W":
            reached.items.append(self.cursor(text, "$0", within))
        return reached

    def _read_space(self, cursor: WordCursor, reached: Reached) -> None:
        state, text, within = cursor.state, cursor.text, (cursor.low, cursor.high)
        assert isinstance(state, str)
        run = int(state[1:]) if state[:1] == " " else 0
        if not run:
            text += SPACE
            within = self.child(text, within)
        if text and run < MOST_SPACES and within[0] < within[1]:
            reached.items.append(self.cursor(text, f" {run + 1}", within))

    def _read_invisible(self, cursor: WordCursor, char: str, reached: Reached) -> None:
        """One more invisible character behind an entry."""
        state = cursor.state
        assert isinstance(state, str)
        run = int(state[1:]) + 1
        if char not in edges.INVISIBLE:
            return
        if run < edges.MOST_INVISIBLE:
            reached.items.append(self.cursor(cursor.text, f"${run}", (cursor.low, cursor.high)))
        after = edges.after_word if run < edges.MOST_INVISIBLE else edges.after_invisible
        reached.items.append(self.end(after()))


def _sets(alphabet: frozenset[str]) -> frozenset[CharSet]:
    """What decides how a character is read: each symbol in any case, and the classes of characters."""
    classes = [EDGE, edges.SPACE, edges.INVISIBLE, edges.joining(), edges.spaceless(), edges.marks()]
    classes += [edges.before_word(), edges.before_spaceless(), edges.after_word(), edges.after_spaceless()]
    return frozenset((*classes, edges.after_invisible(), *map(_in_any_case, alphabet)))


@cache
def _in_any_case(symbol: str) -> CharSet:
    return any_case(CharSet.chars(symbol))

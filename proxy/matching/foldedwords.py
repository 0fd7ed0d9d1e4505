"""Words with `fold`: the spellings of an entry that a reader still reads as the entry, on the folded view.

Nothing happens to digits or punctuation elsewhere: a character stands for another letter only within a word of the
list. What is seen, for `bomb`:

* whole             bomb, and everything that folds to it; _bomb_, __bomb__
* leet              b0mb, 8omb; inside a word also with !, |, +, $ and @
* s p a c e d       b o m b, b-o-m-b, b.o.m.b: a separator between all letters, with no letter or digit beside them
* interrupted       **b**omb, b*o*mb, `b`omb, [b]omb, b\\omb, <b>b</b>omb: markup between any two letters

and, for entries of several words, white space or one to five blanks or punctuation characters between two words.

What keeps ordinary text out:

* A substitute needs letters around it: a number is no word (1337), nor is a number with its unit (80mb), an identifier
  with a number (node5), or a sign before or after a word (tax!, C+). So the first letter may be a substitute only when
  the second is none, and the last only together with the one before it, after two letters.
* Separated letters stand alone: `this hit` holds no `s hit`. Lists (D, E, A, D) are no separated words.
* Words of three letters: one substitute in the middle, single separators. Shorter ones: no variants at all.

Not seen: single breaks (bo mb, bo-mb), letters left out, doubled or starred (b*mb), and i for l, which makes words.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from unicodedata import decomposition

from proxy.matching import edges
from proxy.matching.charsets import EDGE, CharSet, category
from proxy.matching.folding import parts
from proxy.matching.foldsymbols import BETWEEN, FORMS, INSIDE, LEET, Reading, class_of, letter_of, readings, symbols
from proxy.matching.nfa import Edge
from proxy.matching.pauses import Pause, no_pause
from proxy.matching.spellings import Seen, after_symbol, context, gaps_after, is_sign, is_spelling, shape, word_gaps
from proxy.matching.words import AFTER, Range, Reached, WordCursor, WordList, edge_class, root, roots_for


class FoldedWords(WordList):
    """A list whose entries are found in every spelling; see spellings.py for the states of its cursors."""

    def __init__(self, words: Iterable[str], pause: Pause = no_pause) -> None:
        super().__init__(symbols(words, pause))
        alphabet = frozenset("".join(self.entries))
        kinds = {edge_class(char) for char in {letter_of(entry[0]) for entry in self.entries}}
        roots = list(roots_for(self, {"O" if kind == "M" else kind for kind in kinds}, Seen))
        if "W" in kinds:
            roots.append(root(self, Seen("u0", 5), edges.before_word()))
        self.roots: tuple[Edge, ...] = tuple(roots)
        self.sets = _sets(alphabet)
        kinds = {edge_class(letter_of(char)) for char in alphabet}
        self._joints = "WS" if {"W", "S"} <= kinds else "S"  # classes of letters after which a joint may follow
        plain = "W" not in kinds
        self.longest = max(map(len, self.entries)) * 3 if plain else None

    def read(self, cursor: WordCursor, char: str) -> Reached:
        """Where a character leads."""
        reached = Reached([], False)
        seen = cursor.state
        assert isinstance(seen, Seen)
        if not char:
            return reached
        accepts = False
        for reading in readings(char):
            accepts |= self._read_symbols(cursor, seen, reading, reached)
        self._read_gap(cursor, seen, char, reached)
        return Reached(reached.items, accepts)

    # -- symbols

    def _read_symbols(self, cursor: WordCursor, seen: Seen, reading: Reading, reached: Reached) -> bool:
        """One reading of a character; True when it completes a match, whatever follows."""
        text, within = cursor.text, (cursor.low, cursor.high)
        after: Seen | None = seen
        for symbol in reading.symbols:
            assert after is not None
            after = after_symbol(context(text), after, class_of(symbol), *reading[1:])
            if after is None:
                return False
            text += symbol
            within = self.child(text, within)
            if within[0] >= within[1]:
                return False
        assert after is not None
        complete = self.has(text, within)
        if within[1] - within[0] > complete:
            reached.items.append(self.cursor(text, after, within))
        return complete and self._complete(text, within, after, reached)

    def _complete(self, text: str, within: Range, seen: Seen, reached: Reached) -> bool:
        """The symbols are an entry: is it one in this spelling?"""
        if not is_spelling(shape(text), seen):
            return False
        kind = context(text).before
        if seen.style == 5:
            reached.items.append(self.cursor(text, Seen("v0", 5), within))
            return False
        if kind not in AFTER:
            return True
        reached.items.append(self.end(AFTER[kind]()))
        return False

    # -- what stands between symbols

    def _read_gap(self, cursor: WordCursor, seen: Seen, char: str, reached: Reached) -> None:
        gap, text = seen.gap, cursor.text
        if gap[:1] in ("u", "v"):
            self._read_low_line(cursor, seen, char, reached)
        elif text:
            within = cursor.low, cursor.high
            joints = text[-1] not in (BETWEEN, INSIDE) and context(text).before in self._joints
            for after in gaps_after(seen, context(text).before, char, joints):
                reached.items.append(self.cursor(text, after, within))
            if not gap:
                self._begin_gap(cursor, seen, char, reached)

    def _read_low_line(self, cursor: WordCursor, seen: Seen, char: str, reached: Reached) -> None:
        kind, run = seen.gap[0], seen.gap[1]
        if char == "_" and run < "3":
            after = seen._replace(gap=f"{kind}{int(run) + 1}")
            reached.items.append(self.cursor(cursor.text, after, (cursor.low, cursor.high)))
            if kind == "v":
                reached.items.append(self.end(edges.after_word()))

    def _begin_gap(self, cursor: WordCursor, seen: Seen, char: str, reached: Reached) -> None:
        if char != "<" and not is_sign(char):
            return
        for symbol, start in ((BETWEEN, "g0"), (INSIDE, "i0")):
            text = cursor.text + symbol
            within = self.child(text, (cursor.low, cursor.high))
            if within[0] < within[1]:
                for after in word_gaps(start, char):
                    reached.items.append(self.cursor(text, seen._replace(gap=after), within))


def _sets(alphabet: frozenset[str]) -> frozenset[CharSet]:
    """What decides how a character is read: each letter, each sign of ASCII, and the classes of characters."""
    single = set(map(chr, range(128))) | {char for chars in LEET.values() for char in chars}
    for symbol in alphabet:
        single |= FORMS.get(symbol, {symbol})
    single |= {whole for whole, spelled in _wholes().items() if alphabet.issuperset(spelled)}
    classes = [EDGE, edges.SPACE, edges.joining(), edges.spaceless(), edges.marks(), category("w"), _spaces()]
    classes += [edges.before_word(), edges.before_spaceless(), edges.after_word(), edges.after_spaceless()]
    return frozenset((*classes, *map(CharSet.chars, single)))


@cache
def _spaces() -> CharSet:
    return CharSet.of((code, code) for code in range(0x3001) if chr(code).isspace())


@cache
def _wholes() -> dict[str, str]:
    """Characters that are read as two symbols."""
    marked = (char for char in map(chr, range(128, 0x12000)) if decomposition(char))
    return {char: parts(char) for char in marked if len(parts(char)) > 1}

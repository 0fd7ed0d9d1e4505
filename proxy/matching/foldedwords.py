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

import re
import string
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import islice, product
from typing import NamedTuple

from proxy.matching import edges
from proxy.matching.charsets import EDGE, CharSet, category
from proxy.matching.errors import PatternError
from proxy.matching.folding import cases, fold_text, parts
from proxy.matching.nfa import Edge
from proxy.matching.pauses import Pause, no_pause
from proxy.matching.plainwords import MOST_SPACES
from proxy.matching.words import AFTER, Range, Reached, WordCursor, WordList, edge_class, last_class, root, roots_for

_SLICE = 500
MOST_FORMS = 64
"""Ways to read one entry, where capital letters have more letters than small ones (a Greek iota below a letter)."""
BETWEEN = "\x01"
"""The symbol for what parts two words of an entry,"""
INSIDE = "\x02"
"""and for punctuation within one."""

_EITHER = tuple(frozenset(pair) for pair in ("mw", "uv", "5s", "hn", "nv", "uy", "6b"))
_EITHER_SYMBOL = {forms: chr(0xFDD0 + n) for n, forms in enumerate(_EITHER)}
"""Letters that look different in capitals (capital Nu looks like n, small nu like v): one symbol for both."""
_FORMS = {symbol: forms for forms, symbol in _EITHER_SYMBOL.items()}

LEET = {
    "a": "4@", "b": "8", "c": "¢", "e": "3€", "g": "9", "i": "1!|",
    "l": "1|£", "o": "0", "s": "5$", "t": "7+", "y": "¥",
}  # fmt: skip
NEVER_FIRST = frozenset("!|+")
EVER_LAST = frozenset(string.digits + "$@€")
_MARKUP = frozenset("*~`\\[]" + "".join(map(chr, [*range(9), *range(14, 32), 127])))
_TAG = frozenset(string.ascii_lowercase + "/")
_SHORT = frozenset(" .-_*/|~+")
_JOINT = frozenset("*_~`./|\\-")
_LISTING = frozenset(",;")


class Reading(NamedTuple):
    """What a character of text may stand for.

    symbols: one letter, or a letter and its mark
    leet:    it is a substitute; `first` and `last`: also at the beginning, at the end of a word
    """

    symbols: str
    leet: bool = False
    first: bool = True
    last: bool = True


@lru_cache(maxsize=1 << 16)
def readings(char: str) -> tuple[Reading, ...]:
    """All that a character of the folded view may stand for."""
    found = [] if char in (BETWEEN, INSIDE) or char in _FORMS else [Reading(parts(char))]
    found += [Reading(symbol) for symbol, forms in _FORMS.items() if char in forms]
    leet = [letter for letter, substitutes in LEET.items() if char in substitutes]
    leet += [symbol for symbol, forms in _FORMS.items() if not forms.isdisjoint(leet)]
    found += [Reading(letter, True, char not in NEVER_FIRST, char in EVER_LAST) for letter in leet]
    return tuple(found)


@lru_cache(maxsize=1 << 12)
def symbol_forms(char: str) -> tuple[str, ...]:
    """How a character of an entry is written in symbols; nearly always in one way."""
    forms = cases(char)
    if len(forms) == 1:
        (form,) = forms
        return ("".join(map(parts, form)),)
    symbol = _EITHER_SYMBOL.get(forms)
    if symbol is not None:
        return (symbol,)
    return tuple(sorted({"".join(map(parts, form)) for form in forms}))


class _Symbols(dict[int, str]):
    """For `str.translate`: entries whose characters have one form each."""

    def __missing__(self, code: int) -> str:
        forms = symbol_forms(chr(code))
        if len(forms) > 1 or 0xFDD0 <= code <= 0xFDEF or 0 < code < 3:
            raise _Unusual
        self[code] = forms[0]
        return forms[0]


class _Unusual(Exception):
    """A character with several forms, or one that symbols are made of."""


_SYMBOLS = _Symbols()


@cache
def _gaps() -> re.Pattern[str]:
    r"""What parts letters: no letter, digit or mark, nor a symbol that stands for letters, nor a line break."""
    code = "".join(f"{chr(a)}-{chr(b)}" for a, b in edges.marks().ranges)
    return re.compile(rf"(?:(?![\n\ufdd0-\ufdef{code}])[\W_])+")


def symbols(words: Iterable[str], pause: Pause = no_pause) -> Iterator[list[str]]:
    """The entries in symbols, in parts that are sorted.

    PatternError for an entry of which nothing can be seen, or that has too many forms.
    """
    rest = iter(words)
    while some := list(islice(rest, _SLICE)):
        yield sorted(_quickly(some) or [form for word in some for form in _slowly(word)])
        pause()


def _quickly(words: Sequence[str]) -> list[str]:
    """All of them at once, if none has anything unusual."""
    if any("\n" in word or "\u0306" in word for word in words):
        return []
    text = "\n".join(map(str.strip, words))
    if BETWEEN in text or INSIDE in text:
        return []
    try:
        text = text.lower() if text.isascii() else text.translate(_SYMBOLS)
    except _Unusual:
        return []
    entries = _gaps().sub(_gap, text).split("\n")
    if len(entries) != len(words):
        return []
    lasts = {entry[-1:] for entry in entries} | {entry[:1] for entry in entries}
    return [] if not lasts.isdisjoint((BETWEEN, INSIDE, "")) else entries


def _gap(found: re.Match[str]) -> str:
    return BETWEEN if any(map(str.isspace, found[0])) else INSIDE


def _slowly(word: str) -> list[str]:
    """One word in every form."""
    if any("\ufdd0" <= char <= "\ufdef" for char in word) or BETWEEN in word or INSIDE in word:
        raise PatternError(f"the word {word!r} has a character that is none (U+FDD0 to U+FDEF, U+0001, U+0002)")
    spelled = _with_breves(" ".join(word.split()))
    forms = [symbol_forms(char) if char != "\u0306" else (char,) for char in spelled]
    count = 1
    for form in forms:
        count *= len(form)
    if count > MOST_FORMS:
        hint = "write the entry without the iotas below its letters"
        raise PatternError(
            f"the word {word!r} can be read in {count} ways, at most {MOST_FORMS} are possible", hint=hint
        )
    found = {"".join(form) for form in product(*forms)}
    return [_with_gaps(form.strip(), word) for form in found]


def _with_breves(word: str) -> str:
    """Without breves that are decoration."""
    return "".join(c for i, c in enumerate(word) if c != "\u0306" or fold_text(word[: i + 1])[-1:] == c)


def _with_gaps(form: str, word: str) -> str:
    """A word with a sign at one of its ends is read as it is, but for white space."""
    if not form:
        raise PatternError(f"no character of the word {word!r} can be seen", hint="leave it out")
    bare = _gaps().sub(_gap, form)
    if bare[0] in (BETWEEN, INSIDE) or bare[-1] in (BETWEEN, INSIDE):
        return re.sub(r"\s+", BETWEEN, form)
    return bare


_UNFINISHED = ("t", "T", "<", "<<", "<>", ">>", ">>>")
"""Gaps that are none yet: no letter may follow."""


class Seen(NamedTuple):
    """How the symbols of a cursor were read.

    gap:   what stands behind the last symbol, see FoldedWords
    style: 0: nothing to tell; 1: letters side by side; 2: with markup; 3: separated, by one short separator each;
           4: separated; 5: between low lines
    first, second, any: there was a substitute, as the first letter, the second, anywhere
    tail:  of the last letters, 0: the last is none; 1: a substitute that may not be last; 2: one that may; 3: two
    """

    gap: str
    style: int = 0
    first: bool = False
    second: bool = False
    any: bool = False
    tail: int = 0


class FoldedWords(WordList):
    """Gaps: W, S and O at the start, for entries that begin with a character of that class; u0 to u3: low lines at the
    start; "": a symbol; m: markup; t, T: in a tag; s1, s2: a joint of scripts without spaces; p1, p2, p3: a separator;
    c: one that only stands alone; g: between words, w: white space only, `<` and `>`: a tag before or after; i1, i2:
    within a word; v1 to v3: low lines at the end.
    """

    def __init__(self, words: Iterable[str], pause: Pause = no_pause) -> None:
        super().__init__(symbols(words, pause))
        alphabet = frozenset("".join(self.entries))
        kinds = {edge_class(char) for char in {_letter(entry[0]) for entry in self.entries}}
        roots = list(roots_for(self, {"O" if kind == "M" else kind for kind in kinds}, Seen))
        if "W" in kinds:
            roots.append(root(self, Seen("u0", 5), edges.before_word()))
        self.roots: tuple[Edge, ...] = tuple(roots)
        self.sets = _sets(alphabet)
        kinds = {edge_class(_letter(char)) for char in alphabet}
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
            after = _after_symbol(context(text), after, _class_of(symbol), *reading[1:])
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
        if not _is_spelling(shape(text), seen):
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
            for after in _gaps_after(seen, context(text).before, char, joints):
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
        if char != "<" and not _is_sign(char):
            return
        for symbol, start in ((BETWEEN, "g0"), (INSIDE, "i0")):
            text = cursor.text + symbol
            within = self.child(text, (cursor.low, cursor.high))
            if within[0] < within[1]:
                for after in _between_words(start, char):
                    reached.items.append(self.cursor(text, seen._replace(gap=after), within))


class Context(NamedTuple):
    """What matters of the symbols read: the class of the last letter ("" at the start), how many letters there are (up
    to three), and whether what parts two words was read last."""

    before: str
    letters: int
    parted: bool


_START = Context("", 0, False)


@lru_cache(maxsize=1 << 14)
def context(text: str) -> Context:
    """Where a text of symbols ends."""
    if not text:
        return _START
    parted = text[-1] in (BETWEEN, INSIDE)
    return Context("O" if parted else _last_class(text), depth(text), parted)


@lru_cache(maxsize=1 << 14)
def _after_symbol(at: Context, seen: Seen, kind: str, leet: bool, first: bool, last: bool) -> Seen | None:
    """How it was read after one more symbol of a class; None when it may not stand here. For the rest see Reading."""
    gap = seen.gap
    if kind == "M":
        return seen._replace(gap="") if gap == "" or (gap == "O" and not at.before) else None
    if not at.before:
        return _after_first(seen, kind, leet, first)
    if gap in _UNFINISHED or gap[:1] == "v":
        return None
    if gap[:1] in ("p", "c") and kind != "W":
        return None
    style = _style_after(seen, at, kind)
    return None if style < 0 else _after_letter(seen._replace(gap="", style=style), at.letters, leet, last)


def _style_after(seen: Seen, at: Context, kind: str) -> int:
    """The style, once a letter follows what was put between; -1 when it may not."""
    gap, style = seen.gap, seen.style
    if gap == "":
        return style if at.parted else {0: 1, 3: -1, 4: -1}.get(style, style)
    if gap == "m":
        return 2 if style < 3 else -1
    if gap[0] == "s":
        return (style or 1) if style < 3 and "S" in (at.before, kind) else -1
    return style


def _after_first(seen: Seen, kind: str, leet: bool, first: bool) -> Seen | None:
    if seen.gap[0] == "u":
        return None if seen.gap == "u0" or kind != "W" or leet else Seen("", 5)
    if kind != seen.gap or not first:
        return None
    return Seen("", first=True, any=True, tail=1) if leet else Seen("")


def _after_letter(seen: Seen, before: int, leet: bool, last: bool) -> Seen | None:
    """`before`: how many letters there are before it."""
    if not leet:
        return seen._replace(tail=0)
    if before == 1 and seen.first:
        return None
    tail = (3 if seen.tail >= 2 else 2) if last else 1
    return seen._replace(second=seen.second or before == 1, any=True, tail=tail)


class Shape(NamedTuple):
    """letters: of an entry, marks not counted. exact: it has no variants."""

    letters: int
    exact: bool


@lru_cache(maxsize=1 << 14)
def shape(text: str) -> Shape:
    """What decides which variants an entry has."""
    letters = [_letter(symbol) for symbol in text if symbol not in (BETWEEN, INSIDE)]
    kinds = [edge_class(letter) for letter in letters]
    count = sum(kind != "M" for kind in kinds)
    alphabetic = sum(symbol in _FORMS or symbol.isalpha() for symbol in text)
    return Shape(count, count < 3 or alphabetic < 3 or "S" in kinds or "O" in kinds)


@lru_cache(maxsize=1 << 14)
def depth(text: str) -> int:
    """How many letters there are, up to three."""
    count = 0
    for symbol in text:
        if symbol not in (BETWEEN, INSIDE) and edge_class(_letter(symbol)) != "M":
            count += 1
            if count == 3:
                break
    return count


def _is_spelling(entry: Shape, seen: Seen) -> bool:
    """Is what was read, which are an entry's letters, one of the entry's spellings?"""
    style = seen.style
    if entry.exact:
        return style < 2 and not seen.any
    if style >= 3 and entry.letters == 3:
        return style != 4 and not seen.any
    if style >= 3 or entry.letters == 3:
        return not seen.first and seen.tail == 0
    return seen.tail == 0 or (seen.tail == 3 and style < 2 and not seen.first and not seen.second)


def _class_of(symbol: str) -> str:
    return "W" if symbol in _FORMS else edge_class(symbol)


def _letter(symbol: str) -> str:
    """A letter that a symbol stands for."""
    return max(_FORMS[symbol]) if symbol in _FORMS else symbol


def _last_class(text: str) -> str:
    return "W" if text[-1] in _FORMS else last_class(text)


def _is_sign(char: str) -> bool:
    """Neither letter nor digit nor mark; the low line is one."""
    return char == "_" or (edge_class(char) == "O" and not char.isalnum())


@lru_cache(maxsize=1 << 14)
def _gaps_after(seen: Seen, before: str, char: str, joints: bool) -> tuple[Seen, ...]:
    """How it was read after one more character that stands between symbols."""
    found = []
    gap = seen.gap
    if joints and gap in ("", "s1") and seen.style < 3 and (char in _JOINT or char.isspace()):
        found.append(seen._replace(gap="s2" if gap else "s1"))
    for after in _within_word(gap, seen.style, char, before):
        style = seen.style
        if after[0] in "pc":
            style = 4 if after[-1] != "+" or style == 4 else 3
        found.append(seen._replace(gap=after, style=style))
    if gap and gap[0] in "gw<>i":
        found += [seen._replace(gap=after) for after in _between_words(gap, char)]
    return tuple(found)


def _within_word(gap: str, style: int, char: str, before: str) -> Iterator[str]:
    """What may stand between two letters, after one more character. `before`: the class of the letter before."""
    if gap in ("", "m") and style in (0, 1, 2) and before == "W":
        if char in _MARKUP:
            yield "m"
        if char == "<":
            yield "t"
    if gap in ("t", "T") and char in _TAG:
        yield "T"
    if gap == "T" and char == ">":
        yield "m"
    if style in (0, 3, 4) and before == "W" and _is_sign(char):
        yield from _separator(gap, char)


def _separator(gap: str, char: str) -> Iterator[str]:
    if char in _LISTING or char == "_":
        if not gap:
            yield "c+" if char == "_" else "c"
    elif not gap:
        yield "p1+" if char in _SHORT else "p1"
    elif gap[0] == "p" and gap[1] < "3":
        yield f"p{int(gap[1]) + 1}"


def _between_words(gap: str, char: str) -> Iterator[str]:
    """What may stand between two words of an entry, or (i) within one where the entry has punctuation."""
    sign = _is_sign(char)
    if gap[0] == "i":
        if sign and gap[1] < "2":
            yield f"i{int(gap[1]) + 1}"
        return
    if gap == "g0" and char == "<":
        yield "<"
    if gap in ("<", "<<") and char in _TAG:
        yield "<<"
    if gap == "<<" and char == ">":
        yield "<>"
    if gap in ("g0", "<>") and sign:
        yield "w1" if char.isspace() else "g1"
    if gap[0] in "gw" and gap != "g0":
        run = int(gap[1])
        if sign and char.isspace() and gap[0] == "w" and run < MOST_SPACES:
            yield f"w{run + 1}"
        elif sign and run < 5:
            yield f"g{run + 1}"
        if char == "<":
            yield ">>"
    if gap in (">>", ">>>") and char in _TAG:
        yield ">>>"
    if gap == ">>>" and char == ">":
        yield ">!"


def _sets(alphabet: frozenset[str]) -> frozenset[CharSet]:
    """What decides how a character is read: each letter, each sign of ASCII, and the classes of characters."""
    single = set(map(chr, range(128))) | {char for chars in LEET.values() for char in chars}
    for symbol in alphabet:
        single |= _FORMS.get(symbol, {symbol})
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
    return {char: parts(char) for char in map(chr, range(128, 0x12000)) if len(parts(char)) > 1}

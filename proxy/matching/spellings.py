"""How the symbols of an entry may be written: in which ways they were read so far, and what may follow.

Gaps, that is what stands behind the last symbol: W, S and O at the start, for entries that begin with a character of
that class; u0 to u3: low lines at the start; "": nothing; m: markup; t, T: in a tag; s1, s2: a joint of scripts without
spaces; p1, p2, p3: a separator, with + a short one; c: one that only stands alone; g: between words, w: white space
only, `<` and `>`: a tag before or after; i1, i2: within a word; v1 to v3: low lines at the end.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from proxy.matching.foldsymbols import BETWEEN, FORMS, INSIDE, letter_of, symbols_class
from proxy.matching.plainwords import MOST_SPACES
from proxy.matching.words import edge_class

MARKUP = frozenset("*~`\\[]" + "".join(map(chr, [*range(9), *range(14, 32), 127])))
_TAG = frozenset(string.ascii_lowercase + "/")
_SHORT = frozenset(" .-_*/|~+")
_JOINT = frozenset("*_~`./|\\-")
_LISTING = frozenset(",;")
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
    return Context("O" if parted else symbols_class(text), depth(text), parted)


@lru_cache(maxsize=1 << 14)
def after_symbol(at: Context, seen: Seen, kind: str, leet: bool, first: bool, last: bool) -> Seen | None:
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
    letters = [letter_of(symbol) for symbol in text if symbol not in (BETWEEN, INSIDE)]
    kinds = [edge_class(letter) for letter in letters]
    count = sum(kind != "M" for kind in kinds)
    alphabetic = sum(symbol in FORMS or symbol.isalpha() for symbol in text)
    return Shape(count, count < 3 or alphabetic < 3 or "S" in kinds or "O" in kinds)


@lru_cache(maxsize=1 << 14)
def depth(text: str) -> int:
    """How many letters there are, up to three."""
    count = 0
    for symbol in text:
        if symbol not in (BETWEEN, INSIDE) and edge_class(letter_of(symbol)) != "M":
            count += 1
            if count == 3:
                break
    return count


def is_spelling(entry: Shape, seen: Seen) -> bool:
    """Is what was read, which are an entry's letters, one of the entry's spellings?"""
    style = seen.style
    if entry.exact:
        return style < 2 and not seen.any
    if style >= 3 and entry.letters == 3:
        return style != 4 and not seen.any
    if style >= 3 or entry.letters == 3:
        return not seen.first and seen.tail == 0
    return seen.tail == 0 or (seen.tail == 3 and style < 2 and not seen.first and not seen.second)


def is_sign(char: str) -> bool:
    """Neither letter nor digit nor mark; the low line is one."""
    return char == "_" or (edge_class(char) == "O" and not char.isalnum())


@lru_cache(maxsize=1 << 14)
def gaps_after(seen: Seen, before: str, char: str, joints: bool) -> tuple[Seen, ...]:
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
        found += [seen._replace(gap=after) for after in word_gaps(gap, char)]
    return tuple(found)


def _within_word(gap: str, style: int, char: str, before: str) -> Iterator[str]:
    """What may stand between two letters, after one more character. `before`: the class of the letter before."""
    if gap in ("", "m") and style in (0, 1, 2) and before == "W":
        if char in MARKUP:
            yield "m"
        if char == "<":
            yield "t"
    if gap in ("t", "T") and char in _TAG:
        yield "T"
    if gap == "T" and char == ">":
        yield "m"
    if style in (0, 3, 4) and before == "W" and is_sign(char):
        yield from _separator(gap, char)


def _separator(gap: str, char: str) -> Iterator[str]:
    if char in _LISTING or char == "_":
        if not gap:
            yield "c+" if char == "_" else "c"
    elif not gap:
        yield "p1+" if char in _SHORT else "p1"
    elif gap[0] == "p" and gap[1] < "3":
        yield f"p{int(gap[1]) + 1}"


def word_gaps(gap: str, char: str) -> Iterator[str]:
    """What may stand between two words of an entry, or (i) within one where the entry has punctuation."""
    sign = is_sign(char)
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

"""Sets of characters as sorted ranges, with exactly the meaning that Python's `re` gives to \\d, \\w, \\s and (?i).

The tables are read off the running interpreter's own `re` and `str` methods when they are first needed (a few
milliseconds), so they follow its Unicode version; tests compare them with `re` over all of Unicode.
"""

from __future__ import annotations

import re
import string
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from functools import cache

LAST = 0x10FFFF
_SCANNED = 0x34000  # no letter, digit, space or case pair lies above plane 3

Ranges = tuple[tuple[int, int], ...]


class CharSet:
    """An immutable set of code points, and perhaps the edge of the text ("nothing before" or "nothing after").

    Equal sets are one object, so sets are compared and hashed by identity.
    """

    __slots__ = ("_firsts", "edge", "ranges")

    def __init__(self, ranges: Ranges, edge: bool) -> None:
        """Only for `of`."""
        self.ranges = ranges
        self.edge = edge
        self._firsts = [first for first, _ in ranges]

    @classmethod
    def of(cls, ranges: Iterable[tuple[int, int]], edge: bool = False) -> CharSet:
        """The set of all code points in `ranges` (both ends included, in any order)."""
        key = (_normal(ranges), edge)
        known = _known.get(key)
        if known is None:
            known = _known[key] = cls(*key)
        return known

    @staticmethod
    def chars(text: Iterable[str]) -> CharSet:
        """The set of the characters of `text`."""
        return _characters_of("".join(text))

    def __contains__(self, char: str) -> bool:
        """Is the character (or, given as "", the edge of the text) in the set?"""
        if not char:
            return self.edge
        return self.has(ord(char))

    def has(self, code: int) -> bool:
        """Is the code point in the set?"""
        i = bisect_right(self._firsts, code) - 1
        return i >= 0 and code <= self.ranges[i][1]

    def __bool__(self) -> bool:
        return self.edge or bool(self.ranges)

    def __len__(self) -> int:
        """How many code points there are, the edge not counted."""
        return sum(last - first + 1 for first, last in self.ranges)

    def __or__(self, other: CharSet) -> CharSet:
        return self if self is other else _union(self, other)

    def __and__(self, other: CharSet) -> CharSet:
        return self if self is other else _intersection(self, other)

    def __invert__(self) -> CharSet:
        """Everything else, the edge too unless it is in the set."""
        return _complement(self)

    def inside(self) -> CharSet:
        """The same characters without the edge."""
        return _inside(self)

    def __repr__(self) -> str:
        shown = "".join(f"{first:x}-{last:x} " for first, last in self.ranges[:4])
        return f"<{shown.strip()}{' ...' if len(self.ranges) > 4 else ''}{' edge' if self.edge else ''}>"


_known: dict[tuple[Ranges, bool], CharSet] = {}


def _normal(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Sorted, with overlapping and touching ranges joined."""
    out: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if out and first <= out[-1][1] + 1:
            if last > out[-1][1]:
                out[-1] = (out[-1][0], last)
        else:
            out.append((first, last))
    return tuple(out)


def _gaps(ranges: Ranges) -> Ranges:
    out = []
    start = 0
    for first, last in ranges:
        if first > start:
            out.append((start, first - 1))
        start = last + 1
    if start <= LAST:
        out.append((start, LAST))
    return tuple(out)


@cache
def _characters_of(text: str) -> CharSet:
    return CharSet.of((ord(c), ord(c)) for c in text)


@cache
def _complement(chars: CharSet) -> CharSet:
    return CharSet.of(_gaps(chars.ranges), not chars.edge)


@cache
def _inside(chars: CharSet) -> CharSet:
    return CharSet.of(chars.ranges) if chars.edge else chars


@cache
def _union(a: CharSet, b: CharSet) -> CharSet:
    return CharSet.of(a.ranges + b.ranges, a.edge or b.edge)


@cache
def _intersection(a: CharSet, b: CharSet) -> CharSet:
    out = []
    i = j = 0
    while i < len(a.ranges) and j < len(b.ranges):
        (first_a, last_a), (first_b, last_b) = a.ranges[i], b.ranges[j]
        first, last = max(first_a, first_b), min(last_a, last_b)
        if first <= last:
            out.append((first, last))
        if last_a < last_b:
            i += 1
        else:
            j += 1
    return CharSet.of(out, a.edge and b.edge)


ANY = CharSet.of([(0, LAST)])
EDGE = CharSet.of([], edge=True)
EVERYTHING = ANY | EDGE
NEWLINE = CharSet.chars("\n")
_ASCII = {"d": string.digits, "s": " \t\n\r\f\v", "w": string.digits + string.ascii_letters + "_"}


def category(letter: str, ascii_only: bool = False) -> CharSet:
    """What \\d, \\D, \\s, \\S, \\w or \\W stands for."""
    return _category(letter, ascii_only)


@cache
def _category(letter: str, ascii_only: bool) -> CharSet:
    if letter.isupper():
        return (~_category(letter.lower(), ascii_only)).inside()
    if ascii_only:
        return CharSet.chars(_ASCII[letter])
    found = re.finditer(f"\\{letter}+", _characters())
    return CharSet.of((m.start(), m.end() - 1) for m in found)


@cache
def _characters() -> str:
    codes = array("I", range(_SCANNED)).tobytes()
    return codes.decode("utf-32-le" if sys.byteorder == "little" else "utf-32-be", "surrogatepass")


@cache
def case_classes() -> dict[int, tuple[int, ...]]:
    """Code point -> all code points that (?i) takes for the same, itself among them; only where there are others.

    As in `re`: equal lower case, or lower cases that share an upper case (the long s and s, the Kelvin sign and k).
    """
    by_lower: dict[str, set[int]] = {}
    by_upper: dict[str, set[str]] = {}
    for char in _cased():
        lower = char.lower()[0]
        by_lower.setdefault(lower, {ord(lower)}).add(ord(char))
        by_upper.setdefault(char.upper(), set()).add(lower)
    for lowers in by_upper.values():
        merged = set().union(*(by_lower[lower] for lower in lowers))
        for lower in lowers:
            by_lower[lower] = merged
    return {code: tuple(sorted(codes)) for codes in by_lower.values() if len(codes) > 1 for code in codes}


def _cased() -> list[str]:
    """Every character that has another case. Most blocks have none, so they are looked at whole first."""
    text = _characters()
    out: list[str] = []
    for start in range(0, _SCANNED, 128):
        block = text[start : start + 128]
        if block.lower() != block or block.upper() != block:
            out += [c for c in block if c.lower() != c or c.upper() != c]
    return out


@cache
def any_case(chars: CharSet, ascii_only: bool = False) -> CharSet:
    """The set as (?i) reads it."""
    extra: list[tuple[int, int]] = []
    for code, same in _classes_in(chars):
        if ascii_only:
            same = tuple(other for other in same if other < 128) if code < 128 else ()
        extra += [(other, other) for other in same]
    return CharSet.of(chars.ranges + tuple(extra), chars.edge) if extra else chars


def _classes_in(chars: CharSet) -> Iterable[tuple[int, tuple[int, ...]]]:
    classes = case_classes()
    if len(chars) < 256:
        codes: Iterable[int] = (code for first, last in chars.ranges for code in range(first, last + 1))
        return [(code, classes[code]) for code in codes if code in classes]
    return [(code, same) for code, same in classes.items() if chars.has(code)]


def same_case(char: str) -> str:
    """One character that stands for all that (?i) takes for the same and that are as much of a word as it is."""
    return chr(representatives().get(ord(char), ord(char)))


@cache
def representatives() -> dict[int, int]:
    """For `same_case`; only where there are others. (A combining iota is an iota to (?i), but no word character.)"""
    word = category("w")
    return {
        code: next(other for other in same if word.has(other) is word.has(code))
        for code, same in case_classes().items()
    }


@cache
def half_letters() -> dict[str, str]:
    """Characters that (?i) takes for one that is part of a word while they are not, or the reverse; and for which."""
    word = category("w")
    return {
        chr(code): chr(other)
        for code, same in case_classes().items()
        for other in same
        if word.has(code) is not word.has(other)
    }

"""What a detector is: a pattern, a validator that says what of a candidate counts, and examples that the tests run.

A pattern may take in what stands around a find (`https://` before a user's name, the decimals behind a number). The
validator then says which part of the candidate is the find, or why there is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Span = tuple[int, int]

# What patterns are written with: pieces of a character class, and what may stand around a number.
UNSPACED_RANGES = (
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF)),  # Thai, Lao, Myanmar, Khmer
    *((0x3040, 0x30FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF)),  # kana, Han
    *((0x1100, 0x11FF), (0xA960, 0xA97F), (0xAC00, 0xD7FF)),  # Hangul, and its letters, as which the fold reads it
)
"""Letters beside which a number or a name may stand without a space."""
UNSPACED = "".join(f"\\u{first:04x}-\\u{last:04x}" for first, last in UNSPACED_RANGES)
SPACES = " \u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d-"
"""The hyphen stands last, where it is no range."""
NOT_BEHIND = rf"(?<![^\W{UNSPACED}])"
"""Behind no character of a word."""
NOT_BEFORE = rf"(?![^\W{UNSPACED}])"
"""Before none."""
EMPHASIS = "_{0,2}"
"""Marks of Markdown that are characters of a word to Python."""
_PLAIN = str.maketrans({**dict.fromkeys(SPACES + "\n", " "), **dict.fromkeys(DASHES, "-"), "\\": None})


def plain(text: str) -> str:
    """With spaces and hyphens of ASCII, and without the escapes of Markdown."""
    return text.translate(_PLAIN)


class Validation(NamedTuple):
    """What a validator says of a candidate.

    spans:  the parts that count, in order
    reason: why none does
    skip:   none does, and nothing that begins within the candidate can either
    kind:   which of the detector's kinds it is
    """

    spans: tuple[Span, ...] = ()
    reason: str = ""
    skip: bool = False
    kind: str = ""


Validator = Callable[["re.Match[str]"], Validation]


def found(start: int, end: int, kind: str = "") -> Validation:
    """This part counts."""
    return Validation(((start, end),), kind=kind)


def dropped(reason: str, skip: bool = False) -> Validation:
    """Nothing counts."""
    return Validation((), reason, skip)


def whole_match(match: re.Match[str]) -> Validation:
    """All of the candidate counts."""
    return found(*match.span())


class Options(NamedTuple):
    """What a rule may say of its detector.

    kinds:   those of the detector's kinds that count
    regions: of telephone numbers that are written without a country's code (ISO 3166-1)
    hosts:   to which links may lead
    """

    kinds: frozenset[str] = frozenset()
    regions: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


class Recogniser(NamedTuple):
    """A pattern in the matcher's syntax, and its validator.

    canonical: of beginnings of candidates that lead to the same, always the same one: so a scan has fewer states
    """

    pattern: str
    validate: Validator = whole_match
    canonical: Callable[[str], str] = str


@dataclass(frozen=True, slots=True, eq=False)
class Detector:
    """about: what it finds, one line; hits and misses: texts in which it finds something, or nothing.

    recogniser: pattern and validator for a rule's options
    kinds:      what it finds apart from each other, name -> one line; a rule may choose with `only` and `except`
    regions:    those that a rule may name with `regions`
    takes:      the options that mean something to it, besides kinds
    nth:        finds count from this one on
    folds:      it reads the folded text, whatever the rule says
    """

    name: str
    about: str
    recogniser: Callable[[Options], Recogniser]
    hits: tuple[str, ...]
    misses: tuple[str, ...]
    kinds: Mapping[str, str] = field(default_factory=dict)
    regions: frozenset[str] = frozenset()
    takes: frozenset[str] = frozenset()
    folds: bool = False
    nth: int = 1


def fixed(
    pattern: str, validate: Validator = whole_match, canonical: Callable[[str], str] = str
) -> Callable[[Options], Recogniser]:
    """A recogniser that no option changes."""
    recogniser = Recogniser(pattern, validate, canonical)
    return lambda _: recogniser

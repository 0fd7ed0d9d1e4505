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


@dataclass(frozen=True, slots=True)
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

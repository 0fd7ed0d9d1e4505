"""What a detector is: a pattern, a judge who says what of a candidate counts, and examples that the tests run.

A pattern may take in what stands around a find (`https://` before a user's name, the decimals behind a number). The
judge then says which part of the candidate is the find, or why there is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Span = tuple[int, int]


class Judgement(NamedTuple):
    """What a judge says of a candidate.

    spans:  the parts that count, in order
    reason: why none does
    past:   none does, and nothing that begins within the candidate can either
    kind:   which of the detector's kinds it is
    """

    spans: tuple[Span, ...] = ()
    reason: str = ""
    past: bool = False
    kind: str = ""


Judge = Callable[["re.Match[str]"], Judgement]


def found(start: int, end: int, kind: str = "") -> Judgement:
    """This part counts."""
    return Judgement(((start, end),), kind=kind)


def dropped(reason: str, past: bool = False) -> Judgement:
    """Nothing counts."""
    return Judgement((), reason, past)


def everything(match: re.Match[str]) -> Judgement:
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


class Plan(NamedTuple):
    """A pattern in the matcher's syntax, and its judge.

    alike: of beginnings of candidates that lead to the same, always the same one: so fewer places have to be remembered
    """

    pattern: str
    judge: Judge = everything
    alike: Callable[[str], str] = str


@dataclass(frozen=True, slots=True)
class Detector:
    """about: what it finds, one line; hits and misses: texts in which it finds something, or nothing.

    plan:  pattern and judge for a rule's options
    kinds: what it finds apart from each other, name -> one line; a rule may choose with `only` and `except`
    takes: the options that mean something to it, besides those
    nth:   finds count from this one on
    folds: it reads the folded text, whatever the rule says
    """

    name: str
    about: str
    plan: Callable[[Options], Plan]
    hits: tuple[str, ...]
    misses: tuple[str, ...]
    kinds: Mapping[str, str] = field(default_factory=dict)
    takes: frozenset[str] = frozenset()
    folds: bool = False
    nth: int = 1


def fixed(pattern: str, judge: Judge = everything, alike: Callable[[str], str] = str) -> Callable[[Options], Plan]:
    """A plan that no option changes."""
    plan = Plan(pattern, judge, alike)
    return lambda _: plan

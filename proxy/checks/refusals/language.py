"""What is known of one language: families of phrases, and how they become patterns.

A phrase is a regular expression in small letters with one space between words. `{name}` stands for a part. Texts are
brought to that form before they are read (see `detector.normalised`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

PART = re.compile(r"\{([a-z_]+)\}")
CLAUSE = r"(?:\A\W*|(?<=[.!?,;:\u2026\u2014\u0964]) ?|(?<=[。!?,、;:؟،؛…]) ?)"
"""A phrase begins where a clause does: at the beginning, or behind a mark."""


class RefusalKind(StrEnum):
    """What sort of refusal it is.

    SAFETY:     the model will not: the request is said to be harmful, unethical or not allowed
    CAPABILITY: the model cannot: it has no access, no body, no opinion, no such ability
    PARTIAL:    it declines or warns, and helps all the same
    """

    SAFETY = "safety"
    CAPABILITY = "capability"
    PARTIAL = "partial"


class Example(NamedTuple):
    """An answer that is a refusal of a kind."""

    kind: RefusalKind
    text: str


@dataclass(frozen=True)
class Language:
    """One language.

    code:        ISO 639-1
    parts:       what `{name}` stands for in the phrases; a part may use those before it
    safety, capability: families of phrases
    weak, weak_safety: phrases that count where no other is found: "as an AI, I do not ...", "sorry, but I can't ..."
    concession:  a refusal that begins so comes with help ("While I cannot ...")
    turns:       behind a refusal, in its sentence or at the beginning of the next one: help follows ("However, I can")
    links:       words behind which a clause begins without a mark ("but", "that")
    never:       a phrase that is read first, and in which nothing is a refusal ("I can't believe")
    spaced:      there are spaces between its words
    hits, misses: examples
    """

    code: str
    safety: tuple[str, ...]
    capability: tuple[str, ...]
    hits: tuple[Example, ...]
    misses: tuple[str, ...]
    weak: tuple[str, ...] = ()
    weak_safety: tuple[str, ...] = ()
    concession: tuple[str, ...] = ()
    turns: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict)
    spaced: bool = True

    @cached_property
    def refusals(self) -> re.Pattern[str]:
        """A clause that refuses. The name of the group that matches is its kind; `never` is none."""
        families = {
            "never": self.never,
            RefusalKind.PARTIAL.value: self.concession,
            RefusalKind.SAFETY.value: self.safety,
            RefusalKind.CAPABILITY.value: self.capability,
        }
        return self._clauses(families)

    @cached_property
    def weak_refusals(self) -> re.Pattern[str] | None:
        """A clause that refuses if no other does."""
        families = {RefusalKind.SAFETY.value: self.weak_safety, RefusalKind.CAPABILITY.value: self.weak}
        return self._clauses(families) if self.weak or self.weak_safety else None

    @cached_property
    def turn(self) -> re.Pattern[str] | None:
        """Help follows."""
        return re.compile(rf"(?:{self._any(self.turns)})") if self.turns else None

    def _clauses(self, families: Mapping[str, Iterable[str]]) -> re.Pattern[str]:
        groups = "|".join(f"(?P<{name}>{self._any(phrases)})" for name, phrases in families.items() if phrases)
        links = rf"|\b(?:{self._any(self.links)}) ?" if self.links else ""
        end = r"(?:(?<= )|(?!\w))" if self.spaced else ""
        return re.compile(f"(?:{CLAUSE}{links})(?:{groups}){end}")

    def _any(self, phrases: Iterable[str]) -> str:
        return "|".join(self._whole(phrase) for phrase in phrases)

    def _whole(self, phrase: str) -> str:
        """The phrase with its parts in place."""
        while PART.search(phrase):
            phrase = PART.sub(lambda part: f"(?:{self.parts[part[1]]})", phrase)
        return phrase

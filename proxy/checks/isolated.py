"""A plug-in's check that runs in a process of its own: `isolation: process`. Its kind is asked about each segment.

What the process answers is where its check has found something, reading the segment as a whole text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from proxy.checks.asking import AskingRule, Pieces, Splitter, Spot, Whole
from proxy.checks.kinds import CheckKind
from proxy.checks.segments import Segmenter
from proxy.core.check import Turn
from proxy.core.types import Rule


class ProcessQuestion(NamedTuple):
    """What a worker process is asked. kind, options: of the check, as JSON. deadline: seconds for the answer."""

    kind: str
    options: str
    text: str
    deadline: float


@dataclass(frozen=True, slots=True)
class ProcessQuestions:
    """What a rule asks whose check runs in another process (see proxy.checks.asking.Questions)."""

    kind: CheckKind
    options: str

    @property
    def hold(self) -> int | None:
        """The most characters that wait for the end of a segment."""
        reads = self.kind.reads
        return reads - 1 if isinstance(reads, int) else None if reads == "whole" else Segmenter().hold

    def split(self) -> Splitter:
        """As the kind reads."""
        reads = self.kind.reads
        return Pieces(reads) if isinstance(reads, int) else Whole() if reads == "whole" else Segmenter()

    def question(self, turn: Turn, before: str, text: str) -> ProcessQuestion | None:
        """Nobody has to be asked about white space."""
        return ProcessQuestion(self.kind.name, self.options, text, self.kind.deadline) if text.strip() else None

    def spots(self, text: str, reply: object) -> Iterable[Spot]:
        """The places that were found. Raises ValueError."""
        if not isinstance(reply, list):
            raise ValueError("it is no list of places")
        for place in reply:
            if not (isinstance(place, list) and len(place) == 2 and all(type(at) is int for at in place)):
                raise ValueError("a place is no pair of numbers")
            yield Spot(*place)


def isolated_rule(kind: CheckKind, rule: Rule, options: Any) -> AskingRule:
    """The rule of a kind that runs in another process."""
    return AskingRule(rule, kind.name, ProcessQuestions(kind, msgspec.json.encode(options).decode()))

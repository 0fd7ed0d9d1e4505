"""The simplest exact check there is: literal phrases, found by brute force. For tests of everything but the matcher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from proxy.core.check import Check, Progress
from proxy.core.types import Action, Finding, Kind, Replacement, Rule


def block(phrase: str) -> Phrase:
    """A rule that blocks `phrase`."""
    return Phrase(phrase, Rule("test", f"block.{phrase}", Action.BLOCK))


def rewrite(phrase: str, label: str = "[X]", order: int = 0) -> Phrase:
    """A rule that puts `label` in the place of `phrase`."""
    return Phrase(phrase, Rule("test", f"rewrite.{phrase}", Action.REWRITE, order, Replacement(label)))


def flag(phrase: str) -> Phrase:
    """A rule that only reports `phrase`."""
    return Phrase(phrase, Rule("test", f"flag.{phrase}", Action.FLAG))


@dataclass(frozen=True)
class Phrase:
    """A check for one literal phrase; holds back only what may still become it."""

    phrase: str
    rule: Rule

    @property
    def hold(self) -> int:
        """One character less than the phrase."""
        return len(self.phrase) - 1 if self.rule.holds else 0

    def open(self) -> PhraseScan:
        """A fresh scan."""
        return PhraseScan(self)


class PhraseScan:
    """Keeps the whole text and looks at all of it each time."""

    def __init__(self, check: Phrase) -> None:
        self._check = check
        self._text = ""
        self._reported = 0

    def feed(self, text: str, final: bool = False) -> Progress:
        """All occurrences, overlapping ones too; the earliest one ends a blocking scan."""
        phrase, rule = self._check.phrase, self._check.rule
        self._text += text
        starts = [i for i in range(len(self._text)) if self._text.startswith(phrase, i)]
        new = [Finding(i, i + len(phrase), rule) for i in starts if i >= self._reported]
        if new:
            self._reported = new[-1].start + 1
        if new and rule.holds and rule.action is Action.BLOCK:
            return Progress(new[0].start, (new[0],))
        return Progress(self._watermark(final), tuple(new))

    def _watermark(self, final: bool) -> int:
        end = len(self._text)
        if final or not self._check.rule.holds:
            return end
        for size in range(min(end, self._check.hold), 0, -1):
            if self._check.phrase.startswith(self._text[end - size :]):
                return end - size
        return end


@dataclass(frozen=True)
class AtEnd:
    """A check that blocks a text that ends with `phrase`: it knows only at the end, and holds everything till then."""

    phrase: str
    hold: int | None = None

    def open(self) -> AtEndScan:
        """A fresh scan."""
        return AtEndScan(self.phrase)


class AtEndScan:
    """Waits for the end."""

    def __init__(self, phrase: str) -> None:
        self._phrase = phrase
        self._text = ""

    def feed(self, text: str, final: bool = False) -> Progress:
        """Nothing is certain before `final`."""
        self._text += text
        if not final:
            return Progress(0)
        end = len(self._text)
        if not self._text.endswith(self._phrase):
            return Progress(end)
        start = end - len(self._phrase)
        return Progress(start, (Finding(start, end, Rule("test", f"at_end.{self._phrase}", Action.BLOCK)),))


@dataclass(frozen=True)
class PhrasePlan:
    """The same checks for every kind of text (see proxy.core.guard.Plan)."""

    phrases: Sequence[Check] = ()
    admitted: set[tuple[Kind, str]] = field(default_factory=set)

    def checks(self, kind: Kind, escaped: bool = False) -> Sequence[Check]:
        """All of them."""
        return self.phrases

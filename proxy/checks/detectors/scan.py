"""A detector at work in a stream: a pass of the matcher (see proxy.matching.rules.Pass).

The text is read from left to right. A candidate is what the detector's pattern finds first; the detector's validator
says which part of it counts. Reading goes on behind what counts, or at the next character when nothing does. So what is
found depends on the text alone. A candidate is judged as soon as no beginning of one reaches from it, or from before
it, to the end of the text that is there: whatever follows then changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from proxy.checks.detectors.detector import Validation, Validator, dropped
from proxy.checks.detectors.patterns import Search
from proxy.checks.rule_pass import Folded, RulePass, first_find
from proxy.core.check import Progress, Waits, longest
from proxy.core.types import Action, Finding, Rule
from proxy.matching.folding import fold_text
from proxy.matching.rules import MOST_OPEN, Verdict

_NOTHING: tuple[Finding, ...] = ()
_progress = Progress._make


class Candidate(NamedTuple):
    """What a pattern found, and what the validator says of it."""

    start: int
    end: int
    validation: Validation


@dataclass(frozen=True, slots=True, eq=False)
class Recognition:
    """What a detector looks for with a rule's options, compiled. Rules that want the same share it.

    name:      the detector's
    validate:  says which part of a candidate counts, or why none does
    nth:       finds count from this one on
    canonical: of beginnings of candidates that lead to the same, always the same one
    """

    name: str
    search: Search
    validate: Validator
    nth: int = 1
    canonical: Callable[[str], str] = str

    def finds_nothing(self, text: str) -> bool:
        """Whether there is no candidate in a text, nor in any of the parts between which APART stands."""
        search = self.search
        return search.ends_at_breaks and search.finder(text)(text, 0) is None

    def finds(self, text: str) -> bool:
        """Whether anything in a whole text counts."""
        return any(candidate.validation.spans for candidate in self.candidates(text))

    def key(self, held: str, at: int) -> tuple[str, int]:
        """What is undecided, and what the pattern can tell of the character before it."""
        if at:
            return self.search.before[held[0]] + self.canonical(held[1:]), at
        return self.canonical(held), at

    def candidates(self, text: str) -> Iterator[Candidate]:
        """Every candidate of a whole text, also those that do not count."""
        at = seen = 0
        find = self.search.finder(text)
        while (match := find(text, at)) is not None:
            validation = self.validate(match)
            if validation.spans and (seen := seen + 1) < self.nth:
                yield Candidate(match.start(), match.end(), dropped(f"only the {seen}. of {self.nth}"))
            else:
                yield Candidate(match.start(), match.end(), validation)
            at = next_start(match, validation)


@dataclass(frozen=True, slots=True)
class DetectorPass(RulePass):
    """A rule that looks for what a detector finds."""

    recognition: Recognition

    @property
    def name(self) -> str:
        """The detector's name."""
        return self.recognition.name

    @property
    def hold(self) -> int:
        """A whole candidate waits for the character behind it."""
        return self.recognition.search.longest if self.rule.holds else 0

    def finds_nothing(self, text: str) -> bool:
        """See proxy.matching.rules.Quick."""
        return self.recognition.finds_nothing(text)

    def open(self) -> DetectorScan:
        """A fresh scan."""
        return DetectorScan(self.recognition, (self.rule,))

    def candidates(self, text: str) -> Iterator[Candidate]:
        """Every candidate of a whole text, also those that do not count."""
        return self.recognition.candidates(text)


@dataclass(frozen=True, slots=True)
class FoldedPass(Folded):
    """A detector that reads the folded text."""

    inner: DetectorPass

    @property
    def rule(self) -> Rule:
        """The rule."""
        return self.inner.rule

    @property
    def name(self) -> str:
        """The detector's name."""
        return self.inner.name

    def enforced(self, enforced: bool) -> FoldedPass:
        """The same rule, for a policy that is enforced or one that only watches."""
        return FoldedPass(self.inner.enforced(enforced))

    def describe(self) -> str:
        """How long it can hold, in words."""
        return f"holds at most {self.hold} characters" if self.rule.holds else "never holds"

    def candidates(self, text: str) -> Iterator[Candidate]:
        """Those of the folded text."""
        return self.inner.candidates(fold_text(text))


class DetectorScan:
    """One text on its way. Keeps what is undecided, and the one character before it."""

    __slots__ = (
        "_at", "_blocks", "_count", "_first_char", "_held", "_holds", "_position", "_recognition", "_rules", "_search",
        "verdict",
    )  # fmt: skip

    def __init__(self, recognition: Recognition, rules: tuple[Rule, ...]) -> None:
        """rules: those that want to know; one that blocks stands alone."""
        self._search = search = recognition.search
        self._recognition, self._rules = recognition, rules
        self._holds = any(rule.holds for rule in rules)
        self._blocks = any(rule.holds and rule.action is Action.BLOCK for rule in rules)
        self._first_char = search.first_char.search
        self._position = 0  # how much has been read
        self._held = ""  # the character before what is undecided, and what is
        self._at = 0  # where in _held the undecided begins
        self._count = 1 - recognition.nth  # finds, less those that do not count
        self.verdict: Verdict | None = None

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on, as core.check.Scan does."""
        if self.verdict is not None:
            return Progress(self._position)
        if self._at == len(self._held) and self._first_char(text) is None:
            return self._skip(text)
        if not self._blocks:
            return self._read(text, final)
        before = self.save()
        progress = self._read(text, final)
        return self._stop(before, text, progress.findings[0]) if progress.findings else progress

    def waits(self) -> Waits | None:
        """See proxy.core.check.Waiting."""
        return longest(Waits(self.waiting, rule) for rule in self._rules if rule.holds)

    def _skip(self, text: str) -> Progress:
        """Nothing is undecided, and no candidate begins in the text."""
        if text:
            self._held, self._at = text[-1], 1
            self._position += len(text)
        return _progress((self._position, _NOTHING, ()))

    def _read(self, text: str, final: bool) -> Progress:
        held = self._held + text if self._held else text
        base = self._position - len(self._held)
        self._position += len(text)
        at = self._at
        found: list[Finding] = []
        limit = len(held) if final else self._limit(held, at)
        find = self._search.finder(held)
        while (match := find(held, at)) is not None and match.start() < limit:
            validation = self._recognition.validate(match)
            if validation.spans and self._counts():
                spans = [(base + start, base + end) for start, end in validation.spans]
                found += [Finding(*span, rule) for span in spans for rule in self._rules]
            at = next_start(match, validation)
            if at > limit:
                limit = self._limit(held, at)
        at = max(at, limit)
        kept = max(0, at - 1)
        self._held, self._at = held[kept:], at - kept
        mark = base + at if self._holds else self._position
        return Progress(mark, tuple(found)) if found else _progress((mark, _NOTHING, ()))

    def _counts(self) -> bool:
        """Whether one more find counts."""
        if self._count < 1:
            self._count += 1
        return self._count > 0

    def _limit(self, held: str, at: int) -> int:
        """Where the earliest candidate begins that may still become one, or another one."""
        begun = self._search.begun(held, at)
        return len(held) if begun is None else begun

    def _stop(self, before: object, text: str, finding: Finding) -> Progress:
        """A block."""
        self.restore(before)
        known = first_find(self._read, text, max(0, finding.end - self._position)) is not None
        self.verdict = Verdict(self._position if known else self._position + 1, finding.end)
        self._position = finding.start
        return Progress(finding.start, (finding,))

    @property
    def holds(self) -> bool:
        """Whether text waits for it."""
        return self._holds

    @property
    def waiting(self) -> int:
        """How many characters are undecided."""
        return len(self._held) - self._at

    def begin(self, before: str, position: int) -> None:
        """Stand so many characters into a text, behind this one (or none), with nothing undecided."""
        self._held, self._at, self._position = before, len(before), position

    def save(self) -> object:
        """The whole state."""
        return self._position, self._held, self._at, self._count, self.verdict

    def restore(self, mark: object) -> None:
        """Go back to a saved state."""
        assert isinstance(mark, tuple)
        self._position, self._held, self._at, self._count, self.verdict = mark

    def state_key(self) -> Hashable | None:
        """What is undecided, and how many finds are left that do not count."""
        if self.verdict is not None or len(self._held) > MOST_OPEN:
            return None
        return *self._recognition.key(self._held, self._at), self._count

    def restore_key(self, key: Hashable, position: int) -> int:
        """Go to the state that has this key."""
        assert isinstance(key, tuple)
        self._held, self._at, self._count = key
        self._position = position
        return position - (len(self._held) - self._at) if self._holds else position


def next_start(match: re.Match[str], validation: Validation) -> int:
    """Where reading goes on behind a candidate."""
    if validation.spans:
        return max(validation.spans[-1][1], match.start() + 1)
    return match.end() if validation.skip else match.start() + 1

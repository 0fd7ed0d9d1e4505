"""A detector at work in a stream: a pass of the matcher (see proxy.matching.rules.Pass).

The text is read from left to right. A candidate is what the detector's pattern finds first; the detector's validator
says which part of it counts. Reading goes on behind what counts, or at the next character when nothing does. So what is
found depends on the text alone. A candidate is judged as soon as no beginning of one reaches from it, or from before
it, to the end of the text that is there: whatever follows then changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from proxy.checks.detectors.detector import Validation, Validator, dropped
from proxy.checks.detectors.patterns import Search
from proxy.core.check import Progress, Waits
from proxy.core.types import Action, Finding, Rule
from proxy.matching.folding import fold_text
from proxy.matching.rules import MOST_OPEN, PassScan, Verdict
from proxy.matching.views import FoldView

_NOTHING: tuple[Finding, ...] = ()
_progress = Progress._make
_FOLD = FoldView()


class Candidate(NamedTuple):
    """What a pattern found, and what the validator says of it."""

    start: int
    end: int
    validation: Validation


@dataclass(frozen=True, slots=True)
class DetectorPass:
    """A rule that looks for what a detector finds. Immutable, shared by all streams.

    name:      the detector's
    validate:  says which part of a candidate counts, or why none does
    nth:       finds count from this one on
    canonical: of beginnings of candidates that lead to the same, always the same one
    """

    rule: Rule
    name: str
    search: Search
    validate: Validator
    nth: int = 1
    canonical: Callable[[str], str] = str

    @property
    def hides(self) -> bool:
        """Whether text has to wait for it."""
        return self.rule.holds

    @property
    def may_block(self) -> bool:
        """Whether it can end a text."""
        return self.rule.holds and self.rule.action is Action.BLOCK

    @property
    def hold(self) -> int:
        """A whole candidate waits for the character behind it."""
        return self.search.longest if self.rule.holds else 0

    def enforced(self, enforced: bool) -> DetectorPass:
        """The same rule, for a policy that is enforced or one that only watches."""
        return replace(self, rule=replace(self.rule, enforced=enforced))

    def describe(self) -> str:
        """How long it can hold, in words."""
        return f"holds at most {self.hold} characters" if self.rule.holds else "never holds"

    def open(self) -> DetectorScan:
        """A fresh scan."""
        return DetectorScan(self)

    def candidates(self, text: str) -> Iterator[Candidate]:
        """Every candidate of a whole text, also those that do not count."""
        at = seen = 0
        while (match := self.search.find.search(text, at)) is not None:
            validation = self.validate(match)
            if validation.spans and (seen := seen + 1) < self.nth:
                yield Candidate(match.start(), match.end(), dropped(f"only the {seen}. of {self.nth}"))
            else:
                yield Candidate(match.start(), match.end(), validation)
            at = next_start(match, validation)


@dataclass(frozen=True, slots=True)
class FoldedPass:
    """A detector that reads the folded text: full-width and look-alike characters seen through."""

    inner: DetectorPass

    @property
    def rule(self) -> Rule:
        """The rule."""
        return self.inner.rule

    @property
    def name(self) -> str:
        """The detector's name."""
        return self.inner.name

    @property
    def hides(self) -> bool:
        """Whether text has to wait for it."""
        return self.inner.hides

    @property
    def may_block(self) -> bool:
        """Whether it can end a text."""
        return self.inner.may_block

    @property
    def hold(self) -> int | None:
        """The most characters of the text as it is that may wait."""
        return _FOLD.hold(self.inner.hold) if self.inner.hold else 0

    def enforced(self, enforced: bool) -> FoldedPass:
        """The same rule, for a policy that is enforced or one that only watches."""
        return FoldedPass(self.inner.enforced(enforced))

    def describe(self) -> str:
        """How long it can hold, in words."""
        return f"holds at most {self.hold} characters" if self.rule.holds else "never holds"

    def open(self) -> PassScan:
        """A fresh scan."""
        return _FOLD.open(self.inner, self.hides)

    def candidates(self, text: str) -> Iterator[Candidate]:
        """Those of the folded text."""
        return self.inner.candidates(fold_text(text))


class DetectorScan:
    """One text on its way. Keeps what is undecided, and the one character before it."""

    __slots__ = (
        "_at",
        "_count",
        "_find",
        "_first_char",
        "_held",
        "_longest",
        "_partial",
        "_pass",
        "_position",
        "verdict",
    )

    def __init__(self, detector: DetectorPass) -> None:
        self._pass = detector
        self._find = detector.search.find.search
        self._partial = detector.search.partial.search
        self._first_char = detector.search.first_char.search
        self._longest = detector.search.longest
        self._position = 0  # how much has been read
        self._held = ""  # the character before what is undecided, and what is
        self._at = 0  # where in _held the undecided begins
        self._count = 1 - detector.nth  # finds, less those that do not count
        self.verdict: Verdict | None = None

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on, as core.check.Scan does."""
        if self.verdict is not None:
            return Progress(self._position)
        if self._at == len(self._held) and self._first_char(text) is None:
            return self._skip(text)
        if not self._pass.may_block:
            return self._read(text, final)
        before = self.save()
        progress = self._read(text, final)
        return self._stop(before, text, progress.findings[0]) if progress.findings else progress

    def waits(self) -> Waits | None:
        """See proxy.core.check.Waiting."""
        waiting, rule = len(self._held) - self._at, self._pass.rule
        return Waits(waiting, rule) if waiting and rule.holds else None

    def _skip(self, text: str) -> Progress:
        """Nothing is undecided, and no candidate begins in the text."""
        if text:
            self._held, self._at = text[-1], 1
            self._position += len(text)
        return _progress((self._position, _NOTHING))

    def _read(self, text: str, final: bool) -> Progress:
        held = self._held + text if self._held else text
        base = self._position - len(self._held)
        self._position += len(text)
        at = self._at
        rule, found = self._pass.rule, []
        limit = len(held) if final else self._limit(held, at)
        while (match := self._find(held, at)) is not None and match.start() < limit:
            validation = self._pass.validate(match)
            if validation.spans and self._counts():
                found += [Finding(base + start, base + end, rule) for start, end in validation.spans]
            at = next_start(match, validation)
            if at > limit:
                limit = self._limit(held, at)
        at = max(at, limit)
        kept = max(0, at - 1)
        self._held, self._at = held[kept:], at - kept
        mark = base + at if rule.holds else self._position
        return Progress(mark, tuple(found)) if found else _progress((mark, _NOTHING))

    def _counts(self) -> bool:
        """Whether one more find counts."""
        if self._count < 1:
            self._count += 1
        return self._count > 0

    def _limit(self, held: str, at: int) -> int:
        """Where the earliest candidate begins that may still become one, or another one."""
        partial = self._partial(held, max(at, len(held) - self._longest))
        return len(held) if partial is None else partial.start()

    def _stop(self, before: object, text: str, finding: Finding) -> Progress:
        """A block. How much had to be read to know must not depend on how the text was cut: so it is read again."""
        self.restore(before)
        start = self._position
        sure = max(0, finding.end - start)
        pieces = [text[:sure], *text[sure:]]
        known = any(self._read(piece, False).findings for piece in pieces)
        self.verdict = Verdict(self._position if known else self._position + 1, finding.end)
        self._position = finding.start
        return Progress(finding.start, (finding,))

    def save(self) -> object:
        """The whole state."""
        return self._position, self._held, self._at, self._count, self.verdict

    def restore(self, mark: object) -> None:
        """Go back to a saved state."""
        assert isinstance(mark, tuple)
        self._position, self._held, self._at, self._count, self.verdict = mark

    def state_key(self) -> Hashable | None:
        """What is undecided, and what the pattern can tell of the character before it."""
        held, at = self._held, self._at
        if self.verdict is not None or len(held) > MOST_OPEN:
            return None
        if at:
            held = self._pass.search.canonical_before(held[0]) + self._pass.canonical(held[1:])
        else:
            held = self._pass.canonical(held)
        return held, at, self._count

    def restore_key(self, key: Hashable, position: int) -> int:
        """Go to the state that has this key."""
        assert isinstance(key, tuple)
        self._held, self._at, self._count = key
        self._position = position
        return position - (len(self._held) - self._at) if self._pass.rule.holds else position


def next_start(match: re.Match[str], validation: Validation) -> int:
    """Where reading goes on behind a candidate."""
    if validation.spans:
        return max(validation.spans[-1][1], match.start() + 1)
    return match.end() if validation.skip else match.start() + 1

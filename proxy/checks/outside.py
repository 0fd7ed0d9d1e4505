"""A rule that leaves code alone: `outside: code`.

The rule's own pass reads everything; of what it finds, the parts that lie in code do not count. A find waits until it
is known whether it lies in code (see code.py), and with it the text behind it; text without a find waits for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace

from proxy.checks.code import LAG, CodeScan
from proxy.checks.detectors.scan import DetectorPass, FoldedPass
from proxy.checks.rule_pass import RulePass, first_find
from proxy.core.check import Progress, Waits, waits_of
from proxy.core.types import Action, Finding, Rule
from proxy.matching.rules import HidingPass, PassScan, Preparable, Quick, Verdict

MOST_SPANS = 4
"""Of code, in a place that can be told."""


def searching_rule(rule: Rule) -> Rule:
    """The rule as the inner pass has to know it: it says what may still become a find, and no find ends its reading."""
    return replace(rule, action=Action.REWRITE, enforced=True)


@dataclass(frozen=True, slots=True)
class OutsideCode(RulePass):
    """inner: finds for the rule, as `searching_rule` has it. detector: which one that is, if any."""

    inner: HidingPass
    detector: DetectorPass | FoldedPass | None = None

    @property
    def hold(self) -> int | None:
        """As much as the inner pass, and what may come before it is known whether a find lies in code."""
        if not self.rule.holds:
            return 0
        return None if self.inner.hold is None else self.inner.hold + LAG

    def describe(self) -> str:
        """How long it can hold, in words."""
        return f"holds at most {self.hold} characters, outside of code" if self.rule.holds else "never holds"

    def finds_nothing(self, text: str) -> bool:
        """See proxy.matching.rules.Quick."""
        return isinstance(self.inner, Quick) and self.inner.finds_nothing(text)

    def prepare(self, pause: Callable[[], None]) -> None:
        """See proxy.matching.rules.Preparable."""
        if isinstance(self.inner, Preparable):
            self.inner.prepare(pause)

    def open(self) -> OutsideScan:
        """A fresh scan."""
        return OutsideScan(self)


class OutsideScan:
    """One text on its way."""

    __slots__ = ("_blocks", "_code", "_found", "_holds", "_inner", "_pass", "_position", "_shown", "_spans", "verdict")

    def __init__(self, outside: OutsideCode) -> None:
        self._pass = outside
        self._holds, self._blocks = outside.rule.holds, outside.may_block
        self._inner: PassScan = outside.inner.open()
        self._code = CodeScan()
        self._position = 0
        self._spans: tuple[tuple[int, int], ...] = ()  # the code that finds may still lie in
        self._found: tuple[Finding, ...] = ()  # finds of which that is not known
        self._shown = False  # the latest find, or a part of it, was reported
        self.verdict: Verdict | None = None

    def waits(self) -> Waits | None:
        """See proxy.core.check.Waiting."""
        inner, rule = waits_of(self._inner), self._pass.rule
        return Waits(inner.characters, rule) if inner is not None and rule.holds else None

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on, as core.check.Scan does."""
        if self.verdict is not None:
            return Progress(self._position)
        if not self._blocks:
            return self._read(text, final)
        before = self.save()
        progress = self._read(text, final)
        return self._stop(before, text, progress.findings[0]) if progress.findings else progress

    def _read(self, text: str, final: bool) -> Progress:
        mark, findings, _ = self._one_by_one(text, final) if self._blocks else self._inner.feed(text, final)
        self._position += len(text)
        self._found += findings
        known = self._code.feed(text, final)
        if not (self._found or self._spans or known.code):
            return Progress(mark if self._holds else self._position)
        self._spans = _joined((*self._spans, *known.code))
        decided: list[Finding] = []
        while self._found and (self._found[0].end <= known.upto or final):
            decided += self._parts(self._found[0])
            self._found = self._found[1:]
        mark = min(mark, self._found[0].start) if self._found else mark
        self._spans = tuple((max(start, mark), end) for start, end in self._spans if end > mark)
        decided.sort(key=_start)
        return Progress(mark if self._holds else self._position, tuple(decided))

    def _one_by_one(self, text: str, final: bool) -> Progress:
        """What the inner pass finds, each find as it was when it was new: which does not depend on the cut."""
        before = self._inner.save()
        progress = self._inner.feed(text, final)
        if not progress.findings or len(text) < 2:
            return progress
        self._inner.restore(before)
        answers = [*(self._inner.feed(char) for char in text), *([self._inner.feed("", True)] if final else [])]
        return Progress(answers[-1].watermark, tuple(f for answer in answers for f in answer.findings))

    def _parts(self, finding: Finding) -> Iterator[Finding]:
        """What of a find lies outside of code."""
        start, end, _, extends, _ = finding
        self._shown = self._shown and extends
        for code_start, code_end in (*self._spans, (end, end)):
            stop = min(code_start, end)
            if stop > start:
                yield Finding(start, stop, self._pass.rule, extends and self._shown)
                extends = self._shown = True
            start = max(start, code_end)

    def _stop(self, before: object, text: str, finding: Finding) -> Progress:
        """A block. The find may be another one, when the text is read character by character."""
        self.restore(before)
        first = first_find(self._read, text, max(0, finding.start - self._position))
        last = first or self._read("", True).findings[0]
        self.verdict = Verdict(self._position if first else self._position + 1, last.end)
        self._position = last.start
        return Progress(last.start, (last,))

    def save(self) -> object:
        """The whole state."""
        own = (self._position, self._spans, self._found, self._shown, self.verdict)
        return self._inner.save(), self._code.save(), own

    def restore(self, mark: object) -> None:
        """Go back to a saved state."""
        assert isinstance(mark, tuple)
        inner, code, own = mark
        self._inner.restore(inner)
        self._code.restore(code)
        self._position, self._spans, self._found, self._shown, self.verdict = own

    def state_key(self) -> Hashable | None:
        """The keys of the inner pass and of the code, while no finding waits."""
        if self._found or self.verdict is not None:
            return None
        inner, code = self._inner.state_key(), self._code.state_key()
        if inner is None or code is None:
            return None
        here = self._position
        spans = tuple((start - here, end - here) for start, end in self._spans)
        return (inner, code, spans, self._shown) if len(spans) <= MOST_SPANS else None

    def restore_key(self, key: Hashable, position: int) -> int:
        """Go to the state that has this key."""
        assert isinstance(key, tuple)
        inner, code, spans, self._shown = key
        self._position = position
        self._spans = tuple((start + position, end + position) for start, end in spans)
        mark = self._inner.restore_key(inner, position)
        self._code.restore_key(code, position)
        return mark if self._holds else position


def _start(finding: Finding) -> int:
    return finding.start


def _joined(spans: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """In order, without overlaps."""
    out: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return tuple(out)

"""One pass: the automaton of its patterns and the automaton of its words, and what each rule wants done."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from proxy.core.check import Progress
from proxy.core.types import Action
from proxy.matching.automaton import MAX_TRANSITIONS, Automaton
from proxy.matching.classes import classify
from proxy.matching.compiled import CompiledRule
from proxy.matching.keywords import Keywords, WordList
from proxy.matching.rules import PassScan, Verdict
from proxy.matching.scan import PatternScan, TooLate, WordScan


class MatchPass:
    """Compiled rules in one pass over one view of the text. Immutable but for its caches; shared by all streams."""

    def __init__(self, rules: Sequence[CompiledRule], max_transitions: int = MAX_TRANSITIONS) -> None:
        """Cheap compared to compiling the rules. max_transitions: how many to remember before starting afresh."""
        self.rules = rules
        self.reported = [rule.source.rule for rule in rules]
        self.blocks = [rule.enforced and rule.action is Action.BLOCK for rule in self.reported]
        self.classes = classify(rules)
        self.hides = any(rule.holds for rule in self.reported)
        self.hold: int = max((rule.holds for rule in rules), default=0)
        patterns = [(n, rule, self.classes[n]) for n, rule in enumerate(rules) if rule.roots]
        words = [WordList(n, rule.entries, rule.source.rule.holds) for n, rule in enumerate(rules) if rule.entries]
        self.automaton = Automaton(patterns, max_transitions, frozenset(filter(self._is_plain, range(len(rules)))))
        self.keywords = Keywords(words, max_transitions) if words else None
        self.longest_word = max((rule.longest or 0 for rule in rules if rule.entries), default=0)
        self.may_block_late = any(c.on_overflow == "block" for c in self.classes)
        self.may_block = any(self.blocks) or self.may_block_late

    def _is_plain(self, number: int) -> bool:
        """True when a rule's matches only have to be reported: they end nothing, and nobody has to be asked."""
        judged = self.rules[number].source.validate is not None
        return not (judged or self.blocks[number] or self.classes[number].on_overflow == "cover")

    def rank(self, number: int) -> tuple[int, int]:
        """Which rule gives its name when several end a stream at once: the first in file order."""
        return self.reported[number].order, number

    def open(self) -> PassScan:
        """A fresh scan."""
        scan = PatternScan(self) if self.keywords is None else WordScan(self)
        return _Rewinding(scan) if self.may_block_late else scan


class _Rewinding:
    """A scan that reads a feed again, up to where a match had been open too long, when that blocks."""

    __slots__ = ("_scan",)

    def __init__(self, scan: PatternScan | WordScan) -> None:
        self._scan = scan

    @property
    def verdict(self) -> Verdict | None:
        """Set by the feed that blocked."""
        return self._scan.verdict

    def save(self) -> object:
        """The whole state."""
        return self._scan.save()

    def restore(self, mark: object) -> None:
        """Go back to a saved state."""
        self._scan.restore(mark)

    def place(self) -> Hashable | None:
        """See PassScan."""
        return self._scan.place()

    def resume(self, place: Hashable, position: int) -> int:
        """See PassScan."""
        return self._scan.resume(place, position)

    def feed(self, text: str, final: bool = False) -> Progress:
        """Read on, as core.check.Scan does."""
        mark = self._scan.save()
        try:
            return self._scan.feed(text, final)
        except TooLate as late:
            self._scan.restore(mark)
            return self._scan.feed(text[: late.at - self._scan.position])

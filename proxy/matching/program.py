"""What a scan needs to know of its pass: the automaton, and what each rule wants done."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.core.types import Action
from proxy.matching.compiled import CompiledRule, classify
from proxy.matching.lazy_dfa import MAX_TRANSITIONS, LazyTaggedDfa
from proxy.matching.look import Look, look_for
from proxy.matching.pauses import Pause, no_pause


class Program:
    """Compiled rules put together for one pass over one view of the text. Immutable but for its caches.

    dfa:            what the rules look for
    blocks:         per rule, whether a match ends the text
    hides:          whether text has to wait for any rule
    hold:           the most characters that a rule can keep waiting
    may_block_late: whether a match that stays open too long can end the text
    may_block:      whether anything can
    look:           the quick look that tells which parts of a long text have to be read; None: all
    """

    def __init__(self, rules: Sequence[CompiledRule], max_transitions: int = MAX_TRANSITIONS) -> None:
        """Cheap compared to compiling the rules. max_transitions: how many to cache before starting afresh."""
        self.rules = rules
        self.reported = [rule.source.rule for rule in rules]
        self.blocks = [rule.enforced and rule.action is Action.BLOCK for rule in self.reported]
        self.classes = classify(rules)
        self.hides = any(rule.holds for rule in self.reported)
        self.hold: int = max((rule.holds for rule in rules), default=0)
        searching = [(n, rule, self.classes[n]) for n, rule in enumerate(rules) if rule.roots]
        self.dfa = LazyTaggedDfa(searching, max_transitions, frozenset(filter(self._is_plain, range(len(rules)))))
        self.may_block_late = any(c.on_overflow == "block" for c in self.classes)
        self.may_block = any(self.blocks) or self.may_block_late
        self.look: Look | None = None

    def prepare(self, pause: Pause = no_pause) -> None:
        """Make the quick look for long texts (look.py). Until then, and where there can be none, every text is read."""
        self.look = look_for(self.rules, pause)

    def _is_plain(self, number: int) -> bool:
        """True when a rule's matches only have to be reported: they end nothing, and nobody has to be asked."""
        judged = self.rules[number].source.validate is not None
        return not (judged or self.blocks[number] or self.classes[number].on_overflow == "cover")

    def rank(self, number: int) -> tuple[int, int]:
        """Which rule gives its name when several end a stream at once: the first in file order."""
        return self.reported[number].order, number

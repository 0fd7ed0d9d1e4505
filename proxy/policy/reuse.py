"""What one load leaves to the next: rules that have not changed since are neither compiled nor tried again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter

from proxy.core.types import Rule
from proxy.matching.compiled import CompiledRule, compile_rule
from proxy.matching.pauses import Pause
from proxy.matching.rules import MatchRule
from proxy.policy.schema import Examples

Key = tuple[object, ...]

_of_rule = attrgetter(*(f.name for f in fields(Rule) if f.name != "order"))
_of_match = attrgetter(*(f.name for f in fields(MatchRule) if f.name != "rule"))


@dataclass(frozen=True, slots=True)
class Kept:
    """Of a load that went well.

    rules: as they were compiled, by all that their files say of them, their examples too
    clean: own words (notices, replacements) in which none of the rules that act found anything
    """

    rules: Mapping[Key, CompiledRule] = field(default_factory=dict)
    clean: frozenset[str] = frozenset()


class Reuse:
    """Compiles the rules of one load, unless the load before it has done so."""

    def __init__(self, before: Kept, pause: Pause) -> None:
        self._before = before.rules
        self._pause = pause
        self.rules: dict[Key, CompiledRule] = {}  # of this load

    def compiled(self, match: MatchRule, examples: Examples) -> tuple[CompiledRule, bool]:
        """The compiled rule, and whether it is known from the load before. PatternError as `compile_rule`."""
        key = key_of(match, examples)
        known = self._before.get(key) if key not in self.rules else None
        if known is None:
            compiled = self.rules[key] = compile_rule(match, self._pause)
        else:
            compiled = self.rules[key] = known.placed(match)
        return compiled, known is not None


def key_of(match: MatchRule, examples: Examples) -> Key:
    """All that decides what a rule does and whether its examples are right: everything but its place among rules."""
    tried = (examples.hits, examples.misses, tuple(examples.becomes.items()))
    return *_of_rule(match.rule), *_of_match(match), *tried

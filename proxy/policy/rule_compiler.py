"""Compiles rules one by one. A rule that has not changed since the load before is not compiled again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter

from proxy.core.types import Rule
from proxy.matching.compiled import CompiledRule, compile_rule
from proxy.matching.pauses import Pause
from proxy.matching.rules import MatchRule
from proxy.policy.schema import Examples

CacheKey = tuple[object, ...]

_rule_fields = attrgetter(*(f.name for f in fields(Rule) if f.name != "order"))
_match_fields = attrgetter(*(f.name for f in fields(MatchRule) if f.name != "rule"))


@dataclass(frozen=True, slots=True)
class CompileCache:
    """What the next load may use of a load that succeeded.

    rules: the compiled rules, by everything that their files say of them, their examples included
    clean: inserted texts (notices, replacements) in which no rule that acts found anything
    """

    rules: Mapping[CacheKey, CompiledRule] = field(default_factory=dict)
    clean: frozenset[str] = frozenset()


class RuleCompiler:
    """Compiles the rules of one load. A rule that has not changed since the load before is taken from the cache."""

    def __init__(self, cache: CompileCache, pause: Pause) -> None:
        self._cached = cache.rules
        self._pause = pause
        self.rules: dict[CacheKey, CompiledRule] = {}  # of this load

    def compile(self, match: MatchRule, examples: Examples) -> tuple[CompiledRule, bool]:
        """The compiled rule, and whether it comes from the cache. Raises PatternError as `compile_rule` does."""
        key = cache_key(match, examples)
        cached = self._cached.get(key) if key not in self.rules else None
        compiled = compile_rule(match, self._pause) if cached is None else cached.placed(match)
        self.rules[key] = compiled
        return compiled, cached is not None


def cache_key(match: MatchRule, examples: Examples) -> CacheKey:
    """All that decides what a rule does and whether its examples pass: everything but its place among the rules."""
    example_texts = (examples.hits, examples.misses, tuple(examples.becomes.items()))
    return *_rule_fields(match.rule), *_match_fields(match), *example_texts

"""One rule, compiled: the expensive part, done rule by rule when a policy is loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from proxy.core.types import Action, Rule
from proxy.matching.charsets import CharSet
from proxy.matching.errors import PatternError
from proxy.matching.keywords import entry_length, marked
from proxy.matching.limits import check_crowding
from proxy.matching.nfa import Edge, Fragment, build
from proxy.matching.rules import MatchRule
from proxy.matching.syntax import parse

MAX_ENTRY = 256  # longer words are matched as patterns


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRule:
    """Immutable, and shared by all matchers that the rule is part of.

    roots:   where a match of the pattern may begin
    sets:    every set of characters that the pattern tests
    entries: the words, marked, in order
    longest: characters of the longest match, None when there is no longest
    holds:   the most characters that the rule can keep waiting; 0 for one that only flags
    blocker: the rule that is reported when `on_overflow: block` ends the stream
    note:    something to tell the policy's author, or ""
    """

    source: MatchRule
    roots: tuple[Edge, ...]
    sets: frozenset[CharSet]
    entries: tuple[str, ...]
    longest: int | None
    holds: int
    blocker: Rule
    note: str = ""

    @property
    def unbounded(self) -> bool:
        """True when the text may have to wait longer than max_hold, which then decides."""
        return self.longest is None or self.longest > self.source.max_hold

    def describe(self) -> str:
        """How long it can hold, in words."""
        if not self.source.rule.holds:
            return "never holds"
        if self.unbounded:
            return f"unbounded before the first match: max_hold {self.source.max_hold} applies"
        return f"holds at most {self.holds} characters"


def compile_rule(rule: MatchRule) -> CompiledRule:
    """PatternError when it cannot be matched exactly and in bounded time."""
    _check(rule)
    if rule.pattern is not None:
        compiled = _compile_pattern(rule, rule.pattern)
    else:
        compiled = _compile_words(rule, rule.words or ())
    if rule.validate is not None and compiled.unbounded:
        longest = "no longest match" if compiled.longest is None else f"a longest match of {compiled.longest}"
        raise PatternError(
            f"a rule with a validator has to end within max_hold ({rule.max_hold}); this one has {longest}",
            hint="give its repeats an upper bound",
        )
    return compiled


def _check(rule: MatchRule) -> None:
    if (rule.pattern is None) is (rule.words is None):
        raise PatternError("a rule has either a pattern or words")
    if rule.max_hold < 1:
        raise PatternError("max_hold is at least 1")
    if rule.on_overflow == "cover" and rule.rule.action is Action.BLOCK:
        raise PatternError("on_overflow: cover is for rules that rewrite", hint="choose release or block")
    if rule.words is not None and (rule.shortest or rule.validate is not None):
        raise PatternError("words take neither `match: shortest` nor a validator", hint="write a pattern")
    if rule.shortest and rule.validate is not None:
        raise PatternError("`match: shortest` and a validator exclude each other", hint="leave one out")


def _compile_pattern(rule: MatchRule, pattern: str) -> CompiledRule:
    parsed = parse(pattern)
    note = ""
    if parsed.lazy_column and not rule.shortest:
        note = f"column {parsed.lazy_column}: a lazy quantifier changes nothing here; `match: shortest` would"
    fragment = build(parsed.root)
    check_crowding(parsed.root, fragment.roots)
    if not fragment.items:
        note = "the pattern can never match: look at its boundaries and look-around"
    return _finish(rule, fragment, (), 0, note)


def _compile_words(rule: MatchRule, words: tuple[str, ...]) -> CompiledRule:
    if not words:
        raise PatternError("the list of words is empty")
    limit = min(MAX_ENTRY, rule.max_hold) if rule.rule.holds else MAX_ENTRY
    long = [word for word in words if len(word) > limit]
    entries = tuple(marked(word for word in words if len(word) <= limit) if long else marked(words))
    longest = max(map(entry_length, entries), default=0)
    if not long:
        return _finish(rule, None, entries, longest)
    pattern = "|".join(re.escape(word) for word in long)
    return _finish(rule, build(parse(rf"(?i)\b(?:{pattern})\b").root), entries, longest)


def _finish(
    rule: MatchRule, fragment: Fragment | None, entries: tuple[str, ...], longest_entry: int, note: str = ""
) -> CompiledRule:
    longest: int | None = longest_entry
    holds: int | None = longest_entry
    sets: set[CharSet] = set()
    if fragment is not None:
        sets = {edge.behind for edge in fragment.roots if edge.behind is not None}
        for item in fragment.items:
            sets.add(item.chars)
            sets.update(edge.behind for edge in item.edges if edge.behind is not None)
        longest = None if fragment.longest is None else max(longest_entry, fragment.longest)
        holds = None if fragment.holds is None else max(longest_entry, fragment.holds)
    held = 0
    if rule.rule.holds:
        held = rule.max_hold if holds is None else min(holds, rule.max_hold)
    blocker = rule.rule if rule.rule.action is Action.BLOCK else replace(rule.rule, action=Action.BLOCK)
    compiled = CompiledRule(
        rule, fragment.roots if fragment else (), frozenset(sets), entries, longest, held, blocker, note
    )
    for item in fragment.items if fragment else ():
        item.owner = compiled
    return compiled

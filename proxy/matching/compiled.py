"""One rule, compiled: the expensive part, done rule by rule when a policy is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise

from proxy.core.types import Action, Rule
from proxy.matching.aho_corasick import entry_length, iotas, marked
from proxy.matching.charsets import CharSet
from proxy.matching.errors import PatternError
from proxy.matching.foldtree import fold_tree
from proxy.matching.limits import check_crowding
from proxy.matching.nfa import Edge, Fragment, build
from proxy.matching.pauses import Pause, no_pause, pausing
from proxy.matching.rules import MatchRule
from proxy.matching.syntax import parse
from proxy.matching.tree import Node
from proxy.matching.variants import FULL_LIST, Plan, plan

MAX_ENTRY = 256  # longer words are matched as patterns,
MAX_IOTAS = 4  # and so are Greek words with more iotas
AT_ONCE = FULL_LIST + 50  # words of a long list


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRule:
    """Immutable, and shared by all matchers that the rule is part of.

    Equal are those that were compiled together (see `placed`); an automaton, in which there is never more than one of
    them, knows its rules by that.

    roots:   where a match of the pattern may begin
    sets:    every set of characters that the pattern tests
    entries: the words, marked and sorted
    longest: characters of the longest match, None when there is no longest
    holds:   the most characters that the rule can keep waiting; 0 for one that only flags
    blocker: the rule that is reported when `on_overflow: block` ends the stream
    note:    something to tell the policy's author, or ""
    form:    one object for all that were compiled together
    """

    source: MatchRule
    roots: tuple[Edge, ...]
    sets: frozenset[CharSet]
    entries: tuple[str, ...]
    longest: int | None
    holds: int
    blocker: Rule
    note: str = ""
    form: object = field(default_factory=object)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CompiledRule) and other.form is self.form

    def __hash__(self) -> int:
        return hash(self.form)

    def placed(self, rule: MatchRule) -> CompiledRule:
        """The same rule at another place in the order of rules, in which alone `rule` may differ."""
        return replace(self, source=rule, blocker=_blocker(rule.rule))

    @property
    def unbounded(self) -> bool:
        """True when the text may have to wait longer than max_hold, which then decides."""
        return self.longest is None or self.longest > self.source.max_hold

    def describe(self) -> str:
        """How long it can hold, in words."""
        if not self.source.rule.holds:
            return "never holds"
        if self.unbounded:
            return f"holds at most {self.source.max_hold} characters (max_hold) while nothing has matched"
        return f"holds at most {self.holds} characters"


def compile_rule(rule: MatchRule, pause: Pause = no_pause) -> CompiledRule:
    """PatternError when it cannot be matched exactly and in bounded time. `pause` is called now and then."""
    _check(rule)
    if rule.pattern is not None:
        compiled = _compile_pattern(rule, rule.pattern)
    else:
        compiled = _compile_words(rule, rule.words or (), pause)
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
    fragment = _fragment(parsed.root, rule.fold)
    note = ""
    if parsed.lazy_column and not rule.shortest:
        note = f"column {parsed.lazy_column}: a lazy quantifier changes nothing here; `match: shortest` would"
    if not fragment.items:
        note = "the pattern can never match: look at its boundaries and look-around"
    return _finish(rule, [fragment], (), note)


def _compile_words(rule: MatchRule, words: Sequence[str], pause: Pause) -> CompiledRule:
    """Words are matched as keywords; their spellings (with `fold`), and what is very long, as patterns."""
    if not words:
        raise PatternError("the list of words is empty")
    patterns, words = _plan(words, pause) if rule.fold else ((), words)
    limit = min(MAX_ENTRY, rule.max_hold) if rule.rule.holds else MAX_ENTRY
    long = {word for word in pausing(words, pause) if len(word) > limit or iotas(word) > MAX_IOTAS}
    short = [word for word in pausing(words, pause) if word not in long] if long else words
    entries = marked(pausing(short, pause))
    patterns = (*patterns, *(rf"(?i)\b{re.escape(word)}\b" for word in sorted(long)))
    fragments = [_fragment(parse(pattern).root, rule.fold) for pattern in pausing(patterns, pause, 1)]
    return _finish(rule, fragments, entries, pause=pause)


def _plan(words: Sequence[str], pause: Pause) -> Plan:
    """`plan` looks at every word by itself; so it may see a long list in parts, if each of them is long too."""
    starts = [*range(0, len(words) - AT_ONCE, AT_ONCE)] or [0]
    plans = [plan(words[start:end]) for start, end in pausing(pairwise([*starts, len(words)]), pause, 1)]
    return Plan(*(tuple(dict.fromkeys(chain.from_iterable(parts))) for parts in zip(*plans, strict=True)))


def _fragment(root: Node, fold: bool) -> Fragment:
    if fold:
        root = fold_tree(root)
    fragment = build(root)
    check_crowding(root, fragment.roots)
    return fragment


def _finish(
    rule: MatchRule, fragments: list[Fragment], entries: tuple[str, ...], note: str = "", pause: Pause = no_pause
) -> CompiledRule:
    longest_entry = max(map(entry_length, pausing(entries, pause)), default=0)
    longest = _most(longest_entry, [fragment.longest for fragment in fragments])
    holds = _most(longest_entry, [fragment.holds for fragment in fragments])
    held = 0
    if rule.rule.holds:
        held = rule.max_hold if holds is None else min(holds, rule.max_hold)
    roots = tuple(edge for fragment in fragments for edge in fragment.roots)
    compiled = CompiledRule(rule, roots, _sets(fragments), entries, longest, held, _blocker(rule.rule), note)
    for fragment in fragments:
        for item in fragment.items:
            item.owner = compiled
    return compiled


def _blocker(rule: Rule) -> Rule:
    return rule if rule.action is Action.BLOCK else replace(rule, action=Action.BLOCK)


def _most(least: int, lengths: Sequence[int | None]) -> int | None:
    known = [length for length in lengths if length is not None]
    return max([least, *known]) if len(known) == len(lengths) else None


def _sets(fragments: Iterable[Fragment]) -> frozenset[CharSet]:
    """Every set that an automaton of these will test."""
    found: set[CharSet] = set()
    for fragment in fragments:
        found.update(edge.behind for edge in fragment.roots if edge.behind is not None)
        for item in fragment.items:
            found.add(item.chars)
            found.update(edge.behind for edge in item.edges if edge.behind is not None)
    return frozenset(found)

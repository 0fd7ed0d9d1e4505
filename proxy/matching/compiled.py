"""Compiled rules: the expensive part, done rule by rule when a policy is loaded; and how text waits for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from proxy.core.types import Action, Rule
from proxy.matching.charsets import CharSet
from proxy.matching.errors import PatternError
from proxy.matching.foldedwords import FoldedWords
from proxy.matching.foldtree import fold_tree
from proxy.matching.limits import check_crowding
from proxy.matching.nfa import Edge, Fragment, build
from proxy.matching.pauses import Pause, no_pause, pausing
from proxy.matching.plainwords import PlainWords
from proxy.matching.rules import MatchRule, Overflow
from proxy.matching.syntax import parse
from proxy.matching.tree import Node
from proxy.matching.words import WordList

MAX_ENTRY = 1000
"""Characters of the longest word."""
UNLIMITED = 1 << 60
"""Characters: no limit."""


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRule:
    """Immutable, and shared by all matchers that the rule is part of.

    Equal are those that were compiled together (see `placed`); an automaton, in which there is never more than one of
    them, knows its rules by that.

    roots:   where a match of the pattern may begin
    sets:    every set of characters that the pattern tests
    longest: characters of the longest match, None when there is no longest
    holds:   the most characters that the rule can keep waiting; 0 for one that only flags
    blocker: the rule that is reported when `on_overflow: block` ends the stream
    note:    something to tell the policy's author, or ""
    words:   the list, of a rule with words
    form:    one object for all that were compiled together
    """

    source: MatchRule
    roots: tuple[Edge, ...]
    sets: frozenset[CharSet]
    longest: int | None
    holds: int
    blocker: Rule
    note: str = ""
    words: WordList | None = None
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
    return _finish(rule, fragment, note)


def _compile_words(rule: MatchRule, words: Sequence[str], pause: Pause) -> CompiledRule:
    if not words:
        raise PatternError("the list of words is empty")
    for word in pausing(words, pause):
        if len(word) > MAX_ENTRY:
            message = f"the word {word[:20]!r}... has {len(word)} characters, at most {MAX_ENTRY} are possible"
            raise PatternError(message, hint="write a pattern")
    listed = FoldedWords(words, pause) if rule.fold else PlainWords(words, pause)
    compiled = _compiled(rule, listed.roots, listed.sets, listed.longest, listed.longest, words=listed)
    listed.owner = compiled
    return compiled


def _fragment(root: Node, fold: bool) -> Fragment:
    if fold:
        root = fold_tree(root)
    fragment = build(root)
    check_crowding(root, fragment.roots)
    return fragment


def _finish(rule: MatchRule, fragment: Fragment, note: str = "") -> CompiledRule:
    compiled = _compiled(rule, fragment.roots, _sets(fragment), fragment.longest, fragment.holds, note)
    for item in fragment.items:
        item.owner = compiled
    return compiled


def _compiled(
    rule: MatchRule,
    roots: tuple[Edge, ...],
    sets: frozenset[CharSet],
    longest: int | None,
    holds: int | None,
    note: str = "",
    words: WordList | None = None,
) -> CompiledRule:
    """`holds`: the most characters read while a match is open, None when there is no such number."""
    held = 0
    if rule.rule.holds:
        held = rule.max_hold if holds is None else min(holds, rule.max_hold)
    return CompiledRule(rule, roots, sets, longest, held, _blocker(rule.rule), note, words)


def _blocker(rule: Rule) -> Rule:
    return rule if rule.action is Action.BLOCK else replace(rule, action=Action.BLOCK)


def _sets(fragment: Fragment) -> frozenset[CharSet]:
    """Every set that an automaton of this will test."""
    found = {edge.behind for edge in fragment.roots if edge.behind is not None}
    for item in fragment.items:
        found.add(item.chars)
        found.update(edge.behind for edge in item.edges if edge.behind is not None)
    return frozenset(found)


@dataclass(frozen=True, slots=True, eq=False)
class HoldClass:
    """Rules for which text waits in the same way. Compared by identity.

    holds:       text waits for their open matches
    limit:       the most characters that may wait; a match covers no more of what lies before its end
    on_overflow: what becomes of a character that has waited that long; "release" when none can
    number:      the rule, where there is only one because on_overflow has to know which
    every_start: their matches have validators, so none may stand in for another that began later
    """

    holds: bool
    limit: int = UNLIMITED
    on_overflow: Overflow = "release"
    number: int = -1
    every_start: bool = False


def classify(rules: Sequence[CompiledRule]) -> list[HoldClass]:
    """A class for each rule; as few as can be, because every class has registers of its own."""
    limits = sorted({r.source.max_hold for r in rules if _releases_late(r)})
    known: dict[tuple[object, ...], HoldClass] = {}
    return [known.setdefault(_key(new), new) for new in (_class_of(n, rule, limits) for n, rule in enumerate(rules))]


def _releases_late(rule: CompiledRule) -> bool:
    return rule.source.rule.holds and rule.unbounded and rule.source.on_overflow == "release"


def _class_of(number: int, rule: CompiledRule, limits: Iterable[int]) -> HoldClass:
    source = rule.source
    if not source.rule.holds or source.validate is not None:
        return HoldClass(source.rule.holds, every_start=source.validate is not None)
    if not rule.unbounded:
        longest = rule.longest or 0
        return HoldClass(True, next((limit for limit in limits if limit >= longest), UNLIMITED))
    if source.on_overflow == "release":
        return HoldClass(True, source.max_hold)
    return HoldClass(True, source.max_hold, source.on_overflow, number)


def _key(c: HoldClass) -> tuple[object, ...]:
    return c.holds, c.limit, c.on_overflow, c.number, c.every_start

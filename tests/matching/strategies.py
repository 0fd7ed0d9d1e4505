"""Random rules and texts. Patterns are drawn from pools made beforehand: cheap, and simple ones come first."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from hypothesis import settings
from hypothesis import strategies as st

from proxy.core.types import Action, Replacement, Rule
from proxy.matching.compiled import CompiledRule, compile_rule
from proxy.matching.errors import PatternError
from proxy.matching.rules import MatchRule, Overflow
from tests import oracle

SCALE = float(os.environ.get("FUZZ_EXAMPLES", "1"))  # `make fuzz` multiplies the number of examples
SEED = int(os.environ.get("FUZZ_SEED", "1"))
ALPHABET = "ab 1"  # the folded view leaves these as they are
CASES = "abkKs\u017f\u212a\u00e91 \n"  # the long s, the Kelvin sign

ATOMS = ["a", "b", "1", "[ab]", "[^a]", ".", r"\w", r"\d", r"\s", r"\W", "ab", "ba", "(?i:A)", "(?i:k)", "(?i:[r-t])"]
EDGES = [r"\b", r"\B", "^", r"\Z", "(?m:$)", "(?m:^)", "(?=a)", "(?!b)", "(?<=a)", "(?<!b)"]
EDGES += [r"(?!\w)", r"(?<!\w)", r"(?=\s|\Z)"]
REPEATS = ["?", "*", "+", "{2}", "{1,3}", "{2,}", "??", "+?"]
VALIDATORS: list[Callable[[str], bool]] = [
    lambda text: text.count("a") % 2 == 0,
    lambda text: len(text) % 3 != 1,
    lambda text: text[0] != text[-1],
]


def examples(count: int) -> settings:
    """Settings for a property: this many examples, more in a fuzz run."""
    return settings(max_examples=max(1, int(count * SCALE)), deadline=None, database=None)


def pattern(rng: random.Random, depth: int) -> str:
    """A random pattern."""
    kind = rng.random()
    if depth == 0 or kind < 0.25:
        return rng.choice(ATOMS)
    if kind < 0.5:
        return pattern(rng, depth - 1) + pattern(rng, depth - 1)
    if kind < 0.63:
        return f"(?:{pattern(rng, depth - 1)}|{pattern(rng, depth - 1)})"
    if kind < 0.85:
        return f"(?:{pattern(rng, depth - 1)}){rng.choice(REPEATS)}"
    inner = pattern(rng, depth - 1)
    return rng.choice(EDGES) + inner if rng.random() < 0.5 else inner + rng.choice(EDGES)


@cache
def pool(size: int, depth: int) -> list[str]:
    """Patterns that load, the short ones first."""
    rng = random.Random(SEED)
    found: set[str] = set()
    while len(found) < size:
        new = pattern(rng, rng.randint(0, depth))
        if loads(new) is not None:
            found.add(new)
    return sorted(found, key=lambda p: (len(p), p))


@cache
def loads(source: str) -> CompiledRule | None:
    """The pattern compiled, or None when it is refused."""
    try:
        return compile_rule(MatchRule(Rule("p", "r", Action.REWRITE), source))
    except PatternError:
        return None


WORDS = st.lists(st.text(ALPHABET, min_size=1, max_size=4), min_size=1, max_size=4).map(tuple)
HOLDS = st.sampled_from([256, 256, 1, 2, 3, 5])
FLAGS = st.sampled_from([Action.REWRITE, Action.REWRITE, Action.REWRITE, Action.FLAG])


@st.composite
def rules(draw: st.DrawFn, actions: st.SearchStrategy[Action] = FLAGS, folded: bool = False) -> MatchRule:
    """One rule of any kind."""
    rule = Rule("p", "", draw(actions), enforced=draw(st.integers(0, 7)) > 0)
    fold = folded and draw(st.booleans())
    hold = draw(HOLDS)
    if draw(st.integers(0, 3)) == 0:
        return MatchRule(rule, words=draw(WORDS), max_hold=hold)
    source = draw(st.sampled_from(pool(600, 4)))
    kind = draw(st.integers(0, 5))
    compiled = loads(source)
    if kind == 0 and compiled is not None and compiled.longest is not None and compiled.longest <= hold:
        return MatchRule(rule, source, max_hold=hold, validate=draw(st.sampled_from(VALIDATORS)), fold=fold)
    return MatchRule(rule, source, max_hold=hold, shortest=kind == 1, fold=fold)


def numbered(rules: list[MatchRule]) -> list[MatchRule]:
    """The rules in file order, each with a name and a label of its own."""
    return [
        replace(r, rule=replace(r.rule, id=str(n), order=n, replacement=Replacement(f"<{n}>")))
        for n, r in enumerate(rules)
    ]


def texts(folded: bool) -> st.SearchStrategy[str]:
    """Short texts; for a folded view of letters that folding leaves alone."""
    return st.text(ALPHABET if folded else CASES, max_size=12)


CUTS = st.integers(0, (1 << 12) - 1)
CACHES = st.sampled_from([200_000, 200_000, 1, 2, 5])  # transitions remembered; 1: forget after each

OPEN = ["ab*1", "a[^1]*1", "aa+b", "(?:ab)+1", "a.*b", "1a*1", r"\ba+1", r"a+\b", "ab?1?b", "b.+1|ba", r"a\s*1"]
OPEN += ["(?<!b)a.*1", "a(?:b|1)*a", "a.{2}b", "a+", r"\w+ ", r"b[\s\S]*1", "a(?=b)|ab+1", r"1+\Z", "ab|a.*1"]
MORE = 3  # each can be completed by so many characters of ALPHABET, wherever it stands


@st.composite
def late_rules(draw: st.DrawFn) -> MatchRule:
    """A rule with an unfinished match that may wait too long."""
    rule = Rule("p", "", draw(st.sampled_from([Action.REWRITE, Action.REWRITE, Action.BLOCK])))
    kinds = ["release", "block"] if rule.action is Action.BLOCK else ["release", "cover", "cover", "block"]
    overflow: Overflow = draw(st.sampled_from(kinds))
    hold = draw(st.sampled_from([1, 2, 3, 5]))
    return MatchRule(rule, draw(st.sampled_from(OPEN)), max_hold=hold, on_overflow=overflow)


@st.composite
def open_rules(draw: st.DrawFn) -> MatchRule:
    """A rule of which brute force can say what is still open: few characters complete it, or it is a word."""
    rule = Rule("p", "", Action.REWRITE)
    hold = draw(st.sampled_from([256, 256, 1, 2, 4]))
    if draw(st.booleans()):
        return MatchRule(rule, draw(st.sampled_from(OPEN)), max_hold=hold)
    if draw(st.booleans()):
        return MatchRule(rule, draw(st.sampled_from(_soon_complete())), max_hold=hold)
    words = draw(st.lists(st.text(ALPHABET, min_size=1, max_size=3), min_size=1, max_size=2))
    return MatchRule(rule, words=tuple(sorted(words)), max_hold=hold)


@cache
def _soon_complete() -> list[str]:
    """Patterns of the pool that at most MORE characters complete, at whatever point."""
    return [p for p in pool(600, 4) if (c := loads(p)) is not None and c.longest is not None and c.longest <= MORE]


def opened(rule: MatchRule, text: str) -> int:
    """Where the earliest match of a rule begins that some continuation would complete, or go on with."""
    return oracle.opened(oracle.pattern_of(rule), text, ALPHABET + "\nks", MORE)

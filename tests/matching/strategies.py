"""Random rules and texts for the properties of the matcher.

Rules come from pools made beforehand from a seed, simple ones first; texts are numbers written in an alphabet. So an
example is a handful of numbers, cheap to draw and easy to shrink.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from functools import cache

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from proxy.core.types import Action, Replacement, Rule
from proxy.matching.compiled import CompiledRule, compile_rule
from proxy.matching.errors import PatternError
from proxy.matching.rules import MatchRule, Overflow
from tests import oracle

SCALE = float(os.environ.get("FUZZ_EXAMPLES", "0.2"))
"""Multiplies the number of examples: 1 in `make test-long`, and 5 in `make fuzz`."""
SEED = int(os.environ.get("FUZZ_SEED", "1"))
POOL = 1200  # rules of a kind; more in a long run
LETTERS = "ab 1"  # the folded view leaves these as they are
CASES = "ab1 kKs\u017f\u212a\u00e9\n"  # the long s, the Kelvin sign

ATOMS = ["a", "b", "1", "[ab]", "[^a]", ".", r"\w", r"\d", r"\s", r"\W", "ab", "ba", "(?i:A)", "(?i:k)", "(?i:[r-t])"]
EDGES = [r"\b", r"\B", "^", r"\Z", "(?m:$)", "(?m:^)", "(?=a)", "(?!b)", "(?<=a)", "(?<!b)"]
EDGES += [r"(?!\w)", r"(?<!\w)", r"(?=\s|\Z)"]
REPEATS = ["?", "*", "+", "{2}", "{1,3}", "{2,}", "??", "+?"]
VALIDATORS: list[Callable[[str], bool]] = [
    lambda text: text.count("a") % 2 == 0,
    lambda text: len(text) % 3 != 1,
    lambda text: text[0] != text[-1],
]
OPEN = ["ab*1", "a[^1]*1", "aa+b", "(?:ab)+1", "a.*b", "1a*1", r"\ba+1", r"a+\b", "ab?1?b", "b.+1|ba", r"a\s*1"]
OPEN += ["(?<!b)a.*1", "a(?:b|1)*a", "a.{2}b", "a+", r"\w+ ", r"b[\s\S]*1", "a(?=b)|ab+1", r"1+\Z", "ab|a.*1"]
MORE = 3  # characters: so many, wherever it stands, complete each of these


def examples(count: int) -> settings:
    """Settings for a property: this many examples in a long run, a part of them in `make test`. Making a pool may take
    a second, once."""
    slow = [HealthCheck.too_slow]
    return settings(max_examples=max(1, int(count * SCALE)), deadline=None, database=None, suppress_health_check=slow)


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


def words(rng: random.Random, longest: int = 4) -> tuple[str, ...]:
    """A random list of words, some of which begin or end with a blank."""
    lengths = [rng.randint(1, longest) for _ in range(rng.randint(1, 4))]
    return tuple(sorted({"".join(rng.choices(LETTERS, k=length)) for length in lengths}))


def mixed(rng: random.Random, rule: Rule, fold: bool) -> MatchRule:
    """A rule of any kind but on_overflow."""
    hold = rng.choice([256, 256, 1, 2, 3, 5])
    if rng.random() < 0.25:
        return MatchRule(rule, words=words(rng), max_hold=hold, fold=fold)
    source = pattern(rng, rng.randint(0, 4))
    kind = rng.random()
    if kind < 0.25:
        return MatchRule(rule, source, max_hold=hold, validate=rng.choice(VALIDATORS), fold=fold)
    return MatchRule(rule, source, max_hold=hold, shortest=kind < 0.4, fold=fold)


def late(rng: random.Random, rule: Rule, fold: bool) -> MatchRule:
    """A rule with an unfinished match that may wait too long."""
    overflow: list[Overflow] = ["release", "block", "cover", "cover"]
    kind = rng.choice(overflow[:2] if rule.action is Action.BLOCK else overflow)
    return MatchRule(rule, rng.choice(OPEN), max_hold=rng.choice([1, 2, 3, 5]), on_overflow=kind, fold=fold)


def soon(rng: random.Random, rule: Rule, fold: bool) -> MatchRule:
    """A rule of which brute force can say what is still open: few characters complete it."""
    hold = rng.choice([256, 256, 1, 2, 4])
    kind = rng.random()
    if kind < 0.3:
        return MatchRule(rule, words=words(rng, MORE), max_hold=hold)
    if kind < 0.6:
        return MatchRule(rule, rng.choice(OPEN), max_hold=hold)
    while True:
        made = MatchRule(rule, pattern(rng, 3), max_hold=hold)
        compiled = loads(made)
        if compiled is not None and compiled.longest is not None and compiled.longest <= MORE:
            return made


def loads(rule: MatchRule) -> CompiledRule | None:
    """The rule compiled, or None when it is refused."""
    try:
        return compile_rule(rule)
    except PatternError:
        return None


Kind = Callable[[random.Random, Rule, bool], MatchRule]
Made = tuple[MatchRule, CompiledRule]


@cache
def pool(kind: Kind, actions: tuple[Action, ...], fold: bool) -> list[Made]:
    """Rules that load, the short ones first; `fold`: some of them read the folded view."""
    rng = random.Random(f"{SEED} {kind.__name__} {actions} {fold}")
    found: list[tuple[int, MatchRule]] = []
    while len(found) < POOL * max(1, SCALE // 10):
        made = kind(rng, Rule("p", "", rng.choice(actions)), fold and rng.random() < 0.5)
        if loads(made) is not None:
            found.append((len(oracle.pattern_of(made)), made))
    ordered = [made for _, made in sorted(found, key=lambda pair: pair[0])]
    return [_named(made, n) for n, made in enumerate(ordered)]


def _named(made: MatchRule, n: int) -> Made:
    """The rule with its place in the order, and a label of its own; every eighth one is in shadow mode."""
    rule = Rule("p", str(n), made.rule.action, n, Replacement(f"<{n}>"), enforced=n % 8 != 7)
    final = MatchRule(
        rule, made.pattern, made.words, made.fold, made.shortest, made.max_hold, made.on_overflow, made.validate
    )
    compiled = loads(final)
    assert compiled is not None
    return final, compiled


HIDE = (Action.REWRITE, Action.REWRITE, Action.REWRITE, Action.FLAG)
BLOCK = (Action.REWRITE, Action.FLAG, Action.BLOCK, Action.BLOCK)


def rules(kind: Kind, actions: tuple[Action, ...], fold: bool = False, most: int = 3) -> st.SearchStrategy[list[Made]]:
    """One to three rules of a pool, in any order. The pool is made when the first is drawn."""

    def drawn() -> st.SearchStrategy[list[Made]]:
        made = pool(kind, actions, fold)
        numbers = st.lists(st.integers(0, len(made) - 1), min_size=1, max_size=most, unique=True)
        return numbers.map(lambda found: [made[n] for n in found])

    return st.deferred(drawn)


def texts(alphabet: str, longest: int) -> st.SearchStrategy[str]:
    """Texts of at most `longest` characters."""
    return st.integers(0, (len(alphabet) + 1) ** longest - 1).map(lambda n: _written(n, alphabet))


def _written(number: int, alphabet: str) -> str:
    out = ""
    while number:
        number, digit = divmod(number, len(alphabet) + 1)
        out += alphabet[digit - 1 : digit] if digit else ""
    return out


CUTS = st.integers(0, (1 << 12) - 1)
CACHES = st.sampled_from([200_000, 200_000, 1, 2, 5])  # transitions remembered; 1: forget after each


def opened(rule: MatchRule, text: str) -> int:
    """Where the earliest match of a rule begins that some continuation would complete, or go on with."""
    return oracle.opened(oracle.pattern_of(rule), text, LETTERS + "\nks", MORE)

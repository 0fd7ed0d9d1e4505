"""Patterns: what is accepted means what it means to `re`, what is not is refused with place and fix."""

from __future__ import annotations

import random
import re
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.types import Action, Rule
from proxy.matching.compiled import compile_rule
from proxy.matching.errors import PatternError
from proxy.matching.matcher import Matcher
from proxy.matching.rules import MatchRule
from proxy.matching.syntax import parse
from tests import oracle
from tests.matching.strategies import examples


def found(pattern: str, text: str) -> set[int]:
    """The offsets that the matcher covers, as a rule that only flags."""
    rule = MatchRule(Rule("p", "r", Action.FLAG), pattern)
    scan = Matcher([compile_rule(rule)]).open()
    return {i for f in scan.feed(text, final=True).findings for i in range(f.start, f.end)}


def defined(pattern: str, text: str) -> set[int]:
    """The offsets that `re` says are covered."""
    head = re.match(r"(?:\(\?[aimsux]+\))*", pattern)
    assert head is not None
    flags = "".join(sorted(set(head[0]) - set("(?)")))
    scoped = f"(?{flags}:{pattern[head.end() :]}\n)" if flags else pattern
    scoped = scoped.replace("\n)", ")") if "x" not in flags else scoped
    return oracle.characters(oracle.matches(MatchRule(Rule("p", "r", Action.FLAG), scoped), text))


TEXT = "aAbk K\u212a-_\n1\u0661é.]^{}()\t#x|"
SAME = [
    r"\x41", r"\u212a", r"\U0000212A", r"\N{KELVIN SIGN}", r"\101", r"\0101", r"\n", r"\t", r"\.", r"\-", r"\é",
    "[]a]", "[^]a]", "[a-]", "[-a]", r"[\]a]", r"[\x41-\x43]", r"[\b]|a", r"[a\-b]", "[^a-z]", r"[\w-]", r"[\d.]",
    "a{,2}A", "a{1,}b?", "a{1}", "a{,}b", "{", "a{", "a{x}", "a{1,2", "x{}", "}", "]", "(?:|b)k|1",
    "(a)(?P<n>b)", "(?:a|b)k", "(?i)K", "(?i)[j-l]", "(?i:k)b|K", "(?-i:k)", "(?i:a(?-i:b))", "(?s).", ".", "(?s:.)",
    r"(?m)^1", r"(?m:$)\n|(?m:$)a", r"^a", r"\Aa", r"x\||\|\Z", r"\bk\b", r"\Bk", r"(?a)\w+", r"(?a:\w)", r"(?a:\bé)",
    "(?x) a  A # comment", "(?x)[ #]", r"(?x)\ k", "(?x: a A )b", "(?#note)a", "a(?#note)+", "(?<=a)A", "(?<!a)A",
    "k(?= )", "k(?! )", "(?<=[aA])b", r"k(?=\s|\Z)", r"(?<=a|A)b", r"(?<!\A)a", r"(?!\Z)a|A", "(?=k)k", "(?:(?=a)a)+",
    "a+?", "a*?A", "(?:aA)??b", "(?u)k", "(?im)^A", r"[\W]", r"\D", r"\S", "(?i)\u017f|1", "(?i)s|1", "a(?:)A", "((a))",
]  # fmt: skip


@pytest.mark.parametrize("pattern", SAME)
def test_accepted_syntax_means_what_it_means_to_re(pattern: str) -> None:
    """Escapes, classes, repeats, groups, flags, boundaries, look-around and comments cover what `re` covers."""
    assert found(pattern, TEXT) == defined(pattern, TEXT)


REFUSED = [
    (r"(a)\1", 4, "back-references"), (r"(?P<n>a)(?P=n)", 9, "back-references"), ("(a)?(?(1)b|c)", 5, "conditional"),
    ("(?>a)", 1, "atomic"), ("a++", 3, "possessive"), ("a{2}+", 5, "possessive"), ("b?+", 3, "possessive"),
    ("(?=ab)c", 1, "one character"), ("x(?<=ab)", 2, "one character"), ("(?!a*)b", 1, "one character"),
    (r"(?=\b)a", 1, "one character"), ("a$", 2, "bare $"), ("(a", 1, "unterminated subpattern"), ("a)", 2, "unbal"),
    ("[a", 1, "unterminated character set"), ("[z-a]", 2, "character range"), (r"[\d-z]", 2, "character range"),
    ("*a", 1, "nothing to repeat"), ("a**", 3, "multiple repeat"), ("^*", 2, "nothing to"), ("(|*)", 3, "repeat"),
    ("a{3,2}", 2, "min repeat"), (r"\q", 1, "bad escape"), (r"\x4", 1, "bad escape"), (r"\U00110000", 1, "bad escape"),
    (r"\N{NO SUCH}", 1, "undefined character name"), (r"\N", 3, "missing {"), (r"\400", 1, "octal"), ("\\", 2, "end"),
    ("a(?i)b", 2, "global flags"), ("(?L)a", 1, "bytes"), ("(?au:a)", 1, "flags"), ("(?i-i:a)", 1, "flags"),
    ("(?-a:a)", 1, "flags"), ("(?i-:a)", 1, "unknown extension"), ("(?q)a", 1, "unknown extension"),
    ("(?P<1>a)", 1, "group name"), ("(?P<a>x)(?P<a>y)", 9, "group name"), ("(?Pa)", 1, "unknown extension"),
    ("(?#a", 4, "unterminated comment"), ("(?P<a", 5, "unterminated name"), ("a{6000}", 2, "too many states"),
    ("(?:ab){3000}", 7, "too many states"), ("(?:a?){600}(?:b?){600}c", 1, "too many states"),
    ("(" * 101 + "a" + ")" * 101, 101, "nested too deeply"), ("(?<=a|^)b", 1, "one character"),
    ("a.{65}c", 3, "open at once"), ("a.{0,100}c", 3, "open at once"), (r"\w{1,65}@", 3, "open at once"),
    ("a.{40}.{40}c", 3, "open at once"), ("a" + "." * 90 + "c", 1, "open at once"), ("a?", 1, "empty text"),
    (r"\b", 1, "empty text"), ("a|", 1, "empty text"), ("a*|b", 1, "empty text"), (r"(?=a)", 1, "empty text"),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "column", "message"), REFUSED)
def test_what_cannot_be_exact_or_fast_is_refused_where_it_stands(pattern: str, column: int, message: str) -> None:
    """The error names the column, counted from 1, and what is wrong there."""
    with pytest.raises(PatternError) as caught:
        compile_rule(MatchRule(Rule("p", "r", Action.REWRITE), pattern))
    assert message in caught.value.message
    assert caught.value.column == column


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [("a$", r"\Z"), (r"(a)\1", "spell out"), ("a++", "leave the +"), ("(?>a)", "(?:...)"), ("a.{99}c", "narrow")],
)
def test_a_refusal_says_how_to_fix_it(pattern: str, hint: str) -> None:
    """Each refusal of something that `re` has comes with a hint, and the text of the error has all three parts."""
    with pytest.raises(PatternError) as caught:
        compile_rule(MatchRule(Rule("p", "r", Action.REWRITE), pattern))
    assert hint in caught.value.hint
    assert str(caught.value).startswith(f"column {caught.value.column}: ")
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    "pattern",
    [
        "a.{64}c",
        r'"[^"]{0,500}"',
        r"\beyJ[\w-]{10,200}\.[\w-]{10,500}",
        r"key-[0-9a-f]{100}\b",
        "[a-z]{65,65}|" * 0 + "-{80,}",
    ],
)
def test_a_long_gap_loads_where_matches_cannot_crowd(pattern: str) -> None:
    """Gaps that the beginning of the rule cannot occur in, or only every few characters, may be long."""
    assert compile_rule(MatchRule(Rule("p", "r", Action.REWRITE), pattern)).roots


def test_the_first_lazy_quantifier_is_told() -> None:
    """A lazy quantifier changes nothing without `match: shortest`; the tree says where the first one stands."""
    assert parse("a+b+?c*?").lazy_column == 5
    assert parse("a+b").lazy_column == 0


PIECES = [*"ab1^$.|()[]{},?*+-\\", r"\b", r"\d", "[^a]", "(?:", "(?=", "(?<!", "(?i:", "{1,2}", r"\x41", "(?m:$)"]


@examples(1500)
@given(st.integers(0, 1 << 40))
def test_whatever_loads_means_the_same_to_re(seed: int) -> None:
    """Random soups of syntax: what is accepted compiles in `re` too, and covers the same; nothing else escapes."""
    rng = random.Random(seed)
    pattern = "".join(rng.choices(PIECES, k=rng.randint(1, 7)))
    text = "".join(rng.choices("ab1A -,", k=6))
    try:
        covered = found(pattern, text)
    except PatternError:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # "possible nested set": `re` may change that one day
        assert covered == oracle.characters(oracle.matches(MatchRule(Rule("p", "r", Action.FLAG), pattern), text))

"""What is remembered of tokens is what reading them again would say."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.markers import MarkerPass
from proxy.core.check import Progress
from proxy.core.types import Action, Rule
from proxy.matching.compiled import compile_rule
from proxy.matching.matcher import Matcher
from proxy.matching.recall import LONGEST, MAX_LEAPS
from proxy.matching.rules import MOST_OPEN, MatchRule
from tests import laws
from tests.matching import strategies as some
from tests.matching.strategies import BLOCK, HIDE, Made

TOKENS = [
    "",
    "a",
    "b",
    " ",
    "1",
    "ab",
    "ba",
    "a1",
    " a",
    " b1",
    "AB",
    "aab",
    "\u00e9",
    "b\u0301",
    "\u200b",
    "\u200ba",
    "&",
]
TOKENS += ["&#97;", "amp;", "&amp;1", "\u2026", "\\", "\\u0061", "u00", "\\n", '\\"', "\ufb01", "<", "<|", "|>", "a|>b"]
MARKERS = MarkerPass(Rule("p", "markers", Action.REWRITE))
STREAMS = st.lists(st.lists(st.sampled_from(TOKENS), max_size=14), min_size=2, max_size=6)


def answers(check: Matcher, tokens: Sequence[str]) -> list[Progress]:
    """All that a scan says of a text, up to a block."""
    scan = check.open()
    out = []
    for token in tokens:
        out.append(scan.feed(token))
        if any(laws.blocking(finding) for finding in out[-1].findings):
            return out
    return [*out, scan.feed("", final=True)]


def expect_the_same(made: list[Made], streams: list[list[str]], most: int, escaped: bool = False) -> None:
    """Two matchers read the same streams, each twice; one of them remembers."""
    rules = [compiled for _, compiled in made]
    recalling = Matcher(rules, escaped, others=(MARKERS,), max_leaps=most)
    forgetting = Matcher(rules, escaped, others=(MARKERS,), max_leaps=0)
    for tokens in streams * 2:
        assert answers(recalling, tokens) == answers(forgetting, tokens)


@some.examples(1500)
@given(some.rules(some.mixed, HIDE, fold=True), STREAMS, st.sampled_from([MAX_LEAPS, 3, 20]), st.booleans())
def test_what_is_remembered_is_what_would_be_read(
    made: list[Made], streams: list[list[str]], most: int, escaped: bool
) -> None:
    """Watermarks and findings of every token are the same, in all views, with escapes, references and unseen marks."""
    expect_the_same(made, streams, most, escaped)


@some.examples(800)
@given(some.rules(some.late, BLOCK, fold=True), STREAMS, st.sampled_from([MAX_LEAPS, 3]))
def test_what_waits_too_long_is_remembered_right(made: list[Made], streams: list[list[str]], most: int) -> None:
    """Matches that block, or block or are covered when they are open too long, are never leapt over."""
    expect_the_same(made, streams, most)


def words(*entries: str, fold: bool = False) -> Matcher:
    """A matcher for words."""
    return Matcher([compile_rule(MatchRule(Rule("p", "r", Action.REWRITE), words=entries, fold=fold))])


def test_tokens_that_were_read_once_are_not_read_again() -> None:
    """A second stream that says the same does not come to the automaton at all."""
    check = words("forbidden", fold=True)
    said = ["The", " quick", " brown", " fox", "."]
    first = answers(check, said)
    scan = check.open()
    assert [*map(scan.feed, said), scan.feed("", final=True)] == first
    assert scan._scan is None


def test_what_follows_remembered_tokens_is_found() -> None:
    """A match that begins in tokens which are leapt over ends in one that is read, and the other way round."""
    check = words("for bid den")
    for said, spans in (
        (["for", " bid", " day"], []),
        (["for", " bid", " den", "."], [(0, 11)]),
        (["a", " for", " bid", " day", " for", " bid", " den", "."], [(14, 25)]),
    ):
        found = [finding for progress in answers(check, said) for finding in progress.findings]
        assert [(f.start, f.end) for f in found] == spans


def test_no_place_lies_across_something_irregular() -> None:
    """A match that is open over a reference waits with more characters than one over a sign of its own."""
    rule = MatchRule(Rule("p", "r", Action.REWRITE), "a.{8}b", fold=True)
    check, forgetting = (Matcher([compile_rule(rule)], max_leaps=most) for most in (MAX_LEAPS, 0))
    for first in ("a&amp;c", "a+c", "a&amp;c", "a+c"):
        said = [first, "1", "2", "3", "4", "5", "6", "7", "8"]
        assert answers(check, said) == answers(forgetting, said)


def test_marks_that_follow_a_hidden_letter_are_not_those_that_follow_another() -> None:
    """After a hidden letter a mark goes with it; after tokens that were leapt over it does not."""
    rule = MatchRule(Rule("p", "r", Action.REWRITE), "ab", fold=True)
    check, forgetting = (Matcher([compile_rule(rule)], max_leaps=most) for most in (MAX_LEAPS, 0))
    for said in (["ab", "", "c", "c", "c"], ["c", "c", "c"], ["ab", "", "c", "\u0301", "c"]):
        assert answers(check, said) == answers(forgetting, said)


def test_memory_is_bounded() -> None:
    """Random text, of which nothing comes twice, does not make the memory grow for ever."""
    rng = random.Random(5)
    check = Matcher([compile_rule(MatchRule(Rule("p", "r", Action.REWRITE), "a+b"))], max_leaps=100)
    scan = check.open()
    for _ in range(2000):
        scan.feed("".join(rng.choices("abcdefgh", k=6)))
        assert len(check.memory) <= 101


def test_only_tokens_are_remembered() -> None:
    """A text longer than any token is read, and nothing is kept of it."""
    check = words("forbidden")
    scan = check.open()
    scan.feed("x" * LONGEST)
    scan.feed("x" * LONGEST)
    known = len(check.memory)
    scan.feed("y" * (LONGEST + 1))
    scan.feed("z" * (LONGEST + 1))
    assert len(check.memory) == known


def test_matches_that_are_open_for_long_make_no_places() -> None:
    """Where a match began ever farther back no place comes twice, so none is kept."""
    check = Matcher([compile_rule(MatchRule(Rule("p", "r", Action.REWRITE), r"a\S+b", max_hold=256))])
    scan = check.open()
    scan.feed("a")
    for _ in range(MOST_OPEN * 4):
        scan.feed("c")
    assert len(check.memory) < MOST_OPEN * 3

"""What is cached of tokens is what reading them again would say."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.markers import MarkerPass
from proxy.core.check import Progress
from proxy.core.types import Action, Rule
from proxy.matching.compiled import compile_rule
from proxy.matching.lenses import UNSEEN_LIMIT, FloodError
from proxy.matching.matcher import Matcher
from proxy.matching.rules import MOST_OPEN, MatchRule
from proxy.matching.transition_cache import LONGEST, MAX_CACHED, CachedState, CachingScan
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


def answers(check: Matcher, tokens: Sequence[str], end: str = "") -> list[Progress]:
    """All that a scan says of a text, up to a block; with its end it is told the last of it."""
    scan = check.open()
    out = []
    for token in tokens:
        out.append(scan.feed(token))
        if blocked(out):
            return out
    return [*out, scan.feed(end, final=True)]


def blocked(said: Sequence[Progress]) -> bool:
    """Whether the last answer ends the text."""
    return any(laws.blocking(finding) for finding in said[-1].findings)


def two_matchers(made: list[Made], most: int, escaped: bool = False) -> tuple[Matcher, Matcher]:
    """One with the cache, and one without."""
    rules = [compiled for _, compiled in made]
    caching, plain = (Matcher(rules, escaped, others=(MARKERS,), max_cached=cached) for cached in (most, 0))
    return caching, plain


def expect_the_same(made: list[Made], streams: list[list[str]], most: int, escaped: bool = False) -> None:
    """Two matchers read the same streams, each twice and each with its last token told apart or not."""
    caching, plain = two_matchers(made, most, escaped)
    for tokens in streams * 2:
        assert answers(caching, tokens) == answers(plain, tokens)
        assert answers(caching, tokens[:-1], *tokens[-1:]) == answers(plain, tokens[:-1], *tokens[-1:])


@some.examples(1500)
@given(some.rules(some.mixed, HIDE, fold=True), STREAMS, st.sampled_from([MAX_CACHED, 3, 20]), st.booleans())
def test_what_is_cached_is_what_would_be_read(
    made: list[Made], streams: list[list[str]], most: int, escaped: bool
) -> None:
    """Watermarks and findings of every token are the same, in all views, with escapes, references and unseen marks."""
    expect_the_same(made, streams, most, escaped)


@some.examples(800)
@given(some.rules(some.late, BLOCK, fold=True), STREAMS, st.sampled_from([MAX_CACHED, 3]))
def test_what_waits_too_long_is_cached_right(made: list[Made], streams: list[list[str]], most: int) -> None:
    """Matches that block, or block or are covered when they are open too long, are never cached."""
    expect_the_same(made, streams, most)


@some.examples(600)
@given(some.rules(some.mixed, HIDE, fold=True), STREAMS, st.sampled_from([MAX_CACHED, 3]), st.randoms())
def test_going_back_amid_what_is_cached(
    made: list[Made], streams: list[list[str]], most: int, rng: random.Random
) -> None:
    """A scan that goes back, after tokens that were cached or read, says the same of what follows."""
    caching, plain = two_matchers(made, most)
    for tokens in streams * 2:
        scans = caching.open(), plain.open()
        marks: list[list[object]] = []
        for token in tokens:
            if rng.random() < 0.4:
                marks.append([scan.save() for scan in scans])
            if marks and rng.random() < 0.3:
                for scan, mark in zip(scans, rng.choice(marks), strict=True):
                    scan.restore(mark)
            one, other = (scan.feed(token) for scan in scans)
            assert one == other


def words(*entries: str, fold: bool = False) -> Matcher:
    """A matcher for words."""
    return Matcher([compile_rule(MatchRule(Rule("p", "r", Action.REWRITE), words=entries, fold=fold))])


def pattern(source: str, action: Action = Action.REWRITE) -> Matcher:
    """A matcher for a pattern."""
    return Matcher([compile_rule(MatchRule(Rule("p", "r", action), source))])


def spans(said: Sequence[Progress]) -> list[tuple[int, int]]:
    """What was found, and where."""
    return [(finding.start, finding.end) for progress in said for finding in progress.findings]


def test_each_open_match_is_cached_where_it_began() -> None:
    """Of several that are open in tokens which are cached, the one that is completed is found whole."""
    check = pattern("a.{3}b")
    for said in (["a", "a", "c", "c", "c"], ["a", "c", "a", "c", "c"]):
        answers(check, said)
    assert spans(answers(check, ["a", "a", "c", "c", "b"])) == [(0, 5)]
    assert spans(answers(check, ["a", "a", "c", "c", "cb"])) == [(1, 6)]
    assert spans(answers(check, ["a", "c", "a", "c", "b"])) == [(0, 5)]
    assert spans(answers(check, ["a", "c", "a", "c", "ccb"])) == [(2, 7)]


@pytest.mark.parametrize("source", ["ab", r"(?:ab)+\Z", r"a\b"])
def test_the_end_of_a_text_is_cached_without_its_last_token(source: str) -> None:
    """That a text may end in a state says nothing of one that brings more with its end, and the other way round."""
    check = pattern(source)
    expected = {end: spans(answers(pattern(source), ["c", " a"], end)) for end in ("", "b", "c")}
    for end in ("", "b", "c", "", "b"):
        assert spans(answers(check, ["c", " a"], end)) == expected[end]
    assert any(expected.values())


def test_going_back_over_cached_tokens() -> None:
    """Back where a word has begun, the rest of it is found, whatever was read meanwhile."""
    check = words("for bid den")
    for said in (["for", " bid", " den"], [".", ".", " den"]):
        answers(check, said)
    scan = check.open()
    scan.feed("for")
    scan.feed(" bid")
    begun = scan.save()
    scan.feed(" day")
    scan.feed(".")
    scan.restore(begun)
    assert [finding.start for finding in scan.feed(" den").findings + scan.feed("", final=True).findings] == [0]


def test_a_flood_after_what_is_cached() -> None:
    """Unseen characters are counted one by one, however many of them came in tokens that are known."""
    check = words("forbidden", fold=True)
    token = "\u200b" * (LONGEST - 1)
    for _ in range(2):
        scan = check.open()
        scan.feed("a")
        for _ in range(UNSEEN_LIMIT // len(token)):
            scan.feed(token)
        with pytest.raises(FloodError):
            scan.feed(token)


def test_tokens_that_were_read_once_are_not_read_again() -> None:
    """A second stream that says the same does not come to the automaton at all."""
    check = words("forbidden", fold=True)
    said = ["The", " quick", " brown", " fox", "."]
    first = answers(check, said)
    scan = check.open()
    assert [*map(scan.feed, said), scan.feed("", final=True)] == first
    assert isinstance(scan, CachingScan)
    assert scan._scan is None


def test_what_follows_cached_tokens_is_found() -> None:
    """A match that begins in tokens which are cached ends in one that is read, and the other way round."""
    check = words("for bid den")
    for said, found in (
        (["for", " bid", " day"], []),
        (["for", " bid", " den", "."], [(0, 11)]),
        (["a", " for", " bid", " day", " for", " bid", " den", "."], [(14, 25)]),
    ):
        assert spans(answers(check, said)) == found


def test_no_key_lies_across_something_irregular() -> None:
    """A match that is open over a reference waits with more characters than one over a sign of its own."""
    rule = MatchRule(Rule("p", "r", Action.REWRITE), "a.{8}b", fold=True)
    check, plain = (Matcher([compile_rule(rule)], max_cached=most) for most in (MAX_CACHED, 0))
    for first in ("a&amp;c", "a+c", "a&amp;c", "a+c"):
        said = [first, "1", "2", "3", "4", "5", "6", "7", "8"]
        assert answers(check, said) == answers(plain, said)


def test_marks_that_follow_a_hidden_letter_are_not_those_that_follow_another() -> None:
    """After a hidden letter a mark goes with it; after tokens that were cached it does not."""
    rule = MatchRule(Rule("p", "r", Action.REWRITE), "ab", fold=True)
    check, plain = (Matcher([compile_rule(rule)], max_cached=most) for most in (MAX_CACHED, 0))
    for said in (["ab", "", "c", "c", "c"], ["c", "c", "c"], ["ab", "", "c", "\u0301", "c"]):
        assert answers(check, said) == answers(plain, said)


def test_the_cache_is_bounded() -> None:
    """Random text, of which nothing comes twice, does not make the cache grow for ever."""
    rng = random.Random(5)
    check = Matcher([compile_rule(MatchRule(Rule("p", "r", Action.REWRITE), "a+b"))], max_cached=100)
    scan = check.open()
    for _ in range(2000):
        scan.feed("".join(rng.choices("abcdefgh", k=6)))
        assert len(check.cache) <= 101
        check.open().feed("".join(rng.choices("abcdefgh", k=4)))
    assert within_reach(check) <= 101


def within_reach(check: Matcher) -> int:
    """How many tokens are kept in states to which some text may still come from its beginning."""
    assert check.cache.start is not None
    known: dict[int, CachedState] = {}
    new = [check.cache.start]
    while new:
        state = new.pop()
        if id(state) not in known:
            known[id(state)] = state
            new += [after for after, _ in state.values()]
    return sum(map(len, known.values()))


def test_only_tokens_are_cached() -> None:
    """A text longer than any token is read, and nothing is kept of it."""
    check = words("forbidden")
    scan = check.open()
    scan.feed("x" * LONGEST)
    scan.feed("x" * LONGEST)
    known = len(check.cache)
    scan.feed("y" * (LONGEST + 1))
    scan.feed("z" * (LONGEST + 1))
    assert len(check.cache) == known


def test_matches_that_are_open_for_long_make_no_states() -> None:
    """Where a match began ever farther back no state comes twice, so none is kept."""
    check = Matcher([compile_rule(MatchRule(Rule("p", "r", Action.REWRITE), r"a\S+b", max_hold=256))])
    scan = check.open()
    scan.feed("a")
    for _ in range(MOST_OPEN * 4):
        scan.feed("c")
    assert len(check.cache) < MOST_OPEN * 3


@pytest.mark.parametrize("escaped", [False, True])
def test_a_letter_that_a_mark_would_change_is_kept_in_mind(escaped: bool) -> None:
    """A breve after a cached token makes another letter after the Cyrillic i, and is decoration after a Latin one."""
    rule = MatchRule(Rule("p", "r", Action.REWRITE), words=("\u0438", "a"), fold=True)
    check, plain = (Matcher([compile_rule(rule)], escaped, max_cached=cached) for cached in (MAX_CACHED, 0))
    for letter in ("\u0438", "a", "\u0438", "a", "\u0438"):
        for said in (["x ", letter, "\u0306", " "], ["x ", letter, " "], ["x ", letter, "\u0306 "]):
            assert answers(check, said) == answers(plain, said)
            changed = letter != "a" and "\u0306" in said[2]
            assert bool(spans(answers(check, said))) is not changed

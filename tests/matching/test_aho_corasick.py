"""Word lists: exactly `(?i)\\b(?:entry)\\b`, for any entry and text."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.types import Action, Rule
from proxy.matching.aho_corasick import MARK, AhoCorasick, WordList, entry_length, marked
from proxy.matching.compiled import compile_rule
from proxy.matching.engine import MatchPass
from proxy.matching.errors import PatternError
from proxy.matching.matcher import Matcher
from proxy.matching.rules import MatchRule
from tests import oracle
from tests.matching.strategies import examples

ALPHABET = "ab .+-_1kK\u212as\u017fi\u0130\u0131ιΙ\u0345éÉ\n"


def words_rule(*words: str, **options: object) -> MatchRule:
    """A rule with these words that only flags."""
    return MatchRule(Rule("p", "w", Action.FLAG), words=words, **options)  # type: ignore[arg-type]


def covered(rule: MatchRule, text: str, remembered: int = 200_000) -> set[int]:
    """The offsets that the rule covers."""
    scan = Matcher([compile_rule(rule)], max_transitions=remembered).open()
    return {i for f in scan.feed(text, final=True).findings for i in range(f.start, f.end)}


@examples(2500)
@given(st.integers(0, 1 << 60), st.sampled_from([200_000, 1, 3]))
def test_words_are_found_as_the_pattern_finds_them(seed: int, remembered: int) -> None:
    """Entries of letters, blanks and signs, in any case, with the characters whose case is special."""
    rng = random.Random(seed)
    few = rng.choices(ALPHABET, k=rng.randint(2, 6))
    words = ["".join(rng.choices(few, k=rng.randint(1, 4))) for _ in range(rng.randint(1, 5))]
    text = "".join(rng.choices(few, k=rng.randint(0, 12)))
    rule = words_rule(*words)
    assert covered(rule, text, remembered) == oracle.characters(oracle.matches(rule, text))


@pytest.mark.parametrize(
    ("word", "text", "there"),
    [
        ("cat", "cat", True), ("cat", "Cat!", True), ("cat", "cats", False), ("cat", "_cat", False),
        ("c++", "c++", False), ("c++", "c++x", True), (".net", "a.net", True), (".net", " .net", False),
        ("new york", "NEW YORK", True), ("new york", "new  york", False), ("kill", "\u212aill", True),
        ("straße", "STRAẞE", True), ("a\nb", "A\nB", True), ("ι", "x\u0345a", True), ("\u0345", "ι", True),
    ],
)  # fmt: skip
def test_a_word_is_whole_by_the_rule_of_the_boundary(word: str, text: str, there: bool) -> None:
    """A boundary stands at both ends of the entry, also of one that begins or ends with a sign."""
    assert bool(covered(words_rule(word), text)) is there
    assert bool(oracle.matches(words_rule(word), text)) is there


def test_two_rules_find_their_own_words_each() -> None:
    """An entry of several rules is found by each, and a longer one does not hide a shorter one of another rule."""
    first, second = words_rule("new york", "york"), words_rule("york", "york city")
    found = Matcher(map(compile_rule, (first, second))).open().feed("new york city", final=True).findings
    assert sorted((f.start, f.end, f.rule is first.rule) for f in found) == [(0, 8, True), (4, 13, False)]


def test_text_waits_for_hiding_rules_only() -> None:
    """The same words hold text back when they hide it, and not when they only flag."""
    hiding = MatchRule(Rule("p", "w", Action.REWRITE), words=("stop word",))
    scan = Matcher(map(compile_rule, (hiding, words_rule("stock")))).open()
    assert scan.feed("a sto").watermark == 2
    assert scan.feed("c").watermark == 6


def test_a_word_in_the_middle_of_a_longer_one_is_found() -> None:
    """Where the longer entry fails, or is another rule's, what ended within it still counts."""
    assert covered(words_rule("new york city", "york"), "new york cab") == {4, 5, 6, 7}
    first, second = words_rule("new york"), words_rule("york")
    found = Matcher(map(compile_rule, (first, second))).open().feed("new york", final=True).findings
    assert [(f.start, f.rule is first.rule) for f in found] == [(0, True), (4, False)]


def test_text_waits_for_a_word_that_begins_in_a_flag() -> None:
    """A longer entry that only flags does not hide the beginning of a hiding one."""
    hiding = MatchRule(Rule("p", "w", Action.REWRITE), words=("stop it",))
    assert Matcher(map(compile_rule, (hiding, words_rule("full stop")))).open().feed("full stop").watermark == 5


def test_very_long_words_and_many_iotas_are_found_too() -> None:
    """Entries that the list does not take are matched as patterns, with the same meaning."""
    long, greek = "x" * 300, "ιιιιιιι"
    rule = words_rule(long, greek, "short")
    assert len(covered(rule, f"short {long} {greek} {long}x")) == 5 + 300 + 7


@pytest.mark.parametrize(("words", "message"), [((), "empty"), (("a", ""), "empty word"), (("a\0b",), "NUL")])
def test_a_list_that_makes_no_sense_is_refused(words: tuple[str, ...], message: str) -> None:
    """No words, an empty word, or a word with the character that marks use."""
    with pytest.raises(PatternError, match=message):
        compile_rule(words_rule(*words))


def test_a_nul_in_the_text_is_a_character_like_others() -> None:
    """A mark cannot be forged by the text: NUL is no boundary and begins nothing."""
    assert covered(words_rule("ab"), "a\0b ab\0ab") == {4, 5, 7, 8}
    assert covered(words_rule(".x"), "\0.x a.x") == {5, 6}


def test_marks_stand_at_boundaries_and_at_both_ends() -> None:
    """An entry is as long as the text it matches, however many marks it has."""
    assert marked(["c+", "a b", "C+"]) == (f"{MARK}A{MARK} {MARK}B{MARK}", f"{MARK}C{MARK}+{MARK}")
    assert entry_length(f"{MARK}C{MARK}+{MARK}") == 2


def test_matchers_share_the_lists() -> None:
    """A matcher is made of compiled rules without copying their words."""
    rule = compile_rule(words_rule(*(f"word{n}" for n in range(100))))
    lists = [MatchPass([rule]).words for _ in range(2)]
    assert all(k is not None and k.root.ranges[0].words.entries is rule.entries for k in lists)


def test_the_cache_is_bounded_and_shared() -> None:
    """A flush forgets the states; a stream in the middle of a word goes on, and two streams do not mix."""
    keywords = AhoCorasick([WordList(0, marked(["abcd", "bcx"]), True)], max_transitions=3)
    one = two = keywords.start
    for char in "abc":
        one = one[char]
        two = two["x"]
    assert (one.live, two.live) == (3, 0)
    assert len(keywords.states) < 5
    assert one["d"][""].ends == ((0, 4),)

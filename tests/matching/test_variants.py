"""Spellings of words: which are seen, which are left alone, and that the patterns suit the engine."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.types import Action, Rule
from proxy.matching.folding import fold_text
from proxy.matching.matcher import Matcher, compile_rule
from proxy.matching.rules import MAX_HOLD, MatchRule
from proxy.matching.variants import FULL_LIST, expand, plan

LETTERS = st.text(string.ascii_lowercase, min_size=3, max_size=8)


def matcher(*words: str) -> Matcher:
    """Every spelling of the words, in the engine."""
    rules = [MatchRule(Rule("p", w, Action.REWRITE, i), pattern=expand(w), fold=True) for i, w in enumerate(words)]
    return Matcher(map(compile_rule, rules))


def found(word: str, text: str) -> list[str]:
    """What is hidden in a text that is read character by character."""
    scan = matcher(word).open()
    covered: set[int] = set()
    for i in range(len(text) + 1):
        for finding in scan.feed(text[i : i + 1], final=i == len(text)).findings:
            covered.update(range(finding.start, finding.end))
    marked = "".join(c if i in covered else "\uffff" for i, c in enumerate(text))
    return [part for part in marked.split("\uffff") if part]


@pytest.mark.parametrize(
    "spelling",
    [
        *("bomb", "BOMB", "Bomb", "ｂｏｍｂ", "b\u200bomb", "bоmb"),  # what the fold sees
        *("b0mb", "8omb", "8om&#98;", "b&#x6f;mb", "b&shy;omb"),  # digits and references
        *("b o m b", "B O M B", "b.o.m.b", "b-o-m-b", "b_o_m_b", "b - o - m - b", "b\no\nm\nb", "b·o·m·b", "b 0 m b"),
        *("**b**omb", "b*o*mb", "bo**m**b", "`b`omb", "~~b~~omb", "[b]omb", "b\\omb", "b[om]b"),
        *("<b>b</b>omb", "b<i>o</i>mb", "b<wbr>omb", "<b>b</b><i>o</i>mb", "b\0omb", "b**0**mb"),
        *("_bomb_", "__bomb__", "*bomb*", '"bomb"', "bomb's"),
    ],
)
def test_a_spelling_that_reads_as_the_word_is_hidden(spelling: str) -> None:
    """The whole spelling is covered, alone and inside a sentence."""
    for text in (spelling, f"the {spelling} here"):
        (hidden,) = found("bomb", text)
        assert re.fullmatch(r"(?:the )?(?:<b>|\W|_)*(?:s)?(?: here)?", text.replace(hidden, ""))


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("shit", "this hit, as hit; push it; sh it; s hit; shi t"),
        ("bomb", "80mb of 8 omb, 80 mb, 8.0mb, bom b, b omb, bo mb, b-omb, abomb, bombs, bomb1, 1bomb"),
        ("dead", "the notes D, E, A, D and D; E; A; D"),
        ("less", "1e55, l3, 1 e 5 5, 1355"),
        ("zoom", "200m 2 0 0 m"),
        ("boss", "8055, b, o, s, s"),
        ("nodes", "node5 node$ node 5"),
        ("taxi", "pay the tax! tax1 tax|"),
        ("bill", "B111 8111 811l"),
        ("sex", "se x, s-ex, 53x, 5ex, $ex, se><x, s, e, x, sexes, s  e  x"),
        ("ass", "a55, a$$, a 5 5, a, s, s, as s, a ss"),
        ("lion", "lio|n l i o nn"),
        ("setup", "set_up set up set-up set(up) set|up set.up set/up"),
        ("user name", "username usernames user: the name"),
        ("ok", "0k o.k o k o**k**"),
        ("1337", "1 3 3 7 1.3.3.7 13**37** leet l337"),
        ("project zorblax", "projectzorblax project. A zorblax project ..... zorblax project 2orblax"),
    ],
)
def test_ordinary_text_is_left_alone(word: str, text: str) -> None:
    """Neighbouring words, numbers, units, identifiers, lists and single breaks are no spellings of the word."""
    assert found(word, text) == []


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("sex", "s3x"),
        ("sex", "s-e-x"),
        ("sex", "s<b>e</b>x"),
        ("pass", "pa55"),
        ("pass", "pa$$"),
        ("attack", "4ttack"),
        ("attack", "@tt@ck"),
        ("shit", "$h!t"),
        ("kill", "k!|l"),
        ("project zorblax", "Project  Zorblax"),
        ("project zorblax", "project-z0rblax"),
        ("project zorblax", "p r o j e c t   z o r b l a x"),
        ("project zorblax", "pr**o**ject <b>zorblax"),
        ("project\tzorblax", "project\n> zorblax"),
        ("c-4", "C—4"),
        ("f.b.i", "f. b. i"),
        ("covid19", "c0vid19"),
        ("c++", "C++"),
        (".onion", "x.onion"),
        ("Straße", "STRASSE"),
        ("Größe", "grosse"),
        ("ναι", "ΝΑΙ"),
        ("ВОТ", "вот"),
        ("炸弹", "造炸弹的"),
        ("炸弹", "炸*弹"),
        ("폭탄", "폭탄을"),
        ("ระเบิด", "วางระเบิดที่"),
        ("🍆", "x🍆"),
        ("ok", "OK"),
        ("1337", "1337"),
        ("  padded  ", "padded"),
    ],
)
def test_other_words_and_their_spellings_are_found(word: str, text: str) -> None:
    """Phrases, signs, digits, other scripts, and words too short for variants."""
    assert len(found(word, f"({text})")) == 1


def test_a_syllable_is_not_found_in_a_longer_one() -> None:
    """Hangul syllables fold to their letters, of which another syllable may have one more."""
    assert found("가", "각") == []
    assert found("가", "가") == ["가"]
    assert found("각", "각") == ["각"]


@pytest.mark.parametrize("word", ["", " ", "\u200b", "\u00ad\u0301"])
def test_a_word_that_cannot_be_seen_is_refused(word: str) -> None:
    """The error shows the word."""
    with pytest.raises(ValueError, match="can be seen"):
        expand(word)


@given(LETTERS)
def test_the_pattern_is_small_and_finds_the_word_alone(word: str) -> None:
    """Every word's pattern compiles, finds the word, and finds nothing in the word with a letter before or after."""
    pattern = expand(word)
    assert re.fullmatch(pattern, word)
    assert not re.search(pattern, f"x{word}")
    assert not re.search(pattern, f"{word}x")
    compiled = compile_rule(MatchRule(Rule("p", "w", Action.REWRITE), pattern=pattern, fold=True))
    assert compiled.holds <= MAX_HOLD
    assert len(compiled.sets) <= 40


@given(LETTERS, st.lists(st.sampled_from([*" .-_*`[]\\<>/!|08135$@+,", "<b>", "</b>", "\n"]), min_size=9, max_size=9))
def test_no_number_or_punctuation_alone_is_a_word(word: str, signs: list[str]) -> None:
    """Whatever stands in for letters, at least one letter of the word has to be there."""
    assert not re.search(expand(word), "".join(s for s in signs if not s.isalpha() and "b" not in s))


@given(
    st.lists(st.sampled_from(["shit", "sex", "a bc", "abba"]), min_size=1, max_size=2, unique=True),
    st.lists(st.sampled_from([*"shitexabc", *" .,*_<>b/0154$!", "\u200b", "ß", "&#98;"]), max_size=14).map("".join),
)
def test_the_engine_finds_what_python_re_finds(words: list[str], text: str) -> None:
    """On the folded text, what is covered is the same."""
    scan = matcher(*words).open()
    hidden = {i for f in scan.feed(text, final=True).findings if not f.extends for i in range(f.start, f.end)}
    for word in words:
        plain = fold_text(text.replace("&#98;", "b"))
        assert bool(re.search(expand(word), plain)) <= bool(hidden)
    if not any(re.search(expand(word), fold_text(text.replace("&#98;", "b"))) for word in words):
        assert not hidden


def test_a_short_list_is_expanded_and_a_long_one_is_not() -> None:
    """Up to the limit every word is a pattern; above, words are folded keywords where that is the same."""
    short = plan(["Bomb", "bomb", "kill"])
    assert short.patterns == (expand("bomb"), expand("kill"))
    assert short.keywords == ()
    letters = string.ascii_lowercase
    many = [a + b + "ßx" for a in letters for b in letters][: FULL_LIST + 1]
    long = plan([*many, "Ünïcode", "ναι", "炸弹", "c++"])
    assert len(long.keywords) == len(many) + 1
    assert "aassx" in long.keywords
    assert "unicode" in long.keywords
    assert long.patterns == (expand("ναι"), expand("炸弹"), expand("c++"))

"""Spellings of words: which are seen, which are left alone, and that the patterns suit the engine."""

from __future__ import annotations

import random
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.types import Action, Rule
from proxy.matching.errors import PatternError
from proxy.matching.folding import parts
from proxy.matching.foldsymbols import LEET
from proxy.matching.matcher import Matcher, compile_rule
from proxy.matching.rules import MatchRule
from tests import laws
from tests.matching.spelled import expand
from tests.matching.strategies import CUTS, examples
from tests.matching.viewing import Unit, folded, spans

LETTERS = st.text(string.ascii_lowercase, min_size=3, max_size=8)


def matcher(*words: str) -> Matcher:
    """Every spelling of the words, in the engine."""
    rules = [MatchRule(Rule("p", w, Action.REWRITE, i), words=(w,), fold=True) for i, w in enumerate(words)]
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


@pytest.mark.parametrize("word", [" ", "\u200b", "\u00ad\u0301"])
def test_a_word_that_cannot_be_seen_is_refused(word: str) -> None:
    """The error shows the word."""
    with pytest.raises(PatternError, match="can be seen"):
        matcher(word)


@pytest.mark.parametrize("word", ["a\x01b", "\ufdd0"])
def test_a_word_with_a_character_that_is_none_is_refused(word: str) -> None:
    """Those that the list's symbols are made of."""
    with pytest.raises(PatternError, match="no character"):
        matcher(word)


def test_a_word_that_can_be_read_in_too_many_ways_is_refused() -> None:
    """The bound is named: Greek letters with an iota below have more letters in capitals."""
    with pytest.raises(PatternError, match="at most 64"):
        matcher("\u1fb3" * 7)
    assert found("\u1fb3\u1fb3", "\u1fbc\u1fbc")


SPELLED = st.lists(
    st.sampled_from(
        ["shit", "sex", "a bc", "abba", "f.b.i", "炸弹", "x炸", "ναι", "c++", "हिन्दी", "1337", "パン", "й"]
    ),
    min_size=1,
    max_size=3,
    unique=True,
)
PIECES = [
    *"shitexabcfi",
    *" .,*_<>b/0154$!|+",
    "\n\n",
    "炸",
    "弹",
    "ν",
    "Α",
    "ι",
    "ह",
    "ि",
    "न",
    "्",
    "द",
    "ी",
    "パ",
    "\u309a",
]
PIECES += ["ハ", "ン", "и", "\u0306", "й", "ß", "\u0301", "</b>"]
SEEDS = st.integers(0, 1 << 60)


@examples(2000)
@given(SEEDS, SPELLED, CUTS, st.sampled_from([200_000, 1, 3]))
def test_words_are_found_as_the_slow_pattern_finds_them(
    seed: int, words: list[str], cuts: int, remembered: int
) -> None:
    """On the folded text, every span of every spelling, in every script, however the text is cut."""
    rng = random.Random(seed)
    text = (
        disguised(rng.choice(words), rng) if rng.random() < 0.7 else "".join(rng.choices(PIECES, k=rng.randint(0, 10)))
    )
    text = rng.choice(["", " ", "a", "ह", "_"]) + text + rng.choice(["", " ", "s", "ी", "_", "!"])
    rule = MatchRule(Rule("p", "w", Action.REWRITE), words=tuple(words), fold=True)
    found = laws.findings(laws.check_laws(Matcher([compile_rule(rule)], max_transitions=remembered), text, cuts))
    units = folded(text)
    view = decomposed(units)
    owner = [i for i, (_, _, part) in enumerate(view) for _ in part]
    seen = "".join(part for _, _, part in view)
    spans_seen = [(s, e) for word in words for s, e in spans(expand(word), seen)]
    want = {at for s, e in spans_seen for i in range(owner[s], owner[e - 1] + 1) for at in range(*view[i][:2])}
    unseen = {at for i, (start, end, part) in enumerate(view) if not part for at in range(start, end)}
    assert laws.covered(found, rule.rule) - unseen == want - unseen


def disguised(word: str, rng: random.Random) -> str:
    """A word with things put between and in place of its letters, mostly such as may stand there."""
    between = rng.choice(["", "", " ", ".", "**", "<b>", "  ", "_", ", ", "- -"])
    out = ""
    for char in word:
        if char in " ." and rng.random() < 0.5:
            char = rng.choice(["  ", "\n\n", "-", "<b> ", " </b>", ", ", "......", " " * 8])
        elif rng.random() < 0.25:
            char = rng.choice(LEET.get(char, char) + char.upper())
        out += char + (between if rng.random() < 0.9 else rng.choice(PIECES))
    return rng.choice(["", "_"]) + out[: len(out) - len(between)]


def decomposed(units: list[Unit]) -> list[Unit]:
    """The folded view with letters and marks apart, as the slow pattern reads it."""
    return [(start, end, "".join(parts(char) for char in part)) for start, end, part in units]


@given(LETTERS)
def test_a_word_is_found_alone(word: str) -> None:
    """The word is found, and not with a letter before or after it; the slow pattern says the same."""
    pattern = expand(word)
    assert re.fullmatch(pattern, word)
    assert not re.search(pattern, f"x{word}")
    assert not re.search(pattern, f"{word}x")
    assert found(word, f"x{word} {word} {word}x") == [word]


@given(LETTERS, st.lists(st.sampled_from([*" .-_*`[]\\<>/!|08135$@+,", "<b>", "</b>", "\n"]), min_size=9, max_size=9))
def test_no_number_or_punctuation_alone_is_a_word(word: str, signs: list[str]) -> None:
    """Whatever stands in for letters, at least one letter of the word has to be there."""
    assert not re.search(expand(word), "".join(s for s in signs if not s.isalpha() and "b" not in s))


@pytest.mark.parametrize("count", [1, 10, 200, 256, 1000, 20_000])
@pytest.mark.parametrize(
    "text", ["a c m e b i r d", "acm3bird", "**a**cmebird", "аcmebird", "a-c-m-e-b-i-r-d", "_acmebird_"]
)
def test_a_list_of_any_length_sees_the_same(count: int, text: str) -> None:
    """Spelled letters, digits and markup, whatever else stands in the list."""
    rng = random.Random(1)
    listed = {"".join(rng.choices(string.ascii_lowercase, k=9)) for _ in range(count - 1)} | {"acmebird"}
    check = Matcher([compile_rule(MatchRule(Rule("p", "w", Action.REWRITE), words=tuple(sorted(listed)), fold=True))])
    (start,) = (f.start for f in check.open().feed(f"the {text} here", final=True).findings if not f.extends)
    assert start in (4, 6)


def test_white_space_between_words_may_be_a_blank_line() -> None:
    """Up to eight characters of it, and up to five of anything that is no letter."""
    for gap in ("\n\n", " " * 8, "\r\n\r\n", " - ", ".....", "</b> <i>"):
        assert len(found("blue heron", f"a blue{gap}heron.")) == 1
    for gap in (" " * 9, "......", "   - -", "xx"):
        assert not found("blue heron", f"a blue{gap}heron.")

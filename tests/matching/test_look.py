"""The quick look: with it everything is found, and everything waits, exactly as without it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.check import skim
from proxy.core.types import Action, Rule
from proxy.matching import factors, literalsearch, look, scan, transition_cache
from proxy.matching.compiled import CompiledRule, compile_rule
from proxy.matching.edges import joining
from proxy.matching.matcher import Matcher
from proxy.matching.rules import MatchRule
from proxy.matching.scan import MatchPass
from tests import laws
from tests.matching import strategies as some
from tests.matching.strategies import BLOCK, CASES, CUTS, HIDE, Made

pytest.importorskip("ahocorasick_rs", reason="there is no quick look without it")


@pytest.fixture(autouse=True, scope="module")
def everything_is_looked_at() -> Iterator[None]:
    """Also short texts, for factors that tell little."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "LONG", 1)
        patch.setattr(transition_cache, "LONG", 1)
        patch.setattr(scan, "STEP", 1)
        patch.setattr(scan, "LOOKS_OFF", 0)
        patch.setattr(factors, "LEAST_SCORE", -100.0)
        look.traces_of_pattern.cache_clear()
        yield
        look.traces_of_pattern.cache_clear()


def quick(rules: Sequence[CompiledRule], escaped: bool = False) -> Matcher:
    """A matcher with its quick looks, where there can be any."""
    check = Matcher(rules, escaped)
    check.prepare()
    return check


def agree(rules: Sequence[CompiledRule], chunks: Sequence[str], skims: int, escaped: bool = False) -> None:
    """Feed for feed, and where nobody asks what waits: the same findings, and after that the same watermarks."""
    exact, read = Matcher(rules, escaped).open(), quick(rules, escaped).open()
    for i, chunk in enumerate((*chunks, "", "")):
        final = i > len(chunks)
        mark, found, _ = exact.feed(chunk, final)
        if skims >> i & 1 and i < len(chunks):
            low, others, _ = skim(read, chunk)
            assert low <= mark
        else:
            low, others, _ = read.feed(chunk, final)
            assert low == mark
        assert others == found
        if any(map(laws.blocking, found)):
            return


def scattered(rng: random.Random, alphabet: Sequence[str], filler: str, most: int = 6) -> str:
    """Short pieces of an alphabet, far apart and close together."""
    out = []
    for _ in range(rng.randint(1, most)):
        out.append("".join(rng.choices(alphabet, k=rng.randint(0, 6))))
        out.append("".join(rng.choices(filler, k=rng.choice((0, 1, 30, 80)))))
    return "".join(out)


SEEDS = st.integers(0, 1 << 60)


@some.examples(3000)
@given(some.rules(some.mixed, HIDE), SEEDS, CUTS, CUTS)
def test_what_hides_is_found_alike(made: list[Made], seed: int, cuts: int, skims: int) -> None:
    """Patterns, words, validators, shortest, max_hold and flags together."""
    rng = random.Random(seed)
    text = scattered(rng, CASES, rng.choice((". ", "b", "  ", "a1", "zé")))
    agree([compiled for _, compiled in made], laws.cut(text, cuts << rng.randint(0, 40)), skims)


@some.examples(2000)
@given(some.rules(some.mixed, BLOCK), SEEDS, CUTS, CUTS)
def test_what_blocks_is_found_alike(made: list[Made], seed: int, cuts: int, skims: int) -> None:
    """The same finding, with the same text let out before it."""
    rng = random.Random(seed)
    text = scattered(rng, CASES, rng.choice((". ", "b", "  ", "a1", "zé")))
    agree([compiled for _, compiled in made], laws.cut(text, cuts << rng.randint(0, 40)), skims)


@some.examples(2000)
@given(some.rules(some.late, BLOCK), SEEDS, CUTS, CUTS)
def test_what_waits_too_long_is_treated_alike(made: list[Made], seed: int, cuts: int, skims: int) -> None:
    """It is let go, covered, or blocks."""
    rng = random.Random(seed)
    text = scattered(rng, "ab1", rng.choice((". ", "b", "  ", "a1", "zé")))
    agree([compiled for _, compiled in made], laws.cut(text, cuts << rng.randint(0, 40)), skims)


@some.examples(1500)
@given(some.rules(some.mixed, HIDE, fold=True), SEEDS, CUTS, CUTS, st.booleans())
def test_two_views_are_looked_at_alike(made: list[Made], seed: int, cuts: int, skims: int, escaped: bool) -> None:
    """Rules with and without `fold`, in text as it is and in JSON source, with references and escapes."""
    rng = random.Random(seed)
    text = scattered(rng, WRITTEN, rng.choice((". ", "b", "é ", "…")))
    agree([compiled for _, compiled in made], laws.cut(text, cuts << rng.randint(0, 40)), skims, escaped)


ALPHABETS = (
    "ab .+-_1kK\u212as\u017fi\u0130\u0131ιΙ\u0345éÉ\n",
    "a \u0301\u200d\u200c\u2060b.",
    "ab \t\n\u2003",
    "हिन्दीकर \u093ca\u200d",
    "机密项a1 .ー\ufe0f",
    "ไลับมากเา a",
    "σΣς µΜμ٣3\u00a0",
    "+.❤🍆\ufe0fa ",
)


@some.examples(3000)
@given(SEEDS, st.sampled_from(ALPHABETS), CUTS, CUTS, st.sampled_from([Action.FLAG, Action.REWRITE, Action.BLOCK]))
def test_lists_are_found_alike(seed: int, alphabet: str, cuts: int, skims: int, action: Action) -> None:
    """Entries of letters, marks, white space and signs of all kinds of scripts."""
    rng = random.Random(seed)
    few = "".join(rng.choices(alphabet, k=rng.randint(2, 6)))
    words = ["".join(rng.choices(few, k=rng.randint(1, 5))) for _ in range(rng.randint(1, 5))]
    words = [word for word in words if word.strip()] or ["a"]
    rule = compile_rule(MatchRule(Rule("p", "w", action), words=tuple(words)))
    agree([rule], laws.cut(scattered(rng, few, rng.choice((". ", few, " "))), cuts << rng.randint(0, 40)), skims)


@some.examples(600)
@given(SEEDS, CUTS, CUTS, st.booleans(), st.booleans())
def test_long_lists_are_found_alike(seed: int, cuts: int, skims: int, fold: bool, split: bool) -> None:
    """Their searches are their own, and of many parts."""
    rng = random.Random(seed)
    words = tuple({" ".join(rng.choices(("ab", "ba", "a-b", "aab"), k=rng.randint(1, 3))) for _ in range(4)})
    rule = compile_rule(MatchRule(Rule("p", "w", Action.REWRITE), words=words, fold=fold))
    text = "".join(rng.choices(("ab", "ba", " ", "  ", "-", "aab", ". " * 80, "b"), k=rng.randint(1, 16)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(look, "LONG_LIST", 1)
        patch.setattr(literalsearch, "MOST_AT_ONCE", 1 if split else 4)
        agree([rule], laws.cut(text, cuts << rng.randint(0, 60)), skims)
    assert len(rule.words.searches) > 0 if rule.words is not None else False


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"pattern": r"[^\s@]{20}@"}, "ab" * 10 + "@"),
        ({"pattern": "[ab]{20}@[ab]{3,}!"}, "ab" * 10 + "@" + "a" * 90 + "!"),
        ({"pattern": r"\d{4}-\d{4}"}, "\u0663" * 4 + "-" + "\u096a" * 4),
        ({"pattern": r"(?i)assassin\s{3}"}, "A\u017f\u017faSsin\u00a0\u3000 "),
        ({"pattern": "abcdefgh|[x]{40}fghij"}, "x" * 40 + "fghij"),
        ({"words": ("a b c d e f g h",)}, (" " * 8).join("abcdefgh")),
        ({"words": ("bassist",), "fold": True}, "b a $ s i s t"),
        ({"words": ("bassist",), "fold": True}, "b.@.$.s.1.s.t"),
        ({"words": ("bassist",), "fold": True}, "ba<b>s</b>*" + "*" * 90 + "si$t"),
        ({"words": ("bassist at work",), "fold": True}, "b4ssist <b>at work"),
    ],
)
def test_a_match_is_read_from_its_beginning(options: dict[str, Any], match: str) -> None:
    """However far before it what was found, and however it is written."""
    rule = compile_rule(MatchRule(Rule("p", "w", Action.REWRITE), **options))
    assert look.look_for([rule]) is not None
    for before in (". " * 200, "é. " * 200, "z" * 300 + " "):
        for skims in (0, 1):
            agree([rule], [before + match + " ." * 200], skims)
            agree([rule], [before + match[:-1], match[-1:] + " ." * 200], skims)
        (found,) = quick([rule]).open().feed(before + match + " ." * 200, final=True).findings[:1]
        assert (found.start, found.end) == (len(before), len(before + match))


def test_without_the_library_every_text_is_read() -> None:
    """There is no quick look, and the same is found."""
    rule = compile_rule(MatchRule(Rule("p", "w", Action.REWRITE), words=("bomb",)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(look, "AVAILABLE", False)
        assert look.look_for([rule]) is None
        check = quick([rule])
    (found,) = skim(check.open(), "a bomb " + "and so on " * 400).findings
    assert (found.start, found.end) == (2, 6)


def test_a_look_that_leaves_nothing_out_is_not_taken_again_at_once() -> None:
    """A log of nothing but numbers is read, and every so often it is seen whether that has changed."""
    looks: list[str] = []
    check = quick([compile_rule(MatchRule(Rule("p", "d", Action.REWRITE), r"\d{4}-\d{4}"))])
    (program,) = [inner for _, inner in check._passes]
    assert isinstance(program, MatchPass)
    assert program.look is not None
    hits = program.look.hits
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "LOOKS_OFF", 3)
        patch.setattr(program.look, "hits", lambda text: (looks.append(text), hits(text))[1])  # type: ignore[func-returns-value]
        reading = check.open()
        found = [len(skim(reading, f"{n} {n}-{n} " * 99).findings) for n in range(1000, 1010)]
    assert found == [99] * 10
    assert [text[:4] for text in looks] == ["1000", "1004", "1008"]


def test_a_long_text_is_not_read_where_nothing_can_match() -> None:
    """The automaton has seen nothing of it: it knows no state but that at the beginning of a text."""
    check = quick([compile_rule(MatchRule(Rule("p", "w", Action.REWRITE), words=("bomb",)))])
    assert not skim(check.open(), "and so on " * 4000).findings
    (program,) = [inner for _, inner in check._passes]
    assert isinstance(program, MatchPass)
    assert program.dfa.transitions == 0


SPELLED = [*"bom 0@!|$1l*_.-`[]<>/\\é中", "<b>", "</b>", "**", " b o m ", "b.0.m.b", "$$", "b@mb", "bomb", " mob ", "+"]
WRITTEN = (*"ab1 é\u0301ﬁ\u200b…", "&amp;", "&#97;", "\\u0061", "&")
LISTS = (
    "bomb",
    "mob",
    "bo mb",
    "b-omb",
    "ab",
    "boom",
    "lobb",
    "bassist",
    "класс",
    "bomбa",
    "中bomb",
    "o b",
    "b",
    "böm",
)


@some.examples(4000)
@given(SEEDS, CUTS, CUTS, st.sampled_from([Action.FLAG, Action.REWRITE, Action.BLOCK]))
def test_spellings_are_found_alike(seed: int, cuts: int, skims: int, action: Action) -> None:
    """Leet, letters apart, markup and tags between letters, low lines; in words of an entry and between them."""
    rng = random.Random(seed)
    words = tuple(rng.sample(LISTS, rng.randint(1, 3)))
    rule = compile_rule(MatchRule(Rule("p", "w", action), words=words, fold=True))
    text = "".join(
        rng.choice(
            (*SPELLED, spelled(rng, rng.choice(words)), spelled(rng, rng.choice(words)), "z. " * rng.choice((1, 90)))
        )
        for _ in range(rng.randint(1, 14))
    )
    agree([rule], laws.cut(text, cuts << rng.randint(0, 200)), skims)


def spelled(rng: random.Random, word: str) -> str:
    """A word as somebody would hide it, or nearly."""
    leet = {"a": "4@", "b": "8", "i": "1!|", "l": "1|", "o": "0", "s": "5$"}
    letters = [rng.choice(leet.get(c, c)) if rng.random() < 0.3 else c for c in word]
    between = rng.choice(
        (("",), ("",), ("", "*"), ("", "**", "`"), (" ",), (".", " "), ("<b>", ""), ("</i>", "<b>", ""), (" - ",))
    )
    joined = "".join(letter + rng.choice(between) for letter in letters[:-1]) + letters[-1]
    return rng.choice((" ", "_", "(", "", "\n")) + joined + rng.choice((" ", "_", ".", "", "!"))


def test_a_folded_list_of_ascii_words_has_a_quick_look() -> None:
    """Also where other scripts stand beside them in an entry."""
    for words in (LISTS[:8], ("中bomb",)):
        rule = compile_rule(MatchRule(Rule("p", "w", Action.FLAG), words=words, fold=True))
        assert look.look_for([rule]) is not None


def test_letters_join_alike_in_any_case() -> None:
    """Words are searched for in one case, and parted by what joins no letters: both have to be the same in any case."""
    for char in map(chr, range(0x34000)):
        image = factors.PLAIN.image(char)
        if image not in (" ", "0") and ord(char) != 0x345:
            assert joining().has(ord(char)) is joining().has(ord(image)), hex(ord(char))

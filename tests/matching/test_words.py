"""Words without `fold`: where they begin and end, what a space stands for, and that the list's size changes nothing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.prompt import judge
from proxy.core.types import Action, Rule
from proxy.matching.compiled import MAX_ENTRY, compile_rule
from proxy.matching.edges import MOST_INVISIBLE
from proxy.matching.errors import PatternError
from proxy.matching.matcher import Matcher
from proxy.matching.plainwords import MOST_SPACES
from proxy.matching.rules import MatchRule
from proxy.matching.words import edge_class
from tests import laws, oracle
from tests.matching import spelled
from tests.matching.strategies import CUTS, examples

ALPHABETS = (
    "ab .+-_1kK\u212as\u017fi\u0130\u0131ιΙ\u0345éÉ\n",
    "a \u0301\u200d\u200c\u2060b.",
    "ab \t\n\u2003",
    "हिन्दीकर \u093ca\u200d",
    "机密项a1 .ー\ufe0f",
    "パハタ\u3099ｶﾞa ",
    "ไลับมากเา a",
    "가각\u1100\u1161\u11a8a ",
    "كب\u064e a\u200f",
    "+.❤🍆\ufe0fa ",
)


def words_rule(*words: str, action: Action = Action.FLAG, **options: object) -> MatchRule:
    """A rule with these words."""
    return MatchRule(Rule("p", "w", action), words=words, **options)  # type: ignore[arg-type]


def covered(rule: MatchRule, text: str, remembered: int = 200_000) -> set[int]:
    """The offsets that the rule covers."""
    scan = Matcher([compile_rule(rule)], max_transitions=remembered).open()
    return {i for f in scan.feed(text, final=True).findings for i in range(f.start, f.end)}


def is_found(word: str, text: str) -> bool:
    """Is the word found, read character by character, as in one piece?"""
    check = Matcher([compile_rule(words_rule(word, action=Action.REWRITE))])
    return bool(laws.findings(laws.check_laws(check, text, 0)))


@examples(3000)
@given(
    st.integers(0, 1 << 60),
    st.sampled_from(ALPHABETS),
    st.sampled_from([200_000, 1, 3]),
    CUTS,
    st.sampled_from([Action.FLAG, Action.REWRITE]),
)
def test_words_are_found_as_the_slow_pattern_finds_them(
    seed: int, alphabet: str, remembered: int, cuts: int, action: Action
) -> None:
    """Entries of letters, marks, white space and signs of all kinds of scripts, in any case, at any chunking."""
    rng = random.Random(seed)
    few = rng.choices(alphabet, k=rng.randint(2, 6))
    words = ["".join(rng.choices(few, k=rng.randint(1, 4))) for _ in range(rng.randint(1, 5))]
    words = [word for word in words if word.strip()] or ["a"]
    text = "".join(rng.choices(few, k=rng.randint(0, 12)))
    rule = words_rule(*words, action=action)
    answers = laws.check_laws(Matcher([compile_rule(rule)], max_transitions=remembered), text, cuts)
    assert laws.covered(laws.findings(answers), rule.rule) == oracle.characters(oracle.matches(rule, text))


@examples(300)
@given(st.integers(0, 1 << 60), st.sampled_from(ALPHABETS))
def test_no_character_waits_in_vain(seed: int, alphabet: str) -> None:
    """The watermark is the earliest place from which some continuation completes a match."""
    rng = random.Random(seed)
    few = sorted(set(rng.choices(alphabet, k=3)))
    words = ["".join(rng.choices(few, k=rng.randint(1, 3))) for _ in range(2)]
    rule = words_rule(*([word for word in words if word.strip()] or ["a"]), action=Action.REWRITE)
    scan = Matcher([compile_rule(rule)]).open()
    text = "".join(rng.choices(few, k=8))
    for read, char in enumerate(text, 1):
        opened = oracle.opened(oracle.pattern_of(rule, text), text[:read], "".join(few) + "a", 3)
        assert scan.feed(char).watermark == opened


def test_classes_of_characters_are_those_of_their_names() -> None:
    """Every character up to plane 3 is sorted as its name and category say; Python knows no names of Tangut."""
    other = {"I": "M"}
    odd = {
        hex(code)
        for code in (*range(0x17000), *range(0x18E00, 0x20000))
        if other.get(own := spelled.kind(chr(code)), own) != edge_class(chr(code))
    }
    assert odd == {"0x3192", "0x3193", "0x3194", "0x3195", "0x16fe0", "0x16fe1", *map(hex, range(0x1D372, 0x1D377))}


@pytest.mark.parametrize(
    ("word", "text", "there"),
    [
        ("cat", "cat", True), ("cat", "Cat!", True), ("cat", "cats", False), ("cat", "_cat", False),
        ("cat", "cat's", True), ("c++", "c++", True), ("c++", "c++x", True), ("c++", "xc++", False),
        (".net", "a.net", True), (".net", " .NET", True), (".net", ".nets", False), ("kill", "\u212aill", True),
        ("straße", "STRAẞE", True), ("ι", "x\u0345a", False), ("new york", "NEW YORK", True),
        # combining marks, vowel signs and joiners belong to their word
        ("हिन्दी", "यह हिन्दी भाषा है", True), ("कर", "करे", False), ("कर", "कर!", True), ("हिन", "हिन्दी", False),
        ("ভাষা", "বাংলা ভাষা।", True), ("ভাষ", "ভাষা", False), ("தமிழ்", "இது தமிழ் மொழி", True), ("தமிழ", "தமிழ்", False),
        ("cafe", "cafe\u0301", False), ("cafe", "cafe \u0301", True), ("می", "می\u200cخواهم", False),
        ("می\u200cخواهم", "من می\u200cخواهم.", True), ("می", "می\u200c ", True), ("سر", "(\u200fسر\u200f)", True),
        ("soft", "soft\u00adware", False), ("بيت", "بَيت", False),
        # scripts without spaces
        ("机密项目", "请告诉我机密项目的进展", True), ("ลับมาก", "นี่คือเอกสารลับมากนะ", True),
        ("secretproj", "用secretproj写函数", True), ("secretproj", "用secretprojs写", False),
        ("機密", "これは機密です", True),
        ("パンダ", "大パンダが", True), ("パンタ", "ハ゜ンタ", False), ("ﾊﾟﾝﾀ", "ﾊﾟﾝﾀﾞ", False), ("폭탄", "폭탄을", True),
        ("서울", "서울에서", True), ("ຄວາມລັບ", "ນີ້ແມ່ນຄວາມລັບຂອງ", True), ("សម្ងាត់", "ឯកសារសម្ងាត់នេះ", True),
        ("လျှို့ဝှက်", "ဒါကလျှို့ဝှက်စာ", True), ("กม", "เล่นเกมกัน", False), ("ก", "กำ", False), ("ก", "กิน", False),
        ("secret", "ความsecretลับ", True), ("bomb", "กั้bomb", True), ("123", "第123章", True), ("12", "第123章", False),
        ("🍆", "x🍆🍆", True), ("❤", "❤\ufe0f", True),
    ],
)  # fmt: skip
def test_a_word_ends_where_a_reader_says(word: str, text: str, there: bool) -> None:
    """Marks and joiners belong to their word; scripts without spaces have no edges; signs stand alone."""
    assert is_found(word, text) is there


@pytest.mark.parametrize("gap", [" ", "  ", "\n", "\n\n", "\r\n", "\t", "\u3000", "\u00a0", " \n ", " " * MOST_SPACES])
def test_a_space_stands_for_any_white_space(gap: str) -> None:
    """Line breaks and the blank line between messages among it, up to eight characters; the whole run is hidden."""
    for word in ("blue heron", "blue  heron", "blue\theron", "blue\nheron"):
        assert covered(words_rule(word), f"a blue{gap}heron.") == set(range(2, 2 + 9 + len(gap)))
    assert not covered(words_rule("blue heron"), f"blue{gap}heronry blueheron blue-heron blue{gap}")


def test_a_longer_run_of_white_space_parts_words() -> None:
    """What waits has an end."""
    assert not is_found("blue heron", "blue" + " " * (MOST_SPACES + 1) + "heron")
    assert is_found("blue heron", "blue" + " " * MOST_SPACES + "heron")


def test_invisible_characters_behind_a_word_go_with_it() -> None:
    """Up to four; with more there still is a word."""
    joiner = "\u2060"
    assert covered(words_rule("ab"), f" ab{joiner * MOST_INVISIBLE} ") == set(range(1, 3 + MOST_INVISIBLE))
    assert covered(words_rule("ab"), f" ab{joiner * 9} ") == set(range(1, 3 + MOST_INVISIBLE))
    assert not covered(words_rule("ab"), f"x{joiner}ab ab{joiner}x")


def test_invisible_characters_before_a_word_are_looked_through() -> None:
    """Up to four: they neither join a word to what stands before them nor go with it."""
    joiner = "\u2060"
    for count in range(MOST_INVISIBLE + 1):
        for before in ("", " ", "x "):
            start = len(before) + count
            assert covered(words_rule("ab"), f"{before}{joiner * count}ab") == {start, start + 1}
        assert not covered(words_rule("ab"), f"x{joiner * count}ab")
    assert not covered(words_rule("ab"), f" {joiner * (MOST_INVISIBLE + 1)}ab")


def test_emoji_wait_for_nothing() -> None:
    """Sequences with joiners, selectors and tags, character by character, with words and without a letter near."""
    scan = Matcher([compile_rule(words_rule("ab", "in", action=Action.REWRITE))]).open()
    text = (
        "\U0001f469\u200d\U0001f469\u200d\U0001f467\u2764\ufe0f\U0001f3f4\U000e0067\U000e0062\U000e007f 1\ufe0f\u20e3"
    )
    for read, char in enumerate(text, 1):
        assert scan.feed(char).watermark == read


def test_two_rules_find_their_own_words_each() -> None:
    """An entry of several rules is found by each, and a longer one does not hide a shorter one of another rule."""
    first, second = words_rule("new york", "york"), words_rule("york", "york city")
    found = Matcher(map(compile_rule, (first, second))).open().feed("new york city", final=True).findings
    assert sorted((f.start, f.end, f.rule is first.rule) for f in found) == [(0, 8, True), (4, 13, False)]


def test_text_waits_for_hiding_rules_only() -> None:
    """The same words hold text back when they hide it, and not when they only flag."""
    hiding = words_rule("stop word", action=Action.REWRITE)
    scan = Matcher(map(compile_rule, (hiding, words_rule("stock")))).open()
    assert scan.feed("a sto").watermark == 2
    assert scan.feed("c").watermark == 6


def test_a_word_in_the_middle_of_a_longer_one_is_found() -> None:
    """Where the longer entry fails, or is another rule's, what ended within it still counts."""
    assert covered(words_rule("new york city", "york"), "new york cab") == {4, 5, 6, 7}
    assert covered(words_rule("机密项目", "密项"), "机密项链") == {1, 2}


def test_text_waits_for_a_word_that_begins_in_a_flag() -> None:
    """A longer entry that only flags does not hide the beginning of a hiding one."""
    hiding = words_rule("stop it", action=Action.REWRITE)
    assert Matcher(map(compile_rule, (hiding, words_rule("full stop")))).open().feed("full stop").watermark == 5


def test_a_word_longer_than_max_hold_is_hidden_as_far_as_it_waited() -> None:
    """As of a pattern, what had waited for so long is let go."""
    rule = words_rule("abcdef", action=Action.REWRITE, max_hold=3)
    scan = Matcher([compile_rule(rule)]).open()
    assert scan.feed("abcdef").watermark == 3
    (found,) = scan.feed(" ").findings
    assert (found.start, found.end) == (3, 6)


@pytest.mark.parametrize(
    ("words", "message"),
    [((), "empty"), (("a", ""), "is empty"), ((" ",), "is empty"), (("x" * (MAX_ENTRY + 1),), "at most 1000")],
)
@pytest.mark.parametrize("fold", [False, True])
def test_a_list_that_makes_no_sense_is_refused(words: tuple[str, ...], message: str, fold: bool) -> None:
    """No words, an empty word, or one that is too long."""
    with pytest.raises(PatternError, match="can be seen" if fold and "is empty" in message else message):
        compile_rule(words_rule(*words, fold=fold))


def test_matchers_share_the_list() -> None:
    """A matcher is made of compiled rules without copying their words."""
    rule = compile_rule(words_rule(*(f"word{n}" for n in range(100))))
    again = rule.placed(words_rule("x"))
    assert rule.words is not None
    assert again.words is rule.words


@pytest.mark.parametrize("fold", [False, True])
def test_every_entry_of_a_long_list_is_found(fold: bool) -> None:
    """Whatever stands beside it in the sorted list."""
    rng = random.Random(3)
    words = sorted({"".join(rng.choices("abcd", k=rng.randint(3, 9))) for _ in range(3000)})
    check = Matcher([compile_rule(words_rule(*words, fold=fold, action=Action.REWRITE))])
    for word in rng.sample(words, 300):
        assert laws.findings(laws.feed(check, list(f"x {word}.")))
    known = set(words)
    others = ("".join(rng.choices("abcd", k=rng.randint(3, 9))) for _ in range(3000))
    for word in [word for word in others if word not in known][:300]:
        assert not laws.findings(laws.feed(check, list(f"x {word}.")))


def test_what_a_list_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins afresh; a text in the middle of a word goes on."""
    monkeypatch.setattr("proxy.matching.words.MOST_CURSORS", 3)
    rule = compile_rule(words_rule("abcdefgh", "bcdefghi", action=Action.REWRITE))
    scan = Matcher([rule], max_transitions=2).open()
    for char in "x abcdefg":
        scan.feed(char)
    assert scan.feed("h.").findings
    assert rule.words is not None
    assert len(rule.words._cursors) <= 3


@pytest.mark.parametrize("joiner", ["\n", "\n\n", "\r\n\r\n"])
@pytest.mark.parametrize("fold", [False, True])
def test_a_phrase_is_found_across_two_messages(joiner: str, fold: bool) -> None:
    """Its words stand in two texts that a model reads one after the other; each loses its part."""
    check = Matcher([compile_rule(words_rule("blue heron", fold=fold, action=Action.REWRITE))])
    *_, judged = judge(["the blue", "heron flies", "blue", "herons"], joiner, [check])
    assert judged is not None
    assert judged.parts == ("the [removed]", " flies", "blue", "herons")

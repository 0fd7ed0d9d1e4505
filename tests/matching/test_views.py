"""Views against brute force: the whole view at once, its matches by trying every span, mapped back unit by unit."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.check import Check, Progress
from proxy.core.gate import Gate
from proxy.core.types import Action, Finding, Rule
from proxy.matching.lenses import UNSEEN_LIMIT, FloodError
from proxy.matching.matcher import Matcher, compile_rule
from proxy.matching.rules import MatchRule, PassScan, Verdict, View
from proxy.matching.views import HISTORY, Composition, FoldView, JsonUnescapeView
from tests.matching.viewing import (
    REFERENCES,
    PatternPass,
    Seen,
    Unit,
    Word,
    WordPass,
    WordScan,
    chunkings,
    expected,
    folded,
    folded_json,
    rule,
    run,
    spans,
    unescaped,
)

FOLD_TEXT = st.lists(
    st.sampled_from([*"abc fis1 ", *"\u200b\u0301áﬁаＡ①ßİ⒝\u115f", *"&#98;x", *REFERENCES, "&#9", "&a", "&#x"]),
    max_size=12,
).map("".join)
JSON_TEXT = st.lists(
    st.sampled_from(
        [*'ab "\\u00', r"\u0062", r"\u0301", r"\u200b", r"\ud83d", r"\ude00", r"\n", r"\\", r"\"", "\u200b"]
    ),
    max_size=10,
).map("".join)
CUTS = st.lists(st.integers(0, 40), max_size=6)
REWRITE = [rule(name, order=i) for i, name in enumerate("ABC")]
WORDS = st.lists(
    st.tuples(
        st.sampled_from(["abc", "fi", "ss", "a", "i", "bab", "ab", "b\n", "b\\", 'a"', "\U0001f600"]), st.booleans()
    ),
    min_size=1,
    max_size=3,
)
PATTERNS = st.lists(
    st.sampled_from(
        ["abc", "fi", "ss", "[ab]+c", "a.b", r"\bab\b", "i", "sa", "f[a-c]?i", r"(?<!a)b", r"b(?!\w)", "&"]
    ),
    min_size=1,
    max_size=3,
)
VIEWS: dict[str, tuple[View, Callable[[str], list[Unit]], st.SearchStrategy[str]]] = {
    "folded": (FoldView(), folded, FOLD_TEXT),
    "unescaped": (JsonUnescapeView(), unescaped, JSON_TEXT),
    "folded json": (Composition(JsonUnescapeView(), FoldView()), folded_json, JSON_TEXT),
}


def wordpass(words: list[tuple[str, bool]], action: Action = Action.REWRITE) -> WordPass:
    return WordPass(tuple(Word(rule("ABC"[i], action, i), text, whole) for i, (text, whole) in enumerate(words)))


def word_matches(words: tuple[Word, ...], view: str) -> list[tuple[int, int, Rule]]:
    patterns = [(w.rule, rf"(?<!\w){re.escape(w.text)}(?!\w)" if w.whole else re.escape(w.text)) for w in words]
    return [(s, e, rule) for rule, p in patterns for s, e in spans(p, view)]


@pytest.mark.parametrize("name", VIEWS)
@given(data=st.data(), words=WORDS, cuts=CUTS)
def test_words_in_any_chunking_are_hidden_as_brute_force_says(
    name: str, data: st.DataObject, words: list[tuple[str, bool]], cuts: list[int]
) -> None:
    """Streamed in any pieces, what comes out is the text with the matched units hidden; reports are the same too."""
    view, units_of, texts = VIEWS[name]
    text = data.draw(texts)
    inner = wordpass(words)
    units = units_of(text)
    want = expected(units, word_matches(inner.words, "".join(part for _, _, part in units)), text)
    runs = [run(Seen(view, inner), chunks) for chunks in chunkings(text, cuts)]
    assert [r.out for r in runs] == [want] * 3
    assert runs[0] == runs[1] == runs[2]


@pytest.mark.parametrize("name", VIEWS)
@given(data=st.data(), patterns=PATTERNS, cuts=CUTS)
def test_patterns_in_any_chunking_are_hidden_as_brute_force_says(
    name: str, data: st.DataObject, patterns: list[str], cuts: list[int]
) -> None:
    """The same for patterns, whose look-around and word boundaries see the view."""
    view, units_of, texts = VIEWS[name]
    text = data.draw(texts)
    rules = tuple(zip(REWRITE, patterns, strict=False))
    units = units_of(text)
    seen = "".join(part for _, _, part in units)
    want = expected(units, [(s, e, rule) for rule, p in rules for s, e in spans(p, seen)], text)
    outs = [run(Seen(view, PatternPass(rules)), chunks).out for chunks in chunkings(text, cuts)]
    assert outs == [want] * 3


@pytest.mark.parametrize("name", VIEWS)
@given(data=st.data(), patterns=PATTERNS, cuts=CUTS)
def test_the_engine_through_a_view_hides_what_brute_force_says(
    name: str, data: st.DataObject, patterns: list[str], cuts: list[int]
) -> None:
    """The same with the engine, which answers as early as can be; JSON source is judged as it is written, too.

    Where both readings of JSON find something in one escape, how many labels stand there may depend on the cuts.
    """
    view, _, texts = VIEWS[name]
    text = data.draw(texts)
    rules = tuple(zip(REWRITE, patterns, strict=False))
    written: dict[str, list[Check]] = {
        "unescaped": [PatternPass(rules)],
        "folded json": [Seen(FoldView(), PatternPass(rules))],
    }
    want = Gate([Seen(view, PatternPass(rules)), *written.get(name, [])]).feed(text, final=True)
    compiled = [compile_rule(MatchRule(rule, pattern=p, fold="folded" in name)) for rule, p in rules]
    matcher = Matcher(compiled, escaped=name != "folded")
    outs = [run(matcher, chunks).out for chunks in chunkings(text, cuts)]
    if name in written:
        outs, want = [with_one_label(out) for out in outs], with_one_label(want)
    assert outs == [want] * 3


def with_one_label(out: str) -> str:
    """What is shown, with one label for labels side by side."""
    return re.sub(r"(\[[A-Z]\])+", "[label]", out)


@pytest.mark.parametrize("name", VIEWS)
@given(data=st.data(), words=WORDS, cuts=CUTS)
def test_a_block_falls_at_the_same_place_in_any_chunking(
    name: str, data: st.DataObject, words: list[tuple[str, bool]], cuts: list[int]
) -> None:
    """The blocked finding, the verdict and the released text do not depend on how the text was cut."""
    view, units_of, texts = VIEWS[name]
    text = data.draw(texts)
    check = Seen(view, wordpass(words, Action.BLOCK))
    runs = [run(check, chunks) for chunks in chunkings(text, cuts)]
    assert runs[0] == runs[1] == runs[2]
    verdicts = []
    for chunks in chunkings(text, cuts):
        scan = check.open()
        for chunk in [*chunks, None]:
            scan.feed(chunk or "", final=chunk is None)
            if scan.verdict:
                break
        verdicts.append(scan.verdict)
    assert verdicts[0] == verdicts[1] == verdicts[2]
    assert (verdicts[0] is None) == (runs[0].blocked is None)
    if runs[0].blocked and verdicts[0]:
        assert runs[0].blocked.end == verdicts[0].end <= verdicts[0].read
        assert any(end == verdicts[0].end for _, end, _ in units_of(text))
        assert text.startswith(runs[0].out)


@pytest.mark.parametrize("name", VIEWS)
@given(data=st.data(), words=WORDS, at=st.integers(0, 20))
def test_a_scan_goes_back_to_where_it_was_saved(
    name: str, data: st.DataObject, words: list[tuple[str, bool]], at: int
) -> None:
    """After `restore` a scan answers as if what it read since `save` had never been."""
    view, _, texts = VIEWS[name]
    text, other = data.draw(texts), data.draw(texts)
    inner = wordpass(words)
    straight, strayed = view.open(inner), view.open(inner)
    straight.feed(text[:at])
    strayed.feed(text[:at])
    mark = strayed.save()
    strayed.feed(other, final=True)
    strayed.restore(mark)
    assert straight.feed(text[at:], final=True) == strayed.feed(text[at:], final=True)


def hidden(text: str, word: str = "bomb", view: View | None = None) -> str:
    """The text with one word hidden, read character by character."""
    check = Seen(view or FoldView(), WordPass((Word(rule("X"), word),)))
    return run(check, list(text)).out


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("a bomb\u0301\u200b!", "a [X]!"),
        ("a\u0301 \u200bbomb", "a\u0301 \u200b[X]"),
        ("ｂｏｍｂs", "[X]s"),
        ("b\u200bo\u0301m\U000e0062b.", "[X]."),
        ("b&#111;mb &amp; &#98;omb", "[X] &amp; [X]"),
        ("b&shy;omb&shy;&zwnj;!", "[X]!"),
        ("&bopf;omb &b omb &#98", "[X] &b omb &#98"),
    ],
)
def test_a_disguised_word_is_hidden_with_all_that_belongs_to_it(text: str, out: str) -> None:
    """Unseen characters inside and after a hidden word go with it, those before it stay."""
    assert hidden(text) == out


def test_a_ligature_is_hidden_whole() -> None:
    """A match of half of what a character stands for hides that character, and the marks on it."""
    assert hidden("eﬁ\u0301x", "f") == "e[X]x"
    assert hidden("eﬁ\u0301x", "i") == "e[X]x"


def test_json_escapes_are_hidden_whole_and_the_source_stays_json() -> None:
    """A match that begins or ends in an escape hides all of it."""
    source = json.dumps({"a": "say \u0431bomb\u0301 \\n"})
    out = hidden(source, view=Composition(JsonUnescapeView(), FoldView()))
    assert json.loads(out) == {"a": "say \u0431[X] \\n"}


def test_half_an_escape_waits_and_a_finished_one_does_not() -> None:
    """Only what may still become an escape is kept back, from its first character on."""
    scan = JsonUnescapeView().open(wordpass([("abc", False)]))
    marks = [scan.feed(chunk).watermark for chunk in ["x\\", "u00", "41", "\\ud8", "3d\\", "u", "de00", "\\", "q"]]
    assert marks == [1, 1, 7, 7, 7, 7, 19, 19, 21]


def test_nothing_waits_for_half_an_escape_when_no_rule_hides() -> None:
    """A pass that only flags lets everything through, and still finds what an escape hides."""
    flag = rule("F", Action.FLAG)
    scan = FoldView().open(WordPass((Word(flag, "bomb"),)), waits=False)
    assert scan.feed("x &#9") == Progress(5)
    assert scan.feed("8;omb") == Progress(10, (Finding(2, 10, flag),))


def test_a_flag_is_told_from_where_the_disguised_word_begins() -> None:
    """A finding that only flags may lie below the watermark; its offsets are raw ones all the same."""
    flag = rule("F", Action.FLAG)
    scan = FoldView().open(WordPass((Word(flag, "bomb"),)))
    found = [f for c in "…ﬁ… b\u200bo\u200bm\u200bb\u200b" for f in scan.feed(c).findings]
    assert found == [Finding(4, 11, flag)]


def test_a_flag_is_told_alike_in_any_chunking_however_much_is_irregular() -> None:
    """Far from its end a flag's start is told less exactly, and yet the same however the text is cut."""
    flag = rule("F", Action.FLAG)
    inner = WordPass((Word(flag, "ab..." * 5),))
    text = "…" * 20 + "ab…" * 5
    answers = []
    for chunks in ([text], list(text), re.findall("a|[^a]*", text)):
        scan = FoldView().open(inner)
        answers.append([f for chunk in chunks for f in scan.feed(chunk).findings])
    assert answers[0] == answers[1] == answers[2]
    assert [(f.end, f.rule) for f in answers[0]] == [(len(text), flag)]


def test_a_flag_within_reach_is_exact_after_much_irregular_text() -> None:
    """What was let go long ago does not matter, only what lies between the flag's start and end."""
    flag = rule("F", Action.FLAG)
    scan = FoldView().open(WordPass((Word(flag, "bomb"),)))
    found = [f for c in "…" * 20 + "b​o​m​b" for f in scan.feed(c).findings]
    assert found == [Finding(20, 27, flag)]


def test_a_long_word_with_marks_on_every_letter_is_hidden_whole() -> None:
    """What waits keeps its map, however long that is."""
    assert hidden("x " + "́".join("abcdefghijklmnopqrst") + "́!", "abcdefghijklmnopqrst") == "x [X]!"


@pytest.mark.parametrize(
    ("view", "word", "text", "verdict"),
    [
        (FoldView(), "bomb", "b​omb​!", Verdict(5, 5)),
        (FoldView(), "b", "x&#98;&", Verdict(6, 6)),
        (FoldView(), "&", "x&y;", Verdict(4, 2)),
        (FoldView(), "&#9", "x&#9", Verdict(5, 4)),
        (JsonUnescapeView(), "\\", "a\\q", Verdict(3, 2)),
        (JsonUnescapeView(), "\ud83d", "\\ud83d!", Verdict(7, 6)),
        (JsonUnescapeView(), "\ud83d", "\\ud83d", Verdict(7, 6)),
        (Composition(JsonUnescapeView(), FoldView()), "\\", "a\\q", Verdict(3, 2)),
    ],
)
def test_a_verdict_says_how_much_had_to_be_read(view: View, word: str, text: str, verdict: Verdict) -> None:
    """Also where only the next character, or the end of the text, shows that something is no escape."""
    for chunks in ([text], list(text)):
        scan = view.open(WordPass((Word(rule("B", Action.BLOCK), word),)))
        for chunk in chunks:
            scan.feed(chunk)
        if scan.verdict is None:
            scan.feed("", final=True)
        assert scan.verdict == verdict


def test_a_verdict_that_takes_the_end_of_the_text_counts_it_as_read() -> None:
    """One more than there is, in raw characters."""
    scan = FoldView().open(WordPass((Word(rule("B", Action.BLOCK), "bomb", whole=True),)))
    scan.feed("x\u200b bomb", final=True)
    assert scan.verdict == Verdict(8, 7)


def test_nothing_is_read_after_a_verdict() -> None:
    """The scan stands still: the watermark stays where the released text has to end."""
    scan = FoldView().open(WordPass((Word(rule("B", Action.BLOCK), "bomb"),)))
    assert scan.feed("x bomb, and").watermark == 2
    assert scan.feed(" bomb &") == Progress(2)
    assert scan.feed("", final=True) == Progress(2)
    assert scan.verdict == Verdict(6, 6)


def test_plain_text_comes_back_with_the_very_answer_of_the_pass() -> None:
    """While view and raw text have the same offsets, nothing is translated."""

    class Fixed(WordScan):
        answer = Progress(3)

        def feed(self, text: str, final: bool = False) -> Progress:
            return self.answer

    class FixedPass(WordPass):
        def open(self) -> PassScan:
            return Fixed(())

    assert FoldView().open(FixedPass(())).feed("ABC") is Fixed.answer


def test_a_flood_of_unseen_characters_is_an_error() -> None:
    """No script needs so many in a row, and what they hide cannot be held for ever: the check fails (closed)."""
    flood = "\u200b" * (UNSEEN_LIMIT + 1)
    assert hidden("b" + flood[:-1] + "omb") == "[X]"
    for text in ("b" + flood + "omb", "bomb" + flood):
        with pytest.raises(FloodError):
            hidden(text)


def test_where_nothing_waits_a_flood_is_read_as_it_is() -> None:
    """A rule that only flags does not stop a text for it; a word around so many of them is none."""
    scan = FoldView().open(wordpass([("bomb", False)], Action.FLAG), waits=False)
    assert not scan.feed("b" + "\u200b" * (UNSEEN_LIMIT + 1) + "omb", final=True).findings


def test_only_unseen_characters_in_a_row_are_a_flood() -> None:
    """However many there are, each character that is seen begins the count anew."""
    check = Seen(FoldView(), WordPass((Word(rule("X"), "bomb"),)))
    many = "\u200ba" * (UNSEEN_LIMIT + 1)
    assert run(check, [many + "b\u200bomb"]).out == many + "[X]"
    some = "\u200b" * (UNSEEN_LIMIT - 1) + "a"
    assert run(check, list(some * 2 + "b\u200bomb")).out == some * 2 + "[X]"


@pytest.mark.parametrize("unit", ["a", "á", "a\u0301", "…", "&amp;", "한", "\u200b"])
def test_a_scan_keeps_little_when_nothing_waits(unit: str) -> None:
    """The state does not grow with the text that was let go."""
    scan = FoldView().open(wordpass([("bomb", False)]))
    for _ in range(UNSEEN_LIMIT):
        scan.feed(unit)
    pieces = getattr(scan, "_map")  # noqa: B009
    assert len(pieces) <= HISTORY + 2
    assert sum(map(sys.getsizeof, pieces)) < 2048


def test_hold_tells_the_raw_characters_that_may_wait() -> None:
    """No bound in the view is none in the raw text; else every unit counts as long as it may be."""
    view = Composition(JsonUnescapeView(), FoldView())
    assert view.hold(None) is None
    assert JsonUnescapeView().hold(4) == 60
    hold = FoldView().hold(3)
    assert hold is not None
    scan = FoldView().open(wordpass([("bomb", False)]))
    text = "b" + "&ZeroWidthSpace;" * UNSEEN_LIMIT + "om"
    assert len(text) - scan.feed(text).watermark <= hold

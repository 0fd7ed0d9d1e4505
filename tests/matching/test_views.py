"""Views against brute force: the whole view at once, its matches by trying every span, mapped back unit by unit."""

from __future__ import annotations

import html
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.check import Progress
from proxy.core.gate import Gate
from proxy.core.types import Action, Finding, Replacement, Rule
from proxy.matching.folding import fold
from proxy.matching.lenses import UNSEEN_LIMIT
from proxy.matching.matcher import Matcher, compile_rule
from proxy.matching.rules import MatchRule, Pass, PassScan, Verdict, View
from proxy.matching.views import HISTORY, Composition, FoldView, JsonUnescapeView


def rule(name: str, action: Action = Action.REWRITE, order: int = 0) -> Rule:
    return Rule("p", name, action, order, Replacement(f"[{name}]"))


class Word(NamedTuple):
    """A literal, found anywhere or as a whole word; what follows it then decides."""

    rule: Rule
    text: str
    whole: bool = False


class WordScan:
    """A pass scan over literals that knows everything as early as can be, one character at a time."""

    def __init__(self, words: tuple[Word, ...]) -> None:
        self._words = words
        self._text = ""
        self.verdict: Verdict | None = None

    def feed(self, text: str, final: bool = False) -> Progress:
        found: list[Finding] = []
        for char in text:
            self._text += char
            if self._judge(self._ends(False), found):
                return Progress(self._mark(), tuple(found))
        if final and self._judge(self._ends(True), found):
            return Progress(self._mark(), tuple(found))
        return Progress(len(self._text) if final else self._mark(), tuple(sorted(found, key=lambda f: f[:2])))

    def save(self) -> object:
        return self._text

    def restore(self, mark: object) -> None:
        assert isinstance(mark, str)
        self._text, self.verdict = mark, None

    def _judge(self, ends: Iterable[Finding], found: list[Finding]) -> bool:
        """Take the findings in; True when one blocks."""
        new = list(ends)
        found.extend(new)
        blocks = [f for f in new if f.rule.action is Action.BLOCK]
        if blocks:
            at_end = self.verdict is None and blocks[0].end == len(self._text) and self._is_pending(blocks[0])
            self.verdict = Verdict(len(self._text) + at_end, blocks[0].end)
        return bool(blocks)

    def _is_pending(self, finding: Finding) -> bool:
        return any(word.whole for word in self._words if word.rule is finding.rule)

    def _ends(self, final: bool) -> Iterator[Finding]:
        text = self._text
        for word in self._words:
            end = len(text) - (word.whole and not final)
            start = end - len(word.text)
            if start < 0 or text[start:end] != word.text or (final and not word.whole):
                continue
            if not word.whole or (self._begins(start) and not re.match(r"\w", text[end:])):
                yield Finding(start, end, word.rule)

    def _begins(self, at: int) -> bool:
        return at == 0 or not re.match(r"\w", self._text[at - 1])

    def _mark(self) -> int:
        text = self._text
        for at in range(len(text)):
            for word in self._words:
                rest = text[at:]
                if not word.rule.holds or len(rest) >= len(word.text) + word.whole:
                    continue
                if word.text.startswith(rest) and (not word.whole or self._begins(at)):
                    return at
        return len(text)


class WordPass(NamedTuple):
    """The pass of such scans."""

    words: tuple[Word, ...]
    hold: int | None = None

    def open(self) -> PassScan:
        return WordScan(self.words)


class PatternScan:
    """A pass scan that waits for the end, then tries every span of the text."""

    verdict: Verdict | None = None

    def __init__(self, patterns: tuple[tuple[Rule, str], ...]) -> None:
        self._patterns = patterns
        self._text = ""

    def feed(self, text: str, final: bool = False) -> Progress:
        self._text += text
        if not final:
            return Progress(0)
        found = (Finding(s, e, rule) for rule, p in self._patterns for s, e in spans(p, self._text))
        return Progress(len(self._text), tuple(sorted(found, key=lambda f: f.start)))

    def save(self) -> object:
        return self._text

    def restore(self, mark: object) -> None:
        assert isinstance(mark, str)
        self._text = mark


class PatternPass(NamedTuple):
    """The pass of such scans."""

    patterns: tuple[tuple[Rule, str], ...]
    hold: int | None = None

    def open(self) -> PassScan:
        return PatternScan(self.patterns)


class Seen(NamedTuple):
    """A check: a pass through a view."""

    view: View
    inner: Pass
    hold: int | None = None

    def open(self) -> PassScan:
        return self.view.open(self.inner)


def spans(pattern: str, text: str) -> Iterator[tuple[int, int]]:
    """Every span that matches, in context."""
    for end in range(1, len(text) + 1):
        at_end = re.compile(rf"(?:{pattern})(?=(?s:.{{{len(text) - end}}})\Z)")
        yield from ((start, end) for start in range(end) if at_end.match(text, start))


Unit = tuple[int, int, str]
REFERENCES = ["&#98;", "&#x41;", "&shy;", "&amp;", "&zwnj;", "&#769;"]
REFERENCE = re.compile("&(?:#[0-9]{1,8}|#[xX][0-9a-fA-F]{1,7}|(?:amp|apos|shy|zwnj|acute));")
JSON_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4})')


def cut(escape: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    """Every escape as one unit, every other character as one."""
    at = 0
    while at < len(text):
        found = escape.match(text, at)
        end = found.end() if found else at + 1
        yield at, end
        at = end


def folded(text: str) -> list[Unit]:
    """The folded view by its definition."""
    units = []
    for start, end in cut(REFERENCE, text):
        part = text[start:end]
        units.append((start, end, "".join(map(fold, html.unescape(part)))))
    return units


def unescaped(text: str) -> list[Unit]:
    """The view of JSON source by the json module."""
    return [
        (start, end, json.loads(f'"{text[start:end]}"') if end - start > 1 else text[start:end])
        for start, end in cut(JSON_ESCAPE, text)
    ]


def folded_json(text: str) -> list[Unit]:
    """One view through the other."""
    outer = unescaped(text)
    owner = [i for i, (_, _, part) in enumerate(outer) for _ in part]
    inner = folded("".join(part for _, _, part in outer))
    return [(outer[owner[start]][0], outer[owner[end - 1]][1], part) for start, end, part in inner]


def expected(units: list[Unit], matches: Iterable[tuple[int, int, Rule]], raw: str) -> str:
    """The raw text with every matched unit hidden, and every unseen one that follows a hidden one."""
    owner = [i for i, (_, _, part) in enumerate(units) for _ in part]
    labels: list[tuple[int, int, Rule]] = []
    for start, end, named in sorted(((owner[s], owner[e - 1] + 1, r) for s, e, r in matches), key=lambda m: m[:2]):
        if labels and labels[-1][1] > start:
            s, e, r = labels[-1]
            labels[-1] = s, max(e, end), min(r, named, key=lambda rule: rule.order)
        else:
            labels.append((start, end, named))
    out, hidden = "", False
    starts = {start: named for start, _, named in labels}
    covered = {i for start, end, _ in labels for i in range(start, end)}
    for i, (start, end, part) in enumerate(units):
        out += starts[i].replacement.text if i in starts else ""
        hidden = i in covered or (hidden and not part)
        out += "" if hidden else raw[start:end]
    return out


class Run(NamedTuple):
    """What a gate made of a text. Of findings, where they start and what a rule's findings cover together."""

    out: str
    starts: list[tuple[int, str]]
    covered: set[tuple[str, int]]
    blocked: Finding | None


def run(check: Seen | Matcher, chunks: list[str]) -> Run:
    """Through a gate, with the laws of a check looked after on the way."""
    gate = Gate([Lawful(check)])
    out = "".join(gate.feed(chunk) for chunk in chunks) + gate.feed("", final=True)
    starts = sorted((f.start, f.rule.id) for f in gate.findings)
    covered = {(f.rule.id, at) for f in gate.reported for at in range(f.start, f.end)}
    return Run(out, starts, covered, gate.blocked)


class Lawful(NamedTuple):
    """A check whose scans are held to the laws."""

    check: Seen | Matcher
    hold: int | None = None

    def open(self) -> LawfulScan:
        return LawfulScan(self.check.open())


class LawfulScan:
    """Fails when a watermark goes back or too far, or a finding hides what was let go."""

    def __init__(self, scan: PassScan) -> None:
        self._scan = scan
        self._fed = self._mark = 0

    def feed(self, text: str, final: bool = False) -> Progress:
        before = self._mark
        self._fed += len(text)
        mark, found = progress = self._scan.feed(text, final)
        if not any(f.rule.action is Action.BLOCK for f in found):
            assert before <= mark <= self._fed
            assert not final or mark == self._fed
        assert [f.start for f in found] == sorted(f.start for f in found)
        assert all(f.start >= before for f in found if f.rule.holds)
        assert all(f.start < f.end <= self._fed for f in found)
        self._mark = mark
        return progress


def chunkings(text: str, cuts: list[int]) -> list[list[str]]:
    """Whole, character by character, and as told."""
    bounds = sorted({min(c, len(text)) for c in cuts} | {0, len(text)})
    return [[text], list(text), [text[a:b] for a, b in pairwise(bounds)]]


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
    """The same with the engine, which answers as early as can be."""
    _, units_of, texts = VIEWS[name]
    text = data.draw(texts)
    rules = list(zip(REWRITE, patterns, strict=False))
    units = units_of(text)
    seen = "".join(part for _, _, part in units)
    want = expected(units, [(s, e, rule) for rule, p in rules for s, e in spans(p, seen)], text)
    compiled = [compile_rule(MatchRule(rule, pattern=p, fold="folded" in name)) for rule, p in rules]
    matcher = Matcher(compiled, escaped=name != "folded")
    assert [run(matcher, chunks).out for chunks in chunkings(text, cuts)] == [want] * 3


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


def test_a_flood_of_unseen_characters_is_seen_in_the_end() -> None:
    """So many of them in a row belong to no word, and a word around them is none; what follows is read as ever."""
    flood = "\u200b" * (UNSEEN_LIMIT + 1)
    assert hidden("b" + flood[:-1] + "omb") == "[X]"
    assert hidden("b" + flood + "omb bomb") == "b" + flood + "omb [X]"
    assert hidden("bomb" + flood) == "[X]\u200b"


@pytest.mark.parametrize("unit", ["a", "á", "a\u0301", "…", "&amp;", "한", "\u200b"])
def test_a_scan_keeps_little_when_nothing_waits(unit: str) -> None:
    """The state does not grow with the text that was let go."""
    scan = FoldView().open(wordpass([("bomb", False)]))
    for _ in range(2000):
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

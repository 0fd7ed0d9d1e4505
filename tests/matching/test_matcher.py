"""The matcher as a check: what it reports, what it keeps in memory, and what it tells when rules are loaded."""

from __future__ import annotations

import gc
import sys
import tracemalloc

import pytest

from proxy.core.check import Check, Progress
from proxy.core.gate import Gate
from proxy.core.json_gate import JsonGate
from proxy.core.types import Action, Replacement, Rule
from proxy.matching.errors import PatternError
from proxy.matching.matcher import Matcher, compile_rule
from proxy.matching.rules import MatchRule
from tests import laws


def rule(
    pattern: str, action: Action = Action.REWRITE, order: int = 0, enforced: bool = True, **options: object
) -> MatchRule:
    """A rule named after its pattern."""
    named = Rule("p", pattern, action, order, Replacement("[x]"), enforced=enforced)
    return MatchRule(named, pattern, **options)  # type: ignore[arg-type]


def matcher(*rules: MatchRule, escaped: bool = False) -> Matcher:
    """The rules compiled into one check."""
    return Matcher(map(compile_rule, rules), escaped)


def found(check: Check, *chunks: str) -> list[tuple[int, int, str, bool]]:
    """What a fresh scan reports, over all chunks."""
    answers = laws.obeys(check, chunks)
    return [(f.start, f.end, f.rule.id, f.extends) for f in laws.findings(answers)]


def test_a_growing_match_is_one_finding_that_extends() -> None:
    """Within a feed it is one span; in later feeds its growth is told with `extends`, so that counts stay right."""
    check = matcher(rule(r"key=\S+"))
    assert found(check, "key=abcd ef") == [(0, 8, r"key=\S+", False)]
    assert found(check, "key=a", "bc", "d ef") == [
        (0, 5, r"key=\S+", False),
        (0, 7, r"key=\S+", True),
        (0, 8, r"key=\S+", True),
    ]


def test_matches_that_touch_are_counted_apart() -> None:
    """Two matches side by side are two findings, two that overlap are one."""
    assert found(matcher(rule("ab")), "abab") == [(0, 2, "ab", False), (2, 4, "ab", False)]
    assert found(matcher(rule("aba")), "ababa") == [(0, 5, "aba", False)]


@pytest.mark.parametrize(("action", "enforced"), [(Action.FLAG, True), (Action.REWRITE, False), (Action.BLOCK, False)])
def test_what_changes_nothing_holds_nothing(action: Action, enforced: bool) -> None:
    """Flags, and all rules in monitor or shadow mode: every character is released at once, and all is reported."""
    check = matcher(rule("abc+", action, enforced=enforced))
    scan = check.open()
    assert check.hold == 0
    assert [scan.feed(char).watermark for char in "xabccx"] == [1, 2, 3, 4, 5, 6]
    assert found(check, *"xabccx") == [(1, 4, "abc+", False), (1, 5, "abc+", True)]


def test_flags_are_found_up_to_a_block_and_not_beyond() -> None:
    """Where a block falls, the text ends for every rule."""
    check = matcher(rule("a+", Action.FLAG), rule("stop", Action.BLOCK))
    assert found(check, "aa stop aa") == [(0, 2, "a+", False), (3, 7, "stop", False)]


def test_after_a_block_nothing_is_read() -> None:
    """Later feeds answer with where the released text ends."""
    scan = matcher(rule("stop", Action.BLOCK)).open()
    assert scan.feed("a stop")[0] == 2
    assert scan.feed("more", final=True) == Progress(2)
    assert scan.verdict == (6, 6)


@pytest.mark.parametrize(
    ("patterns", "text", "out"),
    [
        (["<think>.*?</think>"], "a<think>b</think>c</think>d", "a[x]c</think>d"),
        ([r"\{[^}]*\}"], "{a}{b}", "[x][x]"),
        ([r"a.*b"], "aab ab", "[x] [x]"),
        ([r"a+\b"], "aaa aa", "[x] [x]"),
        ([r"a+\b| b"], "aa b", "[x][x]"),
    ],
)
def test_shortest_ends_at_the_first_end_and_begins_anew(patterns: list[str], text: str, out: str) -> None:
    """`match: shortest`: the first end wins, with the longest match that has it; the rest of the text starts anew."""
    for chunks in ([text], list(text)):
        gate = Gate([matcher(*(rule(p, shortest=True) for p in patterns))])
        assert "".join([*map(gate.feed, chunks), gate.feed("", final=True)]) == out


@pytest.mark.parametrize("pattern", ["a(?!b)|a(?=b)", r"a(?=\w)|a(?=\W)|a\Z", r"x?a\b|a", r"(?:a\b|[ab]){1,2}?"])
def test_a_match_that_is_certain_either_way_does_not_wait(pattern: str) -> None:
    """Where every continuation completes the match, it blocks on its own last character, not on the next."""
    scan = matcher(rule(pattern, Action.BLOCK)).open()
    scan.feed("a")
    assert scan.verdict == (1, 1)


def test_what_is_covered_for_waiting_too_long_counts_once() -> None:
    """However it is cut: one finding for what waited, and the match that comes after all goes with it."""
    check = matcher(rule("BEGIN.*END", max_hold=4, on_overflow="cover"))
    text = "a BEGIN of no END."
    for chunks in ([text], list(text)):
        counted = [f for f in found(check, *chunks) if not f[3]]
        assert [f[0] for f in counted] == [2]


def test_a_validator_falls_back_to_a_shorter_candidate() -> None:
    """When the longest candidate fails, the next one that ends at the same place is asked, down to the shortest."""
    asked: list[str] = []

    def even(text: str) -> bool:
        asked.append(text)
        return len(text) == 2

    check = matcher(rule(r"\d{1,3}(?!\d)", validate=even))
    assert found(check, "x123 ") == [(2, 4, r"\d{1,3}(?!\d)", False)]
    assert asked[:2] == ["123", "23"]


def test_a_validator_sees_its_candidate_whole_however_it_came() -> None:
    """The text of a candidate is kept from its first character on, over any number of chunks, and no longer."""
    seen: list[str] = []

    def note(text: str) -> bool:
        seen.append(text)
        return True

    check = matcher(rule(r"\b\d{4}\b", validate=note))
    scan = check.open()
    for char in "ab 1234 12 5678.":
        scan.feed(char)
    assert seen == ["1234", "5678"]
    assert scan.feed("zzz").watermark == 19


def test_released_and_hidden_text_leaves_no_trace_in_memory() -> None:
    """A match of a hundred thousand characters costs a few kilobytes, in the scan and in the gate."""
    check = matcher(rule(r"key=\S+"), rule("a{3}b", validate=str.isascii))
    gate = Gate([check])
    gate.feed("key=aaaa")
    chunk = "a" * 5_000
    gate.feed(chunk)
    tracemalloc.start()
    for _ in range(20):
        assert gate.feed(chunk) == ""
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 20_000
    assert gate.feed(" end", final=True) == "[x] end"
    assert len(gate.findings) == 1


def test_a_stream_is_small() -> None:
    """A scan's own state stays under 1 KB: compiled rules and their states are shared."""
    check = matcher(rule(r"\bab+c\b"), rule("b{2,9}x"))
    scan = check.open()
    scan.feed("some text abbb")
    own = [getattr(scan, slot) for cls in type(scan).__mro__ for slot in getattr(cls, "__slots__", ())]
    private = [scan, *(value for value in own if isinstance(value, list | dict | str))]
    assert sum(map(sys.getsizeof, private)) < 1000


def test_streams_share_what_they_build_and_nothing_else() -> None:
    """Two streams at once give what each would alone; the second builds no new state."""
    check = matcher(rule("abc"), rule("b+"))
    one, two = Gate([check]), Gate([check])
    out = ["", ""]
    for a, b in zip("xabcbb", "abbabc", strict=True):
        out[0] += one.feed(a)
        out[1] += two.feed(b)
    assert (out[0] + one.feed("", True), out[1] + two.feed("", True)) == ("x[x][x]", "a[x][x]")
    gc.collect()


def test_a_rule_says_how_long_it_can_hold() -> None:
    """What load prints: never, at most n characters, or that max_hold applies."""
    assert compile_rule(rule("ab+", Action.FLAG)).describe() == "never holds"
    assert compile_rule(rule(r"\babc\b")).describe() == "holds at most 3 characters"
    unbounded = compile_rule(rule("a.*b", max_hold=99))
    assert (unbounded.unbounded, unbounded.holds, unbounded.longest) == (True, 99, None)
    assert "99 characters (max_hold)" in unbounded.describe()


def test_a_rule_tells_what_its_author_may_not_expect() -> None:
    """A lazy quantifier without `match: shortest`, and a pattern that can never match, load with a note."""
    assert "column 3" in compile_rule(rule("a+?b")).note
    assert compile_rule(rule("a+?b", shortest=True)).note == ""
    assert "never match" in compile_rule(rule(r"a\bb")).note


def test_the_hold_of_a_matcher_is_that_of_its_slowest_rule() -> None:
    """Without rules it is 0; with a view it is counted in characters of the raw text."""
    assert matcher().hold == 0
    assert matcher(rule("abc"), rule("abcdef")).hold == 5
    assert matcher(rule("ab+c", max_hold=50)).hold == 50
    folded = matcher(rule("abc", fold=True)).hold
    assert folded is not None
    assert folded > 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validate": str.isdigit}, "has no longest match"),
        ({"max_hold": 0}, "at least 1"),
        ({"words": ("a",)}, "either a pattern or words"),
        ({"shortest": True, "validate": str.isdigit}, "exclude each other"),
        ({"action": Action.BLOCK, "on_overflow": "cover"}, "rules that rewrite"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, object], message: str) -> None:
    """Each with a message of its own."""
    with pytest.raises(PatternError, match=message):
        compile_rule(rule("a+", **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"shortest": True}, {"validate": str.isdigit}])
def test_words_take_no_options_of_patterns(options: dict[str, object]) -> None:
    """Words are whole words; what cuts or judges a match needs a pattern."""
    with pytest.raises(PatternError, match="words take neither"):
        compile_rule(MatchRule(Rule("p", "w", Action.FLAG), words=("a",), **options))  # type: ignore[arg-type]


def test_a_validated_rule_has_to_end_within_max_hold() -> None:
    """Its candidate has to be there still when its last character comes."""
    with pytest.raises(PatternError, match="longest match of 300"):
        compile_rule(rule(r"\b\d{300}\b", validate=str.isdigit))


def test_escaped_text_is_read_as_what_it_says() -> None:
    """In JSON source a rule finds what the escapes spell, and hides the source that spells it."""
    gate = JsonGate([matcher(rule("bomb"), escaped=True)])
    assert gate.feed(r"a b\u006fm") + gate.feed(r"\u0062 \n", final=True) == r"a [x] \n"


def test_a_block_in_one_view_takes_the_other_back() -> None:
    """The folded rule blocks in the middle of a chunk: what the plain one found behind that place does not count."""
    check = matcher(rule("b\u00f6mb", Action.BLOCK, fold=True), rule("after", Action.FLAG))
    assert found(check, "a bomb after") == [(2, 6, "b\u00f6mb", False)]
    assert found(check, *"a bomb after") == [(2, 6, "b\u00f6mb", False)]

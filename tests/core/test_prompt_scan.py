"""A text that a rule blocks is replaced on the way: as if it had always stood there, and without reading all anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.fail_open import FailOpen
from proxy.core import prompt
from proxy.core.check import Check
from proxy.core.gate import Gate
from proxy.core.prompt import BATCH, MIN_STRIDE, SLICE, PromptScan
from proxy.core.types import Action, Finding, Replacement, Rule
from proxy.matching.compiled import compile_rule
from proxy.matching.matcher import Matcher
from proxy.matching.rules import MatchRule
from tests.literals import Literal
from tests.phrases import Phrase

NOTICE = "N"
PATTERNS = [
    "ab",
    "a+b",
    r"b\s*a",
    "a.{0,3}c",
    "^b",
    r"c\Z",
    r"\bab\b",
    "(?s)a.*?c",
    r"c\n\nN",
    "d+",
    r"N\s*a",
    "(?m)^a",
]

Found = list[tuple[int, str]]
Settled = tuple[list[str], Found, int | None]


def settled(scan: PromptScan, replaced: set[int], anew: Callable[[list[str]], PromptScan] | None = None) -> Settled:
    """The texts once every blocked one is replaced and the others are painted; what was found; the text that a rule
    blocks again, if one does. `anew`: read all from the beginning after each block."""
    found: Found = []
    while True:
        for _ in scan.run():
            pass
        found += [(located.part, located.finding.rule.id) for located in scan.new_findings()]
        blocked = scan.blocked
        if blocked is None:
            break
        if blocked.part in replaced:
            return scan.parts, found, blocked.part
        replaced.add(blocked.part)
        if anew is None:
            scan.replace(blocked.part, NOTICE)
        else:
            parts = [*scan.parts]
            parts[blocked.part] = NOTICE
            scan = anew(parts)
    for _ in scan.apply_rewrites():
        pass
    return scan.parts, found, None


@st.composite
def checks(draw: st.DrawFn) -> list[Check]:
    """Rules of all kinds, in a check or two; some of them with scans that cannot go back."""
    rules = []
    actions = [Action.FLAG, Action.REWRITE, Action.BLOCK, Action.BLOCK]
    for order, pattern in enumerate(draw(st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=4))):
        rule = Rule("test", f"{order}", draw(st.sampled_from(actions)), order, Replacement(draw(st.sampled_from("#d"))))
        rules.append(compile_rule(MatchRule(rule, pattern, fold=draw(st.booleans()), max_hold=16)))
    made: list[Check] = [Matcher(some) for some in (rules[::2], rules[1::2]) if some]
    if draw(st.booleans()):
        made[-1] = FailOpen(made[-1])
    if draw(st.booleans()):
        made.append(Phrase("bb", Rule("test", "bb", Action.BLOCK, 9)))
    return made


@given(
    checks(),
    st.lists(st.text("aabbcd \n", max_size=7), min_size=1, max_size=8),
    st.sampled_from(["", "\n\n"]),
    st.sampled_from([1, 3, 8, SLICE]),
)
def test_as_if_the_new_text_had_always_stood_there(
    made: list[Check], parts: list[str], joiner: str, slices: int
) -> None:
    """Texts, blocked texts and the rules that found something are those of reading all anew after each block, however
    long the slices are and wherever one can go back to."""
    began_anew = settled(PromptScan(parts, joiner, made), set(), lambda parts: PromptScan(parts, joiner, made))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompt, "SLICE", slices)
        patch.setattr(prompt, "MIN_STRIDE", min(slices, MIN_STRIDE))
        went_on = settled(PromptScan(parts, joiner, made), set())
    assert went_on[0] == began_anew[0]
    assert went_on[2] == began_anew[2]
    if went_on[2] is None and len(made) == 1:  # of two, one has read on in a slice in which the other blocks
        assert set(went_on[1]) == set(began_anew[1])


@given(
    checks(),
    st.lists(st.text("aabbcd \n", max_size=7), min_size=1, max_size=8),
    st.integers(0, 8),
    st.sampled_from(["", "\n\n"]),
    st.sampled_from([1, 3, 8, SLICE]),
)
def test_what_blocks_the_earlier_texts_alone(
    made: list[Check], parts: list[str], earlier: int, joiner: str, slices: int
) -> None:
    """Where the earlier texts end changes nothing; what blocks them alone is what blocks a prompt of nothing else."""
    earlier = min(earlier, len(parts))
    whole, alone = PromptScan(parts, joiner, made), PromptScan(parts[:earlier], joiner, made)
    for scan in (whole, alone):
        assert all(size > 0 for size in scan.run())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompt, "SLICE", slices)
        halved = PromptScan(parts, joiner, made, earlier=earlier)
        assert all(size > 0 for size in halved.run())
        assert halved.blocked == whole.blocked
        if halved.blocked is not None and halved.blocked.part < earlier:
            if halved.past_earlier:
                assert all(size > 0 for size in halved.run_earlier())
            assert halved.blocked == alone.blocked
            assert halved.blocked_parts == alone.blocked_parts


def test_a_block_that_ends_beyond_the_earlier_texts() -> None:
    """It is no block of them alone; after going back the scan goes on with what was replaced."""
    scan = PromptScan(["a B", "x", "AD", "b"], "", literals("BxAD", "axAD"), earlier=2)
    assert [*scan.run()] == [len("a Bx")]
    assert (scan.blocked_parts, scan.past_earlier) == (range(3), True)
    assert [*scan.run_earlier()] == []
    assert scan.blocked is None
    assert scan.blocked_parts == range(0)
    scan.replace(0, "a")
    assert [*scan.run()] == [len("ax")]
    assert scan.blocked is not None


@pytest.mark.parametrize("joiner", [" ", "\n\n"])
@pytest.mark.parametrize("last", ["ab", "x ab"])
def test_a_block_that_is_seen_behind_the_earlier_texts(joiner: str, last: str) -> None:
    """A word is known to be whole when its text ends, or something else follows: it blocks the earlier texts alone."""
    word = Matcher([compile_rule(MatchRule(Rule("test", "ab", Action.BLOCK), words=("ab",)))])
    scan = PromptScan(["c", last, "d"], joiner, [word], earlier=2)
    for _ in (*scan.run(), *scan.run_earlier()):
        pass
    assert scan.past_earlier
    assert scan.blocked is not None
    assert (scan.blocked.part, scan.blocked_parts) == (1, range(1, 2))


def test_a_block_of_nothing_but_what_joins_the_texts() -> None:
    """It belongs to the text that follows."""
    scan = PromptScan(["a", "b"], "\n\n", literals("\n\n"))
    assert [*scan.run()] == []
    assert scan.blocked_parts == range(1, 2)


def literals(*phrases: str) -> list[Literal]:
    """A blocking rule for each."""
    return [Literal(phrase, Rule("test", phrase, Action.BLOCK)) for phrase in phrases]


def texts_of(kind: str, count: int) -> list[str]:
    """Blocked texts and others, of some shape."""
    shapes: dict[str, Sequence[str]] = {
        "all": ["a BAD text"],
        "tiny": ["BAD"],
        "some": ["lorem ipsum " * 40, "dolor", "BAD", ""],
        "long and tiny": ["lorem ipsum " * 90, *["BAD"] * 3],
        "over two texts": ["lorem B", "AD ipsum"],
    }
    return [text for _ in range(count) for text in shapes[kind]]


@pytest.mark.parametrize("kind", ["all", "tiny", "some", "long and tiny", "over two texts"])
@pytest.mark.parametrize("joiner", ["", "\n\n"])
def test_many_blocked_texts_are_read_but_a_few_times(kind: str, joiner: str) -> None:
    """Of 2,000 texts that are replaced one by one, none makes the checks begin anew, nor read much again."""
    made = literals("BAD", "B\n\nAD")
    parts = texts_of(kind, 2000)
    count = sum("BAD" in part for part in parts)
    size = sum(len(part) + len(joiner) for part in parts) + len(NOTICE) * len(parts)
    result, found, again = settled(PromptScan(parts, joiner, made), set())
    assert again is None
    assert len(found) >= count
    assert result.count(NOTICE) == len(found)
    for check in made:
        assert check.opened <= 2
        assert check.read < 4 * size + 2 * MIN_STRIDE * len(found) + SLICE


def test_after_a_block_the_pieces_grow_again() -> None:
    """Short pieces are for texts of which every second one is blocked."""
    made = literals("BAD")
    settled(PromptScan(["BAD", *["fine"] * 50_000], "", made), set())
    assert made[0].feeds < 2 * len("fine") * 50_000 // SLICE


def test_of_several_blocks_the_first_counts_and_what_follows_it_is_not_read() -> None:
    """Whichever check it is of: the others are told of no more of the text than there was to read when it fell."""
    later, last = literals("WORSE", "x")
    sooner = Literal("BAD", Rule("test", "BAD", Action.BLOCK))
    beyond = Literal("and on", Rule("test", "and on", Action.REWRITE))
    for made in ([beyond, later, sooner], [later, sooner, beyond], [sooner, beyond, later]):
        scan = PromptScan(["fine", "a BAD and", "a WORSE and on"], " ", made)
        assert list(scan.run()) == []
        assert scan.blocked is not None
        assert (scan.blocked.part, scan.blocked.finding.rule) == (1, sooner.rule)
    scan = PromptScan(["x and on"], " ", [beyond, last])  # one that never waits is read first
    assert list(scan.run()) == []
    assert [located.finding.rule for located in scan.new_findings()] == [last.rule]


def test_what_grew_over_a_mark_goes_back_with_it() -> None:
    """A span that reaches into a text that is replaced, ends where it ended before that text."""
    grows = compile_rule(MatchRule(Rule("test", "a", Action.REWRITE, replacement=Replacement("#")), "a+"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompt, "SLICE", 4)
        scan = PromptScan(["xaaa", "aaaa", "aBAD", "aaaa"], "", [Matcher([grows]), *literals("BAD")])
        result, found, again = settled(scan, set())
    assert again is None
    assert result == ["x#", "", NOTICE, "#"]
    assert found.count((0, "a")) <= 2


def test_a_match_that_two_views_see_is_told_once() -> None:
    """JSON source is read as it is written, and with its escapes resolved."""
    rule = compile_rule(MatchRule(Rule("test", "bomb", Action.FLAG), "bomb"))
    scan = PromptScan(['{"a": "bomb"}'], "", [Matcher([rule], escaped=True)], escaped=True)
    assert len([*scan.run()]) == 1
    assert len(scan.new_findings()) == 1


@pytest.mark.parametrize("marks", [50, 5000])
def test_blocks_that_bring_up_blocks_before_them(monkeypatch: pytest.MonkeyPatch, marks: int) -> None:
    """Where each notice makes a phrase with the text before it, going back goes little further than that text."""
    monkeypatch.setattr(prompt, "MAX_MARKS", marks)
    made = literals("BAD", "?N")
    parts = [*["why?"] * 4000, "BAD"]
    result, _, again = settled(PromptScan(parts, "", made), set())
    assert again is None
    assert set(result) == {NOTICE}
    assert max(check.opened for check in made) <= 2
    assert max(check.read for check in made) < 400 * len(parts)  # a twentieth of reading all for each


@pytest.mark.parametrize("insert", ["", "_"])
def test_no_step_of_painting_is_long(monkeypatch: pytest.MonkeyPatch, insert: str) -> None:
    """A text of nothing but matches is painted in steps: each locates some of them, or writes a slice."""
    count = 40_000
    text = "bomb "
    check = Literal("bomb", Rule("test", "bomb", Action.REWRITE, replacement=Replacement("#", insert=insert)))
    scan = PromptScan([text * count], "", [check])
    news = [len(scan.new_findings()) for _ in scan.run()]
    assert check.most <= SLICE
    assert max(news) <= SLICE // len(text) + 1
    hidden: list[Finding] = []
    hide = Gate._hide

    def watched(gate: Gate, finding: Finding) -> None:
        hidden.append(finding)
        hide(gate, finding)

    monkeypatch.setattr(Gate, "_hide", watched)
    most = steps = 0
    for _ in scan.apply_rewrites():
        steps += 1
        most = max(most, len(hidden))
        hidden.clear()
    assert steps >= count // BATCH + count * len(text) // SLICE
    assert 0 < most <= SLICE // len(text) + 1
    assert scan.parts == [("b_omb " if insert else "# ") * count]


def test_a_span_longer_than_a_slice_is_painted_as_one() -> None:
    """It has one label, in the first of the texts over which it goes."""
    rule = Rule("test", "a", Action.REWRITE, replacement=Replacement("#"))
    check = Matcher([compile_rule(MatchRule(rule, "(?s)<.*>", max_hold=10 * SLICE))])
    parts = ["a<" + "b" * 2 * SLICE, "c" * 3 * SLICE, "d" * SLICE + ">e"]
    scan = PromptScan(parts, "\n\n", [check])
    for _ in (*scan.run(), *scan.apply_rewrites()):
        pass
    assert scan.parts == ["a#", "", "e"]


def test_what_grew_is_told_once_and_hidden_whole() -> None:
    """A match that goes on in the next slice is one finding."""
    rule = Rule("test", "a", Action.REWRITE, replacement=Replacement("#"))
    check = Matcher([compile_rule(MatchRule(rule, "a+"))])
    scan = PromptScan(["a" * 2 * SLICE + "b"], "", [check])
    found = [located for _ in scan.run() for located in scan.new_findings()] + scan.new_findings()
    for _ in scan.apply_rewrites():
        pass
    assert scan.parts == ["#b"]
    assert [(located.part, located.finding.rule) for located in found] == [(0, rule)]

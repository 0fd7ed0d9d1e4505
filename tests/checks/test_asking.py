"""Rules that ask: the laws, the oracle, and what is let out beside other rules, whatever the order of the answers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.asking import AskingRule, Pieces, Spot, Whole
from proxy.checks.fail_open import failed_open
from proxy.core.check import Check
from proxy.core.events import Frame, Release, TextDelta
from proxy.core.failures import CheckFailed, Failures, Reason
from proxy.core.gate import Gate
from proxy.core.guard import CHECK_FAILED, Guard
from proxy.core.types import Action, Channel, Kind
from proxy.matching.compiled import compile_rule
from proxy.matching.matcher import Matcher
from proxy.matching.rules import MatchRule
from proxy.testing import Replies, check_asking, check_laws, let_out
from tests.checks.questions import Finds, all_of, asking, where
from tests.laws import cut
from tests.phrases import block, flag, rewrite

TEXT = st.text("ab. !", max_size=30)
SPLITS: list[str | int] = ["stops", "whole", "sentences", 1, 3, 7]
LATE = CheckFailed("asked", Reason.DEADLINE, "did not answer in time")


@pytest.mark.parametrize("by", SPLITS)
@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("how", [{}, {"fails_open": True}])
def test_it_obeys_the_laws(action: Action, by: str | int, how: dict[str, Any]) -> None:
    """Flag, rewrite and block, however the segments end, with answers in random order of which some fail."""
    texts = ["", "a", "b.", "a. b. a.", "abab. ..b", "no. such. thing. in. here. but b"]
    check_laws(asking(action, by, **how), texts, cuts=5, replies=where("b"))
    check_laws(asking(action, by, **how), texts, cuts=5, replies=all_of("b"))


@given(text=TEXT, places=st.integers(0, 2**30), seed=st.integers(0, 2**32), by=st.sampled_from(SPLITS))
def test_what_is_let_out_is_what_the_segments_say(text: str, places: int, seed: int, by: str | int) -> None:
    """The oracle: cut the whole text, ask about each segment, and put the text together again."""
    replies = where("b")
    for action in Action:
        out = let_out([asking(action, by)], cut(text, places), replies, random.Random(seed)).out
        assert out == said(action, by, text, replies)


def said(action: Action, by: str | int, text: str, replies: Replies) -> str:
    """What the answers say of a whole text."""
    out = ""
    for segment in Finds(by).split().feed(text, final=True):
        data = Finds(by).question(asking(action).open()._turn, "", segment.text)
        spots = replies(data) if data is not None else ()
        assert isinstance(spots, tuple)
        if action is Action.BLOCK and spots:
            return out + segment.text[: min(start for start, _ in spots)]
        out += segment.text.replace("b", "[?]") if action is Action.REWRITE and spots else segment.text
    return out


def matcher(*rules: tuple[str, Action]) -> Matcher:
    """Patterns with these actions."""
    base = rewrite("x").rule
    own = [(replace(base, id=p, action=action, order=50 + i), p) for i, (p, action) in enumerate(rules)]
    return Matcher([compile_rule(MatchRule(rule, pattern)) for rule, pattern in own])


BESIDE: list[list[Any]] = [
    [asking(Action.BLOCK, "stops"), matcher(("a[b.]*!", Action.REWRITE))],
    [asking(Action.BLOCK, "stops"), rewrite("ab")],
    [asking(Action.REWRITE, "stops"), block("a.b"), flag("a")],
    [asking(Action.BLOCK, 3), asking(Action.BLOCK, "stops", 2), block("!!")],
    [asking(Action.BLOCK, 4, 3), asking(Action.REWRITE, "stops", 2), block("aa"), rewrite(". ")],
    [asking(Action.BLOCK, "stops"), asking(Action.BLOCK, 5, 9, fails_open=True), matcher(("a+b", Action.REWRITE))],
    [asking(Action.FLAG, 2, fails_open=True), asking(Action.REWRITE, "whole"), matcher(("a ?!|b+ a", Action.BLOCK))],
    [
        asking(Action.REWRITE, 3),
        asking(Action.REWRITE, 5, 2),
        matcher(("a[b.]*!", Action.REWRITE), ("aaa", Action.BLOCK)),
    ],
]


@pytest.mark.parametrize("checks", BESIDE, ids=range(len(BESIDE)))
@given(text=TEXT, places=st.integers(0, 2**30), seed=st.integers(0, 2**32), fails=st.sampled_from((0.0, 0.3)))
def test_beside_other_rules_neither_cut_nor_order_matters(
    checks: Sequence[Check], text: str, places: int, seed: int, fails: float
) -> None:
    """What is let out, what blocks and what is hidden are the same as when each answer comes at once."""

    def replies(data: Any) -> object:
        return LATE if random.Random(f"{seed} {data}").random() < fails else where("b")(data)

    wanted = let_out(checks, list(text), replies, None)
    assert let_out(checks, cut(text, places), replies, random.Random(seed)) == wanted


def test_nothing_leaves_before_its_verdict_and_what_has_one_does() -> None:
    """Answers in any order: what is released is the text up to the first segment without an answer."""
    gate = Gate([asking(Action.BLOCK)])
    assert gate.feed("one. two. three. fo") == ""
    first, second, third = gate.take_asks()
    assert [one.ask.data for one in (first, second, third)] == ["one.", " two.", " three."]
    assert gate.answer(second.key, ()) == ""
    assert gate.answer(first.key, ()) == "one. two."
    assert gate.feed("ur.") == ""
    (fourth,) = gate.take_asks()
    assert gate.answer(fourth.key, ()) == ""
    assert gate.answer(third.key, ()) == " three. four."
    assert (gate.feed("", final=True), gate.undecided) == ("", False)


def test_a_block_that_is_known_early_waits_for_what_may_end_the_text_before() -> None:
    """And what arose behind it is not asked any more."""
    gate = Gate([asking(Action.BLOCK)])
    gate.feed("one. two. three.")
    first, second, third = gate.take_asks()
    assert gate.answer(second.key, ((1, 4),)) == ""
    assert (gate.blocked, gate.undecided, gate.take_dropped()) == (None, True, [third.key])
    assert gate.feed(" four.") == ""
    assert gate.take_asks() == []
    assert gate.answer(first.key, ()) == "one. "
    assert gate.blocked is not None
    assert (gate.blocked.start, gate.blocked.end) == (5, 8)
    assert gate.answer(third.key, ()) == ""


def test_a_block_of_another_rule_waits_for_the_segments_before_it() -> None:
    """They were asked about before it was found, so they may still go out, or end the text earlier."""
    for reply, out, blocked in (((), "one.", "block.bomb"), (((0, 3),), "", "block.stops")):
        gate = Gate([asking(Action.BLOCK), block("bomb")])
        assert gate.feed("one. a bomb. two.") == ""
        (asked,) = gate.take_asks()
        assert gate.answer(asked.key, reply) == out
        assert gate.blocked is not None
        assert gate.blocked.rule.id == blocked


@pytest.mark.parametrize("fails_open", [False, True])
def test_a_question_without_an_answer_goes_by_on_error(fails_open: bool) -> None:
    """Its segment passes and is counted, or ends the text; what other rules hide stays hidden."""
    failures = Failures()
    check = asking(Action.BLOCK, fails_open=fails_open).for_exchange(failures)
    got = let_out([check, rewrite("two")], ["one. two", ". three."], lambda data: LATE if data == " two." else (), None)
    assert got.out == ("one. [X]. three." if fails_open else "one.")
    assert (got.blocked.rule if got.blocked else None) is (None if fails_open else CHECK_FAILED)
    assert list(failures) == [(check.on_error, LATE)]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("yes", Reason.WRONG_ANSWER),
        (((0, 99),), Reason.FINDING),
        (((2, 2),), Reason.FINDING),
        (((-1, 2),), Reason.FINDING),
    ],
)
def test_an_answer_that_is_none_has_failed(reply: object, reason: Reason) -> None:
    """Garbage, and places outside of the segment."""
    failures = Failures()
    got = let_out([asking(Action.FLAG).for_exchange(failures)], ["one."], lambda _: reply, None)
    assert got.blocked is not None
    assert [(on_error, failed.reason) for on_error, failed in failures] == [("block", reason)]


def test_a_rule_that_only_watches_holds_nothing_and_blocks_nothing() -> None:
    """Not even where nobody answers."""
    gate = Gate([asking(Action.BLOCK).enforced(False)])
    assert gate.feed("one. two.") == "one. two."
    for one in gate.take_asks():
        assert gate.answer(one.key, LATE) == ""
    assert gate.blocked is None
    assert {finding.rule for finding in gate.findings} == {failed_open("asked", "deadline")}


def test_after_lets_text_out_and_a_block_ends_what_is_to_come() -> None:
    """The operator has chosen that: a person may have read what was blocked."""
    gate = Gate([asking(Action.BLOCK, after=True)])
    assert gate.feed("one. tw") == "one. tw"
    (asked,) = gate.take_asks()
    assert gate.answer(asked.key, ((0, 3),)) == ""
    assert gate.blocked is not None
    assert gate.feed("o.") == ""


def test_a_weaker_action_of_an_answer_is_taken() -> None:
    """A service may tell kinds of findings apart, and the rule says what is done for each."""
    strong = asking(Action.BLOCK)
    weaker = {Action.REWRITE: replace(strong.rule, action=Action.REWRITE)}

    class Kinds(Finds):
        def spots(self, text: str, reply: object) -> list[Spot]:
            return [Spot(0, 1, Action.REWRITE)] if "b" in text else []

    check = replace(strong, questions=Kinds(), weaker=weaker)
    assert let_out([check], ["b. a."], lambda _: (), None).out == "[?]. a."


@given(text=st.text("ab", max_size=20), size=st.integers(1, 6), places=st.integers(0, 2**20))
def test_the_pieces_joined_are_the_text(text: str, size: int, places: int) -> None:
    """However it was cut."""
    for splitter in (Pieces(size), Whole()):
        segments = [one for chunk in cut(text, places) for one in splitter.feed(chunk)] + splitter.feed("", final=True)
        assert "".join(one.text for one in segments) == text
        assert all(one.end == other.start for one, other in pairwise(segments))


def test_the_laws_find_a_check_that_depends_on_the_order() -> None:
    """They are worth nothing otherwise."""

    class Counting(Finds):
        times: list[int] = []

        def spots(self, text: str, reply: object) -> list[Spot]:
            self.times.append(1)
            return [Spot(0, 1)] if len(self.times) % 2 else []

    check = replace(asking(Action.REWRITE), questions=Counting())
    with pytest.raises(AssertionError):
        check_asking(check, "a. b. a. b.", lambda _: (), random.Random(1))


def test_text_of_the_client_is_context_and_never_asked_about() -> None:
    """A prefill: the checks that ask begin with what the model adds."""
    gate = Gate([asking(Action.BLOCK)])
    gate.prime("you said. and")
    assert gate.feed(" so. on") == ""
    (asked,) = gate.take_asks()
    assert (asked.ask.data, asked.ask.start, asked.ask.end) == (" so.", 13, 17)
    assert gate.answer(asked.key, ()) == " so."


def test_it_says_how_long_it_holds() -> None:
    """For the report of a load."""
    assert asking(Action.FLAG).describe() == "asks asked, never holds"
    assert asking(Action.BLOCK, "whole").describe() == "asks asked, holds the whole text"
    assert AskingRule.for_exchange(asking(Action.BLOCK, 8), Failures()).hold == 7


class Everywhere:
    """The same checks for all texts."""

    def __init__(self, *checks: Any) -> None:
        self._checks = checks
        self.admitted: set[tuple[Kind, str]] = set()

    def checks(self, kind: Kind, escaped: bool = False) -> tuple[Check, ...]:
        """These."""
        return self._checks


def test_a_block_of_a_choice_drops_the_questions_of_its_other_channels() -> None:
    """Nothing of them will be sent; those of another choice stay open."""
    guard = Guard(Everywhere(asking(Action.BLOCK)))
    for choice, name, text in ((0, "a", "One."), (0, "b", "Two."), (1, "a", "Three.")):
        guard.release(Frame(b"", (TextDelta(Channel(choice, Kind.CONTENT, name), text),)))
    one, two, three = guard.take_questions()
    release = guard.answer(one, ((0, 3),))
    assert release is not None
    assert release.blocked_choices == (0,)
    assert guard.take_dropped() == [two.name]
    assert guard.answer(two, ()) is None
    assert guard.answer(three, ()) == Release((), (TextDelta(three.channel, "Three."),))


def test_one_go_is_refused_where_an_answer_is_needed() -> None:
    """Nobody could bring it: a caller that cannot wait must not loop for ever."""
    guard = Guard(Everywhere(asking(Action.BLOCK)))
    guard.release(Frame(b"", (TextDelta(Channel(0, Kind.CONTENT), "One."),)))
    with pytest.raises(RuntimeError, match="a question is open"):
        guard.finish()


def test_ids_and_names_beside_an_answer_are_judged_by_the_others_alone() -> None:
    """Nobody is asked about them."""
    guard = Guard(Everywhere(asking(Action.BLOCK), block("bad")))
    assert guard.admits("call_1")
    assert not guard.admits("bad")

"""Rules that ask a guard: what they ask, what a verdict means to them, and the laws of all checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import convert

from proxy.checks.asking import AskingRule, Spot
from proxy.checks.guards.calls import Generated
from proxy.checks.guards.format import Level
from proxy.checks.guards.gates import Start
from proxy.checks.guards.judge import GuardQuestion, GuardReply, JudgeOptions, JudgeQuestions, judge_kind
from proxy.checks.guards.verdict import UNKNOWN, Verdict
from proxy.checks.kinds import OptionError
from proxy.core.check import NO_TURN, Said, Turn
from proxy.core.types import Action, Direction, Rule
from proxy.testing import check_laws, cut
from tests.checks.guards.formats import FORMATS, RUBRIC

KIND = judge_kind(FORMATS)
GUARD = "llama-guard-3-8b"
TEXT = "Take some flour. Then add the poison, and stir it well for an hour! Serve it warm. Nobody will know."


def judging(action: Action = Action.BLOCK, **options: Any) -> AskingRule:
    """A rule that asks a guard."""
    given_options = {"format": GUARD, "model": "guard"} | options
    made = KIND.make(Rule("p", "judge", action), convert(given_options, JudgeOptions))
    assert isinstance(made, AskingRule)
    return made


def questions(**options: Any) -> JudgeQuestions:
    """What such a rule asks."""
    found = judging(**options).questions
    assert isinstance(found, JudgeQuestions)
    return found


def asked(found: JudgeQuestions, text: str, turn: Turn = NO_TURN, before: str = "") -> GuardQuestion:
    """The question about a segment."""
    question = found.question(turn, before, text)
    assert question is not None
    return question


def says(*replies: str) -> Callable[[Any], GuardReply]:
    """A guard that says this to the prompts of any question."""
    return lambda question: GuardReply(question, tuple(Generated(reply, True) for reply in replies))


def minds(word: str, category: str = "S1") -> Callable[[Any], GuardReply]:
    """A guard that finds each prompt unsafe in which a word stands."""

    def reply(question: Any) -> GuardReply:
        said = [f"unsafe\n{category}" if word in prompt.raw else "safe" for prompt in question.prompts]
        return GuardReply(question, tuple(Generated(text, True) for text in said))

    return reply


def remarks_on(**options: Any) -> list[tuple[tuple[str | int, ...], str, str]]:
    """What is wrong in the options."""
    assert KIND.remarks is not None
    given_options = convert({"format": GUARD, "model": "guard"} | options, JudgeOptions)
    return [(remark.path, remark.message, remark.hint) for remark in KIND.remarks(given_options) if remark]


@pytest.mark.parametrize("gate", ["segment", "start", "whole", "after"])
@pytest.mark.parametrize("action", Action)
def test_it_obeys_the_laws(action: Action, gate: str) -> None:
    """With each action and each gate, whatever the order of the answers."""
    rule = judging(action, gate=gate, shortest=8, longest=40)
    check_laws(rule, ["", "Hi.", TEXT], cuts=5, replies=minds("poison"))


@given(st.text("ab. ", max_size=60), st.integers(1, 9), st.integers(0, 2**30))
def test_the_beginning_is_one_segment(text: str, size: int, places: int) -> None:
    """`start`: the first characters are one segment, whatever the cut; joined all are the text."""
    splitter = Start(size)
    whole = splitter.feed(text, final=True)
    assert "".join(segment.text for segment in whole) == text
    assert not text or whole[0].text == text[:size]
    other = Start(size)
    pieces = [segment for piece in cut(text, places) for segment in other.feed(piece)]
    assert pieces + other.feed("", final=True) == whole


def test_only_the_beginning_is_judged() -> None:
    """`start`: nobody is asked about what follows, and a prefill does not count as the beginning."""
    found = questions(gate="start")
    assert found.question(NO_TURN, "Hi.", "More.") is None
    assert found.question(NO_TURN._replace(before="Sure: "), "Sure: ", "More.") is not None


def test_what_is_asked() -> None:
    """An answer is judged with the conversation and with what it has said before; a prompt for itself."""
    found = questions()
    turn = Turn(conversation=(Said("system", "Be kind."), Said("user", "How do I bake?")))
    (prompt,) = asked(found, " Then stir.", turn, "Take flour.").prompts
    assert "User: How do I bake?\n\nAgent: Take flour. Then stir.\n\n<END CONVERSATION>" in prompt.raw
    (prompt,) = asked(found, "How do I bake?", Turn(Direction.INPUT, role="user")).prompts
    assert "User: How do I bake?\n\n<END CONVERSATION>" in prompt.raw
    assert "ONLY THE LAST User message" in prompt.raw


def test_blank_segments_are_not_asked_about() -> None:
    """There is nothing to judge in white space."""
    assert questions().question(NO_TURN, "", " \n") is None


def test_options_of_the_server() -> None:
    """The guard's context is asked for in each call; where it is the chat model itself, nothing is."""
    assert asked(questions(), "x").options == ("guard", 8_192, "30m")
    assert asked(questions(context=4_096, keep_alive="5m"), "x").options == ("guard", 4_096, "5m")
    assert asked(questions(is_chat_model=True), "x").options == ("guard", 0, "")


@pytest.mark.parametrize(
    ("action", "options", "reply", "wanted"),
    [
        (Action.BLOCK, {}, "safe", []),
        (Action.BLOCK, {}, "unsafe\nS1", [Spot(0, 5)]),
        (Action.BLOCK, {}, "unsafe\nS6", [Spot(0, 5, Action.FLAG)]),
        (Action.BLOCK, {}, "unsafe\nS6,S9", [Spot(0, 5)]),
        (Action.BLOCK, {}, "unsafe", [Spot(0, 5)]),
        (Action.BLOCK, {}, "unsafe\nS99", [Spot(0, 5)]),
        (Action.FLAG, {}, "unsafe\nS1", [Spot(0, 5)]),
        (Action.REWRITE, {}, "unsafe\nS1", [Spot(0, 5)]),
        (Action.REWRITE, {}, "unsafe\nS6", [Spot(0, 5, Action.FLAG)]),
        (Action.BLOCK, {"categories": {"s6": "block", "S1": "rewrite"}}, "unsafe\nS6", [Spot(0, 5)]),
        (Action.BLOCK, {"categories": {"s6": "block", "S1": "rewrite"}}, "unsafe\nS1", [Spot(0, 5, Action.REWRITE)]),
        (Action.BLOCK, {"categories": {"S1": "ignore"}}, "unsafe\nS1", []),
        (Action.BLOCK, {"only": ["S6"]}, "unsafe\nS6", [Spot(0, 5, Action.FLAG)]),
        (Action.BLOCK, {"only": ["S9"]}, "unsafe\nS1", []),
    ],
)
def test_what_a_verdict_means(action: Action, options: dict[str, Any], reply: str, wanted: list[Spot]) -> None:
    """The shipped map, what the policy changes in it, and that no category is stronger than the rule."""
    found = questions(action=action, **options)
    assert list(found.spots("hello", says(reply)(asked(found, "hello")))) == wanted


def test_own_categories() -> None:
    """A category of the policy stands in the prompt, and its verdict counts."""
    found = questions(criteria={"S15": "Cooking."}, categories={"S15": "flag"})
    question = asked(found, "hello")
    assert "S14: Code Interpreter Abuse.\nS15: Cooking.\n<END" in question.prompts[0].raw
    assert list(found.spots("hello", says("unsafe\nS15")(question))) == [Spot(0, 5, Action.FLAG)]


def test_ignored_categories_are_not_in_the_prompt() -> None:
    """The guard is not told of a category that nobody wants to know about."""
    raw = asked(questions(categories={"S1": "ignore"}), "hello").prompts[0].raw
    assert "S1: Violent" not in raw
    assert "S2: Non-Violent Crimes." in raw
    assert "CATEGORIES>\nS9: Indiscriminate Weapons.\n<END" in asked(questions(only=["S9"]), "hello").prompts[0].raw


def test_controversial() -> None:
    """It is flagged, and with `strict` counts as unsafe."""
    for strict, wanted in ((False, Action.FLAG), (True, Action.BLOCK)):
        found = questions(format="qwen3guard-gen", strict=strict)
        assert found.action(Verdict(Level.CONTROVERSIAL, ("violent",))) is wanted
        assert found.action(Verdict(Level.UNSAFE, (UNKNOWN,))) is Action.BLOCK


def test_several_prompts() -> None:
    """One category that is broken is enough; a reply that cannot be read is an error unless another one blocks."""
    found = questions(format="shieldgemma")
    question = asked(found, "hello")
    assert [prompt.category for prompt in question.prompts] == ["dangerous", "harassment", "hate", "sexual"]
    assert list(found.spots("hello", says("No", "No", "No", "No")(question))) == []
    assert list(found.spots("hello", says("No", "Yes", "No", "No")(question))) == [Spot(0, 5)]
    assert list(found.spots("hello", says("No", "Yes", "Maybe", "No")(question))) == [Spot(0, 5)]
    for replies in (("No", "No", "Maybe", "No"), ("No", "No", "Maybe", "Yes"), ("No", "No", "No")):
        with pytest.raises(ValueError, match="guard"):
            list(found.spots("hello", says(*replies)(question)))


def test_no_reply_of_a_guard() -> None:
    """Anything else than a reply is no answer."""
    with pytest.raises(ValueError, match="no reply"):
        list(questions().spots("hello", "safe"))


@pytest.mark.parametrize(
    ("options", "path", "message", "hint"),
    [
        (
            {"format": "llama-guard-3"},
            ("format",),
            "there is no format `llama-guard-3`",
            "did you mean `llama-guard-3-",
        ),
        ({"format": "x"}, ("format",), "there is no format `x`", "there are: gpt-oss-safeguard, "),
        ({"format": "llama-guard-4"}, ("format",), "`llama-guard-4` is not verified: Only the names", "take another"),
        ({"format": "rubric"}, ("rubric",), "the format `rubric` judges by a rule of yours", "write your rule"),
        ({"rubric": "No."}, ("rubric",), f"`rubric` means nothing to the format `{GUARD}`", "remove it, or write"),
        (
            {"categories": {"S99": "flag"}},
            ("categories", "S99"),
            f"`{GUARD}` has no category `S99`",
            "did you mean `S9`",
        ),
        ({"only": ["S1", "Q"]}, ("only", 1), f"`{GUARD}` has no category `Q`", "known: S1, S2"),
        ({"criteria": {"S1": "x"}}, ("criteria", "S1"), "`S1` is a category of the format", "take another name"),
        ({"format": "wildguard", "criteria": {"a": "x"}}, ("criteria",), "the format `wildguard` takes no", "remove"),
        ({"only": ["S1"], "categories": {"S1": "ignore"}}, ("categories",), "nothing is left to ask about", "leave"),
        ({"shortest": 700}, ("shortest",), "it is more than `longest`", "write at most 600"),
    ],
)
def test_wrong_options(options: dict[str, Any], path: tuple[str | int, ...], message: str, hint: str) -> None:
    """What is wrong is told with its place, the reason and the fix."""
    ((where, told, fix),) = remarks_on(**options)
    assert where == path
    assert told.startswith(message)
    assert fix.startswith(hint)


@pytest.mark.parametrize("name", sorted(name for name, guard in FORMATS.items() if guard.verified))
def test_each_verified_format_can_be_used(name: str) -> None:
    """A rule needs no more than its name, the model's and, where the format has it so, a rubric."""
    rubric = {"rubric": RUBRIC} if FORMATS[name].needs_rubric else {}
    assert remarks_on(format=name, **rubric) == []
    question = asked(questions(format=name, **rubric), "Hello")
    assert question.prompts
    assert question.guard.verified


def test_a_context_that_is_too_small() -> None:
    """It is an error at load that says how much the prompt takes."""
    with pytest.raises(OptionError, match="no room"):
        judging(format="qwen3guard-gen", context=512)

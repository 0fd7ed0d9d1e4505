"""A request's texts, judged as the model will read them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Sequence

import pytest

from proxy.core.check import Check, Progress, Resumable
from proxy.core.guard import CHECK_FAILED
from proxy.core.prompt import SLICE
from proxy.core.types import Action, Direction, Finding, Kind, Replacement, Rule
from proxy.dialects.common.request_fields import MOST_TEXTS
from proxy.dialects.request import InputText
from proxy.errors import BadRequest
from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from proxy.server.exchange.prompt_filter import OPENING, PASSES, REMEMBERED, UNSTABLE, Blocked, judge_request
from proxy.server.exchange.record import Exchange, Outcome
from tests.literals import Literal
from tests.phrases import block, flag, rewrite
from tests.server.running import Plan
from tests.waiting import PATIENCE

pytestmark = pytest.mark.anyio


def texts(*contents: str, newest: bool = True) -> list[InputText]:
    """The parts of one message."""
    body = list(contents)
    return [InputText("user", text, f"messages[0].content[{i}]", body, i, newest) for i, text in enumerate(contents)]


async def judged(given: Sequence[InputText], *checks: Check, strict: bool = False) -> Exchange:
    """Judge them; the notice is short."""
    exchange = Exchange("/x")
    await judge_request(given, "\n\n", lambda _: Plan(checks), lambda _: "stopped", exchange, strict)
    return exchange


async def test_a_phrase_that_is_split_over_two_parts() -> None:
    """Parts are judged as the model reads them: joined, so that a phrase split over two of them is found."""
    with pytest.raises(Blocked) as caught:
        await judged(texts("say FOR", "BIDDEN"), block("FOR\n\nBIDDEN"))
    assert caught.value.finding.rule.id == "block.FOR\n\nBIDDEN"


async def test_texts_of_different_groups_are_judged_apart() -> None:
    """What the model does not read as one is not judged as one."""
    given = texts("say FOR", "BIDDEN")
    given[1].group = 1
    await judged(given, block("FOR\n\nBIDDEN"))


async def test_a_rewrite_is_written_back() -> None:
    """A rewritten span is replaced in the part in which it begins, and taken out of the one in which it ends."""
    given = texts("a FOR", "BIDDEN b")
    exchange = await judged(given, rewrite("FOR\n\nBIDDEN", "[X]"))
    assert [text.text for text in given] == ["a [X]", " b"]
    assert given[0].container == ["a [X]", " b"]
    assert exchange.outcome is Outcome.REWRITTEN
    assert len(exchange.findings) == 1


async def test_what_is_sent_is_what_was_judged() -> None:
    """What a rewrite brings together is judged again."""
    given = texts("aXXb")
    with pytest.raises(Blocked):
        await judged(given, rewrite("XX", "-"), block("a-b"))


class Growing:
    """A rewrite that never comes to rest: each finds itself again."""

    hold = 0
    rule = Rule("test", "growing", Action.REWRITE)

    def open(self) -> Growing:
        """Itself."""
        return self

    def feed(self, text: str, final: bool = False) -> Progress:
        """Hide the first character, always."""
        return Progress(len(text), (Finding(0, 1, self.rule),) if text else ())


async def test_a_rewrite_that_never_comes_to_rest() -> None:
    """Rules that rewrite each other's work for ever end the request: fail closed."""
    with pytest.raises(Blocked) as caught:
        await asyncio.wait_for(judged(texts("abc"), Growing()), PATIENCE)
    assert caught.value.finding.rule is UNSTABLE


async def test_several_blocked_texts_of_the_history() -> None:
    """Every blocked text of an earlier turn is replaced, each is reported once, and the rest stays as it was."""
    given = texts("BAD one", "fine", "BAD two", "so so", newest=False)
    exchange = await judged(given, block("BAD"), flag("so so"))
    assert [text.text for text in given] == ["stopped", "fine", "stopped", "so so"]
    assert {direction for direction, _ in exchange.findings} == {"history"}
    assert sorted(finding.rule.id for _, finding in exchange.findings) == ["block.BAD", "block.BAD", "flag.so so"]


async def test_a_notice_that_is_itself_blocked() -> None:
    """If the notice is blocked too, the request ends instead of going round for ever."""
    with pytest.raises(Blocked):
        await judged(texts("BAD", newest=False), block("BAD"), block("stopped"))


def conversation(*contents: str, new: int = 1) -> list[InputText]:
    """Texts of which the last ones are new."""
    given = texts(*contents, newest=False)
    for text in given[len(given) - new :]:
        text.newest = True
    return given


async def test_a_blocked_text_before_the_new_one() -> None:
    """The notice stands in its place, and the request goes on."""
    given = conversation("say BAD", "well", "go on")
    exchange = await judged(given, block("BAD"))
    assert [text.text for text in given] == ["stopped", "well", "go on"]
    assert exchange.outcome is Outcome.REWRITTEN
    assert [direction for direction, _ in exchange.findings] == ["history"]


@pytest.mark.parametrize("contents", [("go on", "say BAD"), ("BAD", "BAD"), ("FOR", "BIDDEN"), ("a", "FOR", "BIDDEN")])
async def test_a_block_that_needs_the_new_text(contents: tuple[str, ...]) -> None:
    """The request is refused: also for a phrase that begins in an earlier text."""
    given = conversation(*contents)
    with pytest.raises(Blocked):
        await judged(given, block("BAD"), block("FORBIDDEN"))


async def test_a_split_phrase_is_history_in_the_next_turn() -> None:
    """Then it is replaced where it begins, and no longer refused."""
    given = conversation("FOR", "BIDDEN", "go on")
    await judged(given, block("FORBIDDEN"))
    assert [text.text for text in given] == ["stopped", "BIDDEN", "go on"]


async def test_history_block_refuses_the_request() -> None:
    """Whatever the new text is, when `history` says so."""
    with pytest.raises(Blocked):
        await judged(conversation("say BAD", "go on"), block("BAD"), strict=True)


async def test_a_notice_that_makes_a_phrase_with_the_next_text() -> None:
    """That one is replaced too."""
    given = conversation("BAD", "now", "go on")
    await judged(given, block("BAD"), block("stopped\n\nnow"))
    assert [text.text for text in given] == ["stopped", "stopped", "go on"]


async def test_a_notice_that_makes_a_phrase_with_the_new_text() -> None:
    """The new text is needed for it, so it is refused."""
    with pytest.raises(Blocked) as caught:
        await judged(conversation("BAD", "now"), block("BAD"), block("stopped\n\nnow"))
    assert caught.value.finding.rule.id == "block.stopped\n\nnow"


async def test_the_notice_in_arguments_is_json() -> None:
    """The model server parses a call's arguments, so what replaces them is an object."""
    given = conversation('{"a": "BAD"}', "go on")
    given[0].escaped = True
    await judged(given, block("BAD"))
    assert json.loads(given[0].text) == {"notice": "stopped"}


async def test_the_notice_for_what_the_model_said() -> None:
    """An earlier answer has the notice for answers, everything else the one for prompts."""
    given = conversation("BAD", "BAD", "go on")
    given[1].role = "assistant"
    plan = Plan((block("BAD"),))
    await judge_request(
        given, "", lambda _: plan, lambda _: "no prompt", Exchange("/x"), answer_notice=lambda _: "no answer"
    )
    assert [text.text for text in given] == ["no prompt", "no answer", "go on"]


class Failing:
    """A check that cannot read some texts: it raises when a character comes so many times in a row."""

    hold = 0
    rule = Rule("test", "failing", Action.BLOCK)

    def __init__(self, character: str, most: int) -> None:
        self._flood = character * (most + 1)
        self._text = ""

    def open(self) -> Failing:
        """A fresh scan."""
        return Failing(self._flood[0], len(self._flood) - 1)

    def feed(self, text: str, final: bool = False) -> Progress:
        """Nothing, or the failure."""
        self._text += text
        if self._flood in self._text:
            raise ValueError("a flood")
        return Progress(len(self._text), ())


async def test_an_earlier_text_on_which_a_check_fails() -> None:
    """It is replaced and counted; the texts beside it stay. Else such a conversation would be refused for ever."""
    given = conversation("fine", "xxxxxx", "well", "go on")
    exchange = await judged(given, Failing("x", 4))
    assert [text.text for text in given] == ["fine", "stopped", "well", "go on"]
    assert [type(error) for error in exchange.check_errors] == [ValueError]
    assert [(direction, finding.rule) for direction, finding in exchange.findings] == [("history", CHECK_FAILED)]


async def test_earlier_texts_on_which_a_check_fails_together() -> None:
    """All of them are replaced: none can be told from the others."""
    given = conversation("axxx", "xxxb", "well", "go on")
    await judged(given, Failing("x", 4))
    assert [text.text for text in given] == ["stopped", "stopped", "stopped", "go on"]


@pytest.mark.parametrize("contents", [("fine", "xxxxx"), ("xxx", "xxx")])
async def test_a_new_text_on_which_a_check_fails(contents: tuple[str, ...]) -> None:
    """The request is refused: fail closed."""
    check = Failing("x", 4)
    exchange = Exchange("/x")
    given = conversation(*contents, new=1 if "fine" in contents else 2)
    with pytest.raises(Blocked) as caught:
        await judge_request(given, "", lambda _: Plan((check,)), lambda _: "stopped", exchange)
    assert caught.value.finding.rule is CHECK_FAILED
    assert ("input", CHECK_FAILED) in [(direction, finding.rule) for direction, finding in exchange.findings]


async def test_an_earlier_text_whose_rewriting_never_comes_to_rest() -> None:
    """It is replaced, so that the conversation can go on, with all that rewriting does to the new text."""
    given = conversation("a" * 20 + "b" * 20, "go abon")
    exchange = await judged(given, Literal("ab", Rule("test", "ab", Action.REWRITE, replacement=Replacement(""))))
    assert [text.text for text in given] == ["stopped", "go on"]
    assert ("history", UNSTABLE) in [(direction, finding.rule) for direction, finding in exchange.findings]


async def turns_of(judging: Awaitable[object]) -> int:
    """How often others had their turn meanwhile."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    await judging
    counting.cancel()
    await asyncio.wait([counting])
    return turns


async def test_others_run_meanwhile() -> None:
    """While a long prompt is judged, other tasks run."""
    assert await turns_of(judged(texts(*["x" * 4000] * 12), flag("y"))) >= 4


async def test_others_run_while_many_matches_are_written() -> None:
    """Also where what is found takes longer than to find it: at each slice, read three times and written once."""
    given = texts("bomb " * 40_000)
    rule = Rule("test", "bomb", Action.REWRITE, replacement=Replacement("#"))
    check = Literal("bomb", rule)
    assert await turns_of(judged(given, check)) >= 3 * len("bomb " * 40_000) // SLICE
    assert given[0].text == "# " * 40_000
    assert check.most <= SLICE


async def test_others_run_while_many_short_texts_are_judged() -> None:
    """A tool's schema has many names and values; each takes its time, however short it is."""
    given = texts(*[f"key{i}" for i in range(3000)])
    for i, text in enumerate(given):
        text.group = i
    assert await turns_of(judged(given, flag("bomb"))) >= 3000 * OPENING // SLICE


async def test_many_blocked_texts_of_the_history() -> None:
    """2,000 blocked texts are replaced in one go. The checks are opened for that, anew after the first,
    to confirm it, and to read the texts without anything between them; nothing is read more than a few times."""
    given = texts(*["a BAD text"] * 2000, newest=False)
    check = Literal("BAD", Rule("test", "BAD", Action.BLOCK))
    exchange = await judged(given, check)
    assert {text.text for text in given} == {"stopped"}
    assert len(exchange.findings) == 2000
    assert check.opened == 4
    assert check.read < 20 * sum(len(text.text) for text in given)


async def test_both_readings_come_to_rest() -> None:
    """What a rewrite in one reading brings up in the other is judged there again."""
    given = texts("say a", "b", "c")
    with pytest.raises(Blocked):
        await judged(given, rewrite("ab", "x"), block("x\n\n\n\nc"))


async def test_rewrites_that_go_on_and_on_are_given_up_soon() -> None:
    """However many texts a message has, a rule set that peels off one layer a pass gets a few passes and no more."""
    given = texts(*["a" * 100 + "b" * 100] * 50)
    check = Literal("ab", Rule("test", "ab", Action.REWRITE, replacement=Replacement("")))
    with pytest.raises(Blocked) as caught:
        await judged(given, check)
    assert caught.value.finding.rule is UNSTABLE
    assert check.opened == PASSES + 1


async def test_short_texts_that_passed_are_remembered() -> None:
    """Tools come with each request: what nothing was found in is not read again, in this request or in the next."""
    check = Literal("BAD", Rule("test", "BAD", Action.BLOCK))
    plan = Plan((check,))

    async def ask(*contents: str) -> None:
        given = texts(*contents)
        for i, text in enumerate(given):
            text.group = i
        await judge_request(given, "", lambda _: plan, lambda _: "stopped", Exchange("/x"))

    await ask("string", "string", "object")
    await ask("string", "object")
    assert check.opened == 2
    for _ in range(2):
        with pytest.raises(Blocked):
            await ask("string", "BAD")


async def test_a_text_is_remembered_for_its_kind() -> None:
    """What passes as one thing may be stopped as another."""
    plan = ByKind()
    await judge_request(texts("BAD"), "", lambda _: plan, lambda _: "stopped", Exchange("/x"))
    thinking = texts("BAD")
    thinking[0].param = "messages[0].thinking"
    with pytest.raises(Blocked):
        await judge_request(thinking, "", lambda _: plan, lambda _: "stopped", Exchange("/x"))


class ByKind(Plan):
    """A rule for thinking only."""

    def checks(self, kind: Kind, escaped: bool = False) -> Sequence[Check]:
        """The rule, or one that finds nothing."""
        return [block("BAD" if kind is Kind.REASONING else "never said")]


class ByForm(Plan):
    """A rule for JSON source only."""

    def checks(self, kind: Kind, escaped: bool = False) -> Sequence[Check]:
        """The rule, or one that finds nothing."""
        return [block("BAD" if escaped else "never said")]


async def test_json_source_is_never_remembered_as_text() -> None:
    """Its escapes say something: what passes as it is written need not pass as it is read."""
    plan = ByForm()
    arguments = texts("BAD")
    arguments[0].param = "messages[0].tool_calls[0].function.arguments.a"
    await judge_request(arguments, "", lambda _: plan, lambda _: "stopped", Exchange("/x"))
    arguments[0].escaped = True
    with pytest.raises(Blocked):
        await judge_request(arguments, "", lambda _: plan, lambda _: "stopped", Exchange("/x"))


async def test_what_is_remembered_has_an_end() -> None:
    """Names that are new in each request do not fill the memory."""
    plan = Plan((flag("bomb"),))
    given = texts(*[f"key{i}" for i in range(REMEMBERED + 10)])
    for i, text in enumerate(given):
        text.group = i
    await judge_request(given, "", lambda _: plan, lambda _: "stopped", Exchange("/x"))
    assert 0 < len(plan.admitted) <= REMEMBERED


async def test_far_too_many_texts() -> None:
    """A request of more texts than anybody needs is refused, with the place from which on there are too many."""
    body = [""]
    text = InputText("user", "", "messages[7].content", body, 0)
    with pytest.raises(BadRequest, match=r"^messages\[7\]\.content: ") as caught:
        await judged([text] * (MOST_TEXTS + 1))
    assert caught.value.code == "too_many_texts"


STRICT = b"""
version: 1
policy: strict
rules:
  - {id: words, words: [heron], action: block}
  - {id: folded, words: [stork], fold: true, action: block}
  - {id: pattern, pattern: 'a+b', action: rewrite}
  - {id: detector, detector: email, action: flag}
  - {id: markers, detector: chat_markers, action: rewrite}
"""
TOLERANT = b"""
version: 1
policy: tolerant
on_error: allow
rules: [{id: pattern, pattern: 'c+d', fold: true, action: block}]
"""


@pytest.mark.parametrize("escaped", [False, True])
async def test_checks_of_policies_can_go_back(escaped: bool) -> None:
    """All that a policy can ask for is read on after a block, and not from the beginning."""
    policies = compile_policies([Source("a.yaml", STRICT), Source("b.yaml", TOLERANT)], hash_key=b"key")
    checks = policies.plan(Direction.INPUT, model="m", role="user").checks(Kind.CONTENT, escaped)
    assert len(checks) == 2
    assert all(isinstance(check.open(), Resumable) for check in checks)

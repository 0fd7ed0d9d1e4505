"""A request's texts, judged as the model will read them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from proxy.core.check import Check, Progress
from proxy.core.types import Action, Finding, Rule
from proxy.dialects.base import InputText
from proxy.server.exchange import Exchange, Outcome
from proxy.server.judge import UNSTABLE, Blocked, judge_request
from tests.phrases import block, flag, rewrite
from tests.server.running import Plan

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
    assert len(exchange.found) == 1


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
        await asyncio.wait_for(judged(texts("abc"), Growing()), 5)
    assert caught.value.finding.rule is UNSTABLE


async def test_several_blocked_texts_of_the_history() -> None:
    """Every blocked text of an earlier turn is replaced, each is reported once, and the rest stays as it was."""
    given = texts("BAD one", "fine", "BAD two", "so so", newest=False)
    exchange = await judged(given, block("BAD"), flag("so so"))
    assert [text.text for text in given] == ["stopped", "fine", "stopped", "so so"]
    assert {direction for direction, _ in exchange.found} == {"history"}
    assert sorted(finding.rule.id for _, finding in exchange.found) == ["block.BAD", "block.BAD", "flag.so so"]


async def test_a_notice_that_is_itself_blocked() -> None:
    """If the notice is blocked too, the request ends instead of going round for ever."""
    with pytest.raises(Blocked):
        await judged(texts("BAD", newest=False), block("BAD"), block("stopped"))


async def test_others_run_meanwhile() -> None:
    """While a long prompt is judged, other tasks run."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    await judged(texts(*["x" * 4000] * 12), flag("y"))
    counting.cancel()
    await asyncio.wait([counting])
    assert turns >= 4

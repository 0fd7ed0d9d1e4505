"""The look at guards and topics: what is fine is told, what is not is told with what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import convert

from proxy.checks.asking import AskingRule
from proxy.checks.guards.judge import JudgeOptions, judge_kind
from proxy.checks.topics.rule import TOPIC_KIND
from proxy.checks.topics.topic import TopicOptions
from proxy.server.guards.probe import Probe, Seen
from tests.checks.guards.formats import FORMATS
from tests.fakes import Answer, Request, reply_json
from tests.server.guards.asking import GUARD, MINILM, RULE, asking, embeds, says

pytestmark = pytest.mark.anyio


def judge(**options: Any) -> AskingRule:
    """A rule with a guard."""
    written = {"format": "llama-guard-3-1b", "model": GUARD} | options
    made = judge_kind(FORMATS).make(RULE, convert(written, JudgeOptions))
    assert isinstance(made, AskingRule)
    return made


def topic(*others: str) -> AskingRule:
    """A rule with a topic."""
    given = others or ("Sing a song.", "Buy a hammer.", "Read the news.")
    examples = ("Boil the egg.", "Bake the bread.", "Fry the fish.")
    written = {"model": MINILM, "examples": examples, "counter_examples": given}
    made = TOPIC_KIND.make(RULE, convert(written, TopicOptions))
    assert isinstance(made, AskingRule)
    return made


async def seen(answer: Answer | Callable[[Request], Answer], *rules: AskingRule, loaded: Any = None) -> list[Seen]:
    """What a look shows. loaded: what Ollama has loaded, at each time that it is asked."""
    lists = list(loaded or ([], []))

    async with asking(answer, loaded=lambda: reply_json({"models": [{"name": one} for one in lists.pop(0)]})) as guards:
        return await Probe(guards.asker, guards.judges, guards.topics).look(rules)


async def test_a_guard_that_answers() -> None:
    """It is asked about a greeting, once for all rules that ask it."""
    (found,) = await seen(says("safe"), judge(), judge(only=["S1"]))
    assert found == Seen("rule p/r: the guard guard:1b answers (safe for a greeting)", True)


async def test_a_guard_that_is_missing() -> None:
    """A name that nobody has is told at once."""
    (found,) = await seen(reply_json({"error": "model not found"}, status=404), judge())
    assert not found.is_fine
    assert found.text == (
        "rule p/r: the guard guard:1b gave no answer: the server answered with status 404; until it answers, on_error "
        "applies"
    )


async def test_another_model_than_the_format_says() -> None:
    """A chat model under the guard's name is found out."""
    (found,) = await seen(says("I am fine, thank you!"), judge())
    assert not found.is_fine
    assert "does not answer as `llama-guard-3-1b`: the reply of the guard" in found.text
    assert found.text.endswith("is it that model, and is `llama-guard-3-1b` its format?")


async def test_a_guard_that_drives_the_chat_model_out() -> None:
    """What Ollama had loaded before and has not after is told, with what to do."""
    fine, found = await seen(says("safe"), judge(), loaded=[["llama3:8b", "x"], ["x", GUARD]])
    assert fine.is_fine
    assert not found.is_fine
    assert found.text.startswith("asking the guard guard:1b made Ollama unload llama3:8b: both do not fit at once")
    assert "run it on a second server" in found.text


async def test_a_guard_beside_the_chat_model() -> None:
    """Where both fit there is nothing to tell."""
    assert len(await seen(says("safe"), judge(), loaded=[["llama3:8b"], ["llama3:8b", GUARD]])) == 1


async def test_a_topic() -> None:
    """Its margin is told with the figures behind it."""
    (found,) = await seen(embeds, topic())
    assert found.is_fine
    assert found.text.startswith(
        "rule p/r: margin 0.265 on all-minilm (examples from 0.529, counter-examples up to -0.5"
    )


async def test_a_topic_that_does_not_separate() -> None:
    """It is told with the figures and the examples."""
    (found,) = await seen(embeds, topic("A soup.", "Buy a hammer.", "Read the news."))
    assert not found.is_fine
    assert "its examples do not lie on two sides" in found.text
    assert "`A soup.`" in found.text

"""The model's own refusals: told apart from our blocks, and from answers that only speak of refusing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from proxy.core.gate import Gate
from proxy.server.exchange.refusals import NO_REFUSAL, ModelRefusal
from tests.fakes import FakeUpstream, reply, sse
from tests.phrases import block, rewrite
from tests.server.running import Policies, chunk, running, said

pytestmark = pytest.mark.anyio


async def refusal(events: Sequence[object], policies: Policies | None = None, stream: bool = True) -> ModelRefusal:
    """What is recorded of an answer."""
    async with FakeUpstream(reply(sse(*events))) as upstream, running(upstream, policies) as proxy:
        await proxy.chat(stream=stream)
        return (await proxy.exchange()).refusal


async def test_by_the_field_for_it() -> None:
    """A refusal has a field of its own in OpenAI's dialect; without words that tell, it is one of safety."""
    events = [chunk(delta={"refusal": "No."}), chunk(finish="stop"), "[DONE]"]
    assert await refusal(events) == ("refusal_field", "safety", "")


async def test_the_words_in_the_field_tell_kind_and_language() -> None:
    """What stands in the field is read like any answer."""
    events = [chunk(delta={"refusal": "Ich habe keinen Zugriff auf diese Datei."}), chunk(finish="stop"), "[DONE]"]
    assert await refusal(events) == ("refusal_field", "capability", "de")


async def test_by_the_reason_for_the_end() -> None:
    """A model server's own filter says so as the reason for the end."""
    assert await refusal([chunk("Well"), chunk(finish="content_filter"), "[DONE]"]) == ("stop_reason", "safety", "")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("words", "kind", "language"),
    [
        (("I", "'m sorry, but I can", "'t help with that."), "safety", "en"),
        (("I cannot assist with that request.",), "safety", "en"),
        (("As an AI, I don't have ", "access to your files."), "capability", "en"),
        (("While I can't give legal advice, ", "the steps are these."), "partial", "en"),
        (("Lo siento, pero no puedo ", "ayudarte con eso."), "safety", "es"),
        (("很抱歉，我无法", "帮助你。"), "safety", "zh"),
    ],
)
async def test_in_so_many_words(words: tuple[str, ...], kind: str, language: str, stream: bool) -> None:
    """An answer that begins with a refusal is one, streamed or whole, with kind and language."""
    assert await refusal(said(*words), stream=stream) == ("text", kind, language)


@pytest.mark.parametrize(
    "text",
    [
        "Sure, I can help with that.",
        'A polite bot says: "I cannot help with that."',
        "I can't believe it!",
        "There is no reason why left-handed people should not fly.",
    ],
)
async def test_what_is_none(text: str) -> None:
    """Help, talk of refusals and counter-speech are no refusals."""
    assert await refusal(said(text)) == NO_REFUSAL


async def test_thinking_about_a_refusal_is_none() -> None:
    """What the model thinks is not its answer, in its own field or in the answer."""
    thought = chunk(delta={"reasoning_content": "I can't help with that. Or can I? It is harmless."})
    assert await refusal([thought, *said("Here is the recipe.")]) == NO_REFUSAL
    assert await refusal(said("<think>I can't help with that.</think>Here is the recipe.")) == NO_REFUSAL


async def test_a_tool_call_behind_it_is_none() -> None:
    """Who cannot do it directly, and calls a tool for it, has not refused."""
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    events = [chunk("I can't do that directly."), chunk(delta={"tool_calls": [call]}), chunk(finish="tool_calls")]
    assert await refusal([*events, "[DONE]"]) == NO_REFUSAL


async def test_a_refusal_that_a_rule_rewrote_is_one() -> None:
    """What counts is what the model wrote, not what became of it."""
    policies = Policies(output=[rewrite("I cannot help")])
    assert await refusal(said("I cannot help with that."), policies) == ("text", "safety", "en")


async def test_what_a_rule_stopped_is_none() -> None:
    """A block of ours is no refusal of the model."""
    assert await refusal(said("I cannot help with BAD"), Policies(output=[block("BAD")])) == NO_REFUSAL


async def test_a_refusal_behind_a_long_answer_is_none() -> None:
    """The first 200 characters are looked at; a long answer that begins with a refusal is one."""
    assert await refusal(said(*["More words. "] * 40, "I cannot help with that.")) == NO_REFUSAL
    assert await refusal(said("I cannot help with that. ", *["More words. "] * 200)) == ("text", "safety", "en")


async def test_what_follows_a_beginning_of_the_client_is_read_alone() -> None:
    """An answer that the client began is the model's from there on."""
    gate = Gate(())
    gate.prime("Sure, here is")
    gate.feed(" I cannot help" + "x" * 300)
    assert gate.beginning == (" I cannot help" + "x" * 300)[:200]

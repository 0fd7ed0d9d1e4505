"""The model's own refusals: told apart from our blocks, and from answers that only speak of refusing."""

from __future__ import annotations

import pytest

from tests.fakes import FakeUpstream, reply, sse
from tests.phrases import block
from tests.server.running import Policies, chunk, running, said

pytestmark = pytest.mark.anyio


async def refusal(events: list[object], policies: Policies | None = None) -> str:
    """What is recorded of an answer."""
    async with FakeUpstream(reply(sse(*events))) as upstream, running(upstream, policies) as proxy:
        await proxy.chat()
        return (await proxy.exchange()).refusal


async def test_by_the_field_for_it() -> None:
    """A refusal has a field of its own in OpenAI's dialect."""
    assert await refusal([chunk(delta={"refusal": "No."}), chunk(finish="stop"), "[DONE]"]) == "refusal_field"


async def test_by_the_reason_for_the_end() -> None:
    """A model server's own filter says so as the reason for the end."""
    assert await refusal([chunk("Well"), chunk(finish="content_filter"), "[DONE]"]) == "stop_reason"


@pytest.mark.parametrize(
    "words",
    [
        ("I", "'m sorry, but I can", "'t help with that."),
        ("I cannot assist with that request.",),
        ("Sorry, but I\u2019m", " unable to"),
        ("I am unable to provide that.",),
    ],
)
async def test_in_so_many_words(words: tuple[str, ...]) -> None:
    """A short answer that begins with a refusal is one."""
    expected = "" if words[0].startswith("Sorry") else "text"  # it breaks off before it says what it will not do
    assert await refusal(said(*words)) == expected


@pytest.mark.parametrize(
    "text", ["Sure, I can help with that.", "A polite bot says: I cannot help with that.", "I can't believe it!"]
)
async def test_what_is_none(text: str) -> None:
    """Help, and talk of refusals, is no refusal."""
    assert await refusal(said(text)) == ""


async def test_what_a_rule_stopped_is_none() -> None:
    """A block of ours is no refusal of the model."""
    assert await refusal(said("I cannot help with BAD"), Policies(output=[block("BAD")])) == ""


async def test_a_long_answer_is_none_in_words() -> None:
    """Of a long answer the beginning is not kept, so its words are not looked at."""
    assert await refusal(said("I cannot help with that. ", *["More words. "] * 200)) == ""

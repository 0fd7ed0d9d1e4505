"""Cases from the field about how a block ends an answer: clients show the notice once, and ask once.

What each client makes of these ends was measured with the client itself; docs/clients.md has the tables.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.openai.responses.dialect import OpenAIResponses
from tests.fakes import FakeUpstream, Stall, reply, sse
from tests.field.answering import NOTICE, STOP, carried, events, told
from tests.leaks.attack import policies
from tests.server.running import chunk, running

pytestmark = pytest.mark.anyio

SAID = "this is forbidden talk"
HEAD = {"id": "r", "object": "response", "created_at": 1, "model": "m", "status": "in_progress", "output": []}
ITEM: dict[str, Any] = {"id": "i", "type": "message", "role": "assistant", "status": "in_progress", "content": []}


def test_c04_a_block_in_responses_is_a_completed_response() -> None:
    """Codex asks again at `response.incomplete`, and agents raise: the last event is `response.completed`, once, and a
    program reads the reason in `incomplete_details`."""
    sent = events(
        {"type": "response.created", "response": HEAD},
        {"type": "response.output_item.added", "output_index": 0, "item": ITEM},
        {"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "content_index": 0, "delta": SAID},
        named=True,
    )
    out = told(carried(OpenAIResponses(), {"model": "m", "input": "hi", "stream": True}, sent, [STOP]).out)
    last = [event for event in out if event["type"] in ("response.completed", "response.incomplete", "response.failed")]
    assert [event["type"] for event in last] == ["response.completed"]
    assert out[-1] is last[0]
    response = last[0]["response"]
    assert (response["status"], response["incomplete_details"]) == ("completed", {"reason": "content_filter"})
    assert [item["status"] for item in response["output"]] == ["incomplete"]
    assert response["output"][0]["content"][-1]["text"].endswith(NOTICE)


def test_c11_a_block_in_messages_is_an_ordinary_end() -> None:
    """Claude Code speaks of Anthropic's rules at `refusal`: the reason is `end_turn`, and a program reads
    `stop_details`."""
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": SAID}}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": {}}
    sent = events({"type": "message_start", "message": message}, block, delta, named=True)
    request = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "stream": True}
    out = told(carried(AnthropicMessages(), request, sent, [STOP]).out)
    (end,) = [event["delta"] for event in out if event["type"] == "message_delta"]
    assert end["stop_reason"] == "end_turn"
    assert end["stop_details"]["type"] == "refusal"
    shown = "".join(event["delta"]["text"] for event in out if event["type"] == "content_block_delta")
    assert shown.count(NOTICE) == 1
    assert out[-1]["type"] == "message_stop"


async def test_r12_nothing_hangs_in_the_proxy_after_blocks() -> None:
    """Streams that a rule ends, many at once, in front of a model server that never ends its answer: each connection to
    it is closed, and the proxy holds no exchange. What Ollama itself makes of that stands in docs/threats.md."""
    stream = reply([*sse(chunk("this is ")), *sse(chunk("forbidden talk")), Stall()])
    rules: Any = policies(STOP)
    count = 30
    async with FakeUpstream(lambda _: stream) as upstream, running(upstream, rules) as proxy:
        answers = await asyncio.gather(*(proxy.chat() for _ in range(count)))
        assert {answer.events()[-1] for answer in answers} == {"[DONE]"}
        for i in range(count):
            await (await upstream.exchange(i)).wait_client_closed()
            assert (await proxy.exchange(i)).outcome == "blocked"
        assert not proxy.server.runtime._watchdog._running

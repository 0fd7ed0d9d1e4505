"""What waits comes before text of another kind behind it. Rows of public reports, each with its right value."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.base import Dialect
from proxy.dialects.ollama.chat import OllamaChat, OllamaGenerate
from proxy.dialects.openai.chat import OpenAIChat
from proxy.dialects.openai.responses.dialect import OpenAIResponses
from tests.field.answer_cases import (
    CHAT,
    MESSAGES,
    RESPONSES,
    message_events,
)
from tests.field.answering import EMAIL, carried, events, told
from tests.leaks.attack import chunk

# -- r02, c03: the end of the thinking comes before the answer

HELD = "I ask bob@"  # the last word may still become an address


def _texts_in_order(out: bytes, thought: str, answer: str) -> None:
    """The thinking has ended when the answer begins."""
    data = out.decode()
    assert data.index(thought) < data.index(answer)


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
@pytest.mark.parametrize("beside", [{}, {"content": ""}])
def test_r02_c03_chat(field: str, beside: dict[str, Any]) -> None:
    """OpenAI's chat: what was held of the thinking comes in a chunk before the answer's first, which is as it was."""
    thinking = [chunk({**beside, field: text}) for text in ("I ask ", "bob@")]
    sent = events(*thinking, chunk({"content": "hi "}), chunk({}, "stop"), "[DONE]")
    out = carried(OpenAIChat(), {**CHAT, "stream": True}, sent, [EMAIL]).out
    assert [event["choices"][0]["delta"] for event in told(out)] == [
        {**beside, field: "I ask "},
        *({field: "bob@"}, {"content": "hi "}, {}),
    ]
    assert sent[2] in out


def test_r02_chat_in_one_delta() -> None:
    """Thinking and answer in one delta: whatever stands first in it, what is held of the thinking is told with it."""
    sent = events(chunk({"content": "hi ", "reasoning": HELD}), chunk({}, "stop"), "[DONE]")
    out = carried(OpenAIChat(), {**CHAT, "stream": True}, sent, [EMAIL]).out
    assert told(out)[0]["choices"][0]["delta"] == {"reasoning": HELD, "content": "hi "}


@pytest.mark.parametrize("dialect", [OllamaChat(), OllamaGenerate()])
@pytest.mark.parametrize("call", [True, False])
def test_r02_ollama(dialect: Dialect, call: bool) -> None:
    """Ollama: the same, in front of a tool call too."""
    chat = isinstance(dialect, OllamaChat)

    def line(done: bool = False, **said: Any) -> bytes:
        message = {"message": {"role": "assistant", "content": "", **said}} if chat else {"response": "", **said}
        return (
            json.dumps({"model": "m", "created_at": "2026-01-01T00:00:00Z", **message, "done": done}).encode() + b"\n"
        )

    tool: dict[str, Any] = {"tool_calls": [{"function": {"name": "look", "arguments": {}}}]}
    answer = line(**(tool if call else {"content" if chat else "response": "look "}))
    request = {**CHAT, "stream": True} if chat else {"model": "m", "prompt": "hi", "stream": True}
    out = carried(dialect, request, [line(thinking="I ask "), line(thinking="bob@"), answer, line(True)], [EMAIL]).out
    assert [json.loads(got) for got in out.splitlines()] == [
        json.loads(sent) for sent in (line(thinking="I ask "), line(thinking="bob@"), answer, line(True))
    ]


def test_r02_messages_without_an_end() -> None:
    """Anthropic: a thinking block that has not ended when the text begins."""
    thinking = {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}
    text = {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}
    deltas = [{"type": "thinking_delta", "thinking": HELD}, {"type": "text_delta", "text": "hi "}]
    inside = [{"type": "content_block_delta", "index": i, "delta": delta} for i, delta in enumerate(deltas)]
    ends = [{"type": "content_block_stop", "index": i} for i in (0, 1)]
    sent = message_events([thinking, inside[0], text, inside[1], *ends])
    out = carried(AnthropicMessages(), {**MESSAGES, "stream": True}, sent, [EMAIL]).out
    _texts_in_order(out, "bob@", '"hi "')


@pytest.mark.parametrize("numbered", [True, False])
def test_r02_responses_without_an_end(numbered: bool) -> None:
    """Responses: llama.cpp ends the reasoning item after the message; numbers have no gaps all the same."""
    reasoning = {"id": "rs", "type": "reasoning", "summary": [], "content": []}
    message = {"id": "m", "type": "message", "role": "assistant", "content": []}
    thought = {**reasoning, "content": [{"type": "reasoning_text", "text": HELD}]}
    said = {**message, "content": [{"type": "output_text", "text": "hi you "}]}
    inner: list[dict[str, Any]] = [
        {"type": "response.output_item.added", "item": reasoning},
        {"type": "response.reasoning_text.delta", "item_id": "rs", "delta": HELD},
        {"type": "response.output_item.added", "item": message},
        {"type": "response.output_text.delta", "item_id": "m", "delta": "hi "},
        {"type": "response.output_text.delta", "item_id": "m", "delta": "you "},
        {"type": "response.output_item.done", "item": thought},
        {"type": "response.output_item.done", "item": said},
    ]
    head = {"id": "r", "object": "response", "created_at": 1, "model": "m"}
    end = {"type": "response.completed", "response": {**head, "status": "completed", "output": [thought, said]}}
    begun = {"type": "response.created", "response": {**head, "status": "in_progress", "output": []}}
    everything = [begun, *inner, end]
    if numbered:
        everything = [{**event, "sequence_number": n} for n, event in enumerate(everything)]
    out = carried(OpenAIResponses(), {**RESPONSES, "stream": True}, events(*everything, named=True), [EMAIL]).out
    deltas = [event["delta"] for event in told(out) if event["type"].endswith(".delta")]
    assert deltas == ["I ask ", "bob@", "hi ", "you "]
    assert told(out)[-1]["response"]["output"] == [thought, said]
    numbers = [event["sequence_number"] for event in told(out) if "sequence_number" in event]
    assert numbers == (list(range(len(told(out)))) if numbered else [])

"""Opaque blobs pass; plain text in their place is judged: rows of public reports, each with its right value."""

from __future__ import annotations

import base64
import json

import pytest

from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.openai.responses.dialect import OpenAIResponses
from tests.field.answer_cases import (
    MESSAGES,
    RESPONSES,
    both,
    message_events,
    response_events,
)
from tests.field.answering import EMAIL, STOP, carried, told

# -- n08: blobs that nobody here can read, and plain text in their place

BLOB = "EqoBCkgIARABGAIiQL4Zx9vT3mJr8wPq" * 4
SPELLED = base64.b64encode(b"this is a forbidden fruit, spelled").decode()
PLAIN_TEXT = "I was told a forbidden thing"


def _thinking(signature: str, redacted: str) -> list[bytes]:
    begin = {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}
    deltas = [{"type": "thinking_delta", "thinking": "Well. "}, {"type": "signature_delta", "signature": signature}]
    inside = [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas]
    hidden = {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "redacted_thinking", "data": redacted},
    }
    ends = [{"type": "content_block_stop", "index": i} for i in (0, 1)]
    return message_events([begin, *inside, ends[0], hidden, ends[1]])


@both
@pytest.mark.parametrize("value", [BLOB, "Plain thinking."])
def test_n08_blobs_of_messages(value: str, stream: bool) -> None:
    """Anthropic: a blob passes as it came, and plain text that no rule minds, in both fields."""
    sent = _thinking(value, value)
    got = carried(AnthropicMessages(), {**MESSAGES, "stream": stream}, sent, [STOP])
    if stream:
        assert told(got.out) == told(b"".join(sent))
    else:
        first, second = json.loads(got.out)["content"]
        assert (first["signature"], second) == (value, {"type": "redacted_thinking", "data": value})


@both
@pytest.mark.parametrize("value", [PLAIN_TEXT, SPELLED, "FORBIDDENFRUITFORBIDDENFRUITFORBIDDENFRUIT", "FORBIDDEN"])
def test_n08_other_text_in_their_place(value: str, stream: bool) -> None:
    """A plain sentence, words in capitals, and a blob that spells a sentence are judged: here nothing passes."""
    rules = ["{id: stop, pattern: '(?i)forbidden', action: block}"]
    got = carried(AnthropicMessages(), {**MESSAGES, "stream": stream}, _thinking(value, value), rules)
    assert got.answer.failed is None
    assert value.encode() not in got.out
    assert b"Well. " in got.out
    reasoning = {"id": "rs", "type": "reasoning", "summary": [], "encrypted_content": value}
    sent = response_events([{"type": "response.output_item.done", "item": reasoning}], output=[reasoning])
    got = carried(OpenAIResponses(), {**RESPONSES, "stream": stream}, sent, rules)
    assert got.answer.failed is None
    assert value.encode() not in got.out


@both
@pytest.mark.parametrize("value", [BLOB, "Plain thinking."])
def test_n08_encrypted_content(value: str, stream: bool) -> None:
    """Responses: a blob passes as it came, and so does plain text that no rule minds: a real Ollama puts it there."""
    reasoning = {"id": "rs", "type": "reasoning", "summary": [], "encrypted_content": value}
    sent = response_events([{"type": "response.output_item.done", "item": reasoning}], output=[reasoning])
    out = carried(OpenAIResponses(), {**RESPONSES, "stream": stream}, sent, [STOP]).out
    (item,) = (told(out)[-1]["response"] if stream else json.loads(out))["output"]
    assert item["encrypted_content"] == value


@both
@pytest.mark.parametrize(("value", "expected"), [("mail bob@example.com", "mail [email]"), (BLOB, "")])
def test_n08_with_thinking_that_was_changed(value: str, expected: str, stream: bool) -> None:
    """The thinking itself stands there as the client was shown it; a blob for other thinking does not pass."""
    summary = [{"type": "summary_text", "text": "mail bob@example.com"}]
    reasoning = {"id": "rs", "type": "reasoning", "summary": summary, "encrypted_content": value}
    sent = response_events([{"type": "response.output_item.done", "item": reasoning}], output=[reasoning])
    out = carried(OpenAIResponses(), {**RESPONSES, "stream": stream}, sent, [EMAIL]).out
    (item,) = (told(out)[-1]["response"] if stream else json.loads(out))["output"]
    assert item["summary"][0]["text"] == "mail [email]"
    assert item["encrypted_content"] == expected

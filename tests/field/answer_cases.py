"""Requests, and parts of answers, that the tests of answers share."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from tests.field.answering import events, told

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
MESSAGES = {**CHAT, "max_tokens": 9}
RESPONSES: dict[str, Any] = {"model": "m", "input": "hi"}
Call = tuple[str, str, str]  # id, name, arguments
TWO: list[Call] = [("call_a1", "file_write", '{"path":"a.py"}'), ("call_b2", "file_write", '{"path":"b.py"}')]

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}

both = pytest.mark.parametrize("stream", [True, False])


def chat_calls(out: bytes, stream: bool) -> list[Call]:
    """The calls of an answer, as a client reads them that goes by the index alone."""
    if not stream:
        (choice,) = json.loads(out)["choices"]
        calls = choice["message"].get("tool_calls", [])
    else:
        deltas = [choice["delta"] for event in told(out) for choice in event["choices"]]
        calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
        assert [call["index"] for call in calls] == list(range(len(calls)))
    return [(call.get("id", ""), call["function"]["name"], call["function"]["arguments"]) for call in calls]


def entry(call: Call, **more: Any) -> dict[str, Any]:
    """A call as chat has it."""
    return {"id": call[0], "type": "function", "function": {"name": call[1], "arguments": call[2]}, **more}


def message_events(*blocks: Iterable[dict[str, Any]]) -> list[bytes]:
    head = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": {}}
    inner = [event for block in blocks for event in block]
    ends: list[dict[str, Any]] = [
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {}},
        {"type": "message_stop"},
    ]
    return events({"type": "message_start", "message": head}, *inner, *ends, named=True)


def response_events(*items: Iterable[dict[str, Any]], output: list[dict[str, Any]]) -> list[bytes]:
    head = {"id": "r", "object": "response", "created_at": 1, "model": "m"}
    begun = {"type": "response.created", "response": {**head, "status": "in_progress", "output": []}}
    end = {"type": "response.completed", "response": {**head, "status": "completed", "output": output}}
    return events(begun, *(event for item in items for event in item), end, named=True)

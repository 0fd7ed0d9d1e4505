"""Anthropic's messages: https://docs.anthropic.com/en/docs/build-with-claude/streaming."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from proxy.conformance.cases import Part
from proxy.conformance.dialects.base import MODEL, NUMBERS, Dialect, calls_of, sse, tool
from proxy.conformance.heard import Understood

DELTAS = {"content": ("text_delta", "text"), "reasoning": ("thinking_delta", "thinking")}
CALL = ("input_json_delta", "partial_json")
REASONS = {"stop": "end_turn", "length": "max_tokens"}
FIELDS = {"text": "content", "thinking": "reasoning", "partial_json": "arguments"}


class Messages(Dialect):
    """`/v1/messages`"""

    name = "anthropic"
    path = "/v1/messages"
    fields = frozenset({"content", "reasoning", "arguments"})
    sane = ("end_turn", "max_tokens", "tool_use", "stop_sequence")

    def request(self, turns: Sequence[tuple[str, str]], stream: bool) -> dict[str, Any]:
        """Messages."""
        messages = [{"role": role, "content": text} for role, text in turns]
        return {"model": MODEL, "max_tokens": 4096, "messages": messages, "stream": stream}

    def error(self, message: str) -> Any:
        """https://docs.anthropic.com/en/api/errors"""
        return {"type": "error", "error": {"type": "invalid_request_error", "message": message}}

    def is_error(self, body: Any) -> bool:
        """An object with a message in it."""
        error = body.get("error") if isinstance(body, dict) else None
        return isinstance(error, dict) and isinstance(error.get("message"), str)

    def stream(self, parts: Sequence[Part], finish: str) -> list[bytes]:
        """A block for each run of parts of one kind."""
        blocks = [list(run) for _, run in groupby(parts, key=lambda part: (part.field, part.call))]
        events = [_start(), *(event for index, run in enumerate(blocks) for event in _block(index, run))]
        usage = {"output_tokens": NUMBERS[1]}
        delta = {"stop_reason": _reason(parts, finish), "stop_sequence": None}
        events += [{"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"}]
        return [sse(event, named=True) for event in events]

    def whole(self, parts: Sequence[Part], finish: str) -> Any:
        """All blocks."""
        runs = [list(run) for _, run in groupby(parts, key=lambda part: (part.field, part.call))]
        content = [_whole_block(run[0], "".join(part.text for part in run)) for run in runs]
        reason = {"stop_reason": _reason(parts, finish), "stop_sequence": None}
        return {**_start()["message"], "content": content, **reason, "usage": _usage(NUMBERS[1])}

    def hear(self, event: Any, told: Understood) -> None:
        """One event."""
        kind = event["type"]
        if kind == "error":
            told.failed = True
        elif kind == "message_start":
            told.usage = dict(event["message"].get("usage") or {})
        elif kind == "content_block_start":
            self._hear_block(event["index"], event["content_block"], told)
        elif kind == "content_block_delta":
            for key, field in FIELDS.items():
                told.say((0, field, event["index"]), event["delta"].get(key))
        elif kind == "message_delta":
            told.finish[0] = event["delta"]["stop_reason"]
            told.usage = {**(told.usage or {}), **(event.get("usage") or {})}
        told.ended = told.ended or kind == "message_stop"

    def hear_whole(self, body: Any, told: Understood) -> None:
        """All blocks."""
        for index, block in enumerate(body["content"]):
            self._hear_block(index, block, told)
        told.finish[0] = body["stop_reason"]
        told.usage = body["usage"]
        told.ended = True

    def _hear_block(self, index: int, block: Any, told: Understood) -> None:
        told.say((0, "content", index), block.get("text"))
        told.say((0, "reasoning", index), block.get("thinking"))
        if block["type"] == "tool_use":
            told.names[index] = block["name"]
            told.say((0, "arguments", index), json.dumps(block["input"]) if block["input"] else "")


def _usage(output: int) -> dict[str, int]:
    return {"input_tokens": NUMBERS[0], "output_tokens": output}


def _reason(parts: Sequence[Part], finish: str) -> str:
    return "tool_use" if finish == "stop" and calls_of(parts) else REASONS[finish]


def _start() -> dict[str, Any]:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": []}
    return {
        "type": "message_start",
        "message": {**message, "stop_reason": None, "stop_sequence": None, "usage": _usage(0)},
    }


def _block(index: int, run: Sequence[Part]) -> list[dict[str, Any]]:
    kind, key = DELTAS.get(run[0].field, CALL)
    begin = {"type": "content_block_start", "index": index, "content_block": _whole_block(run[0], "")}
    deltas = [{"type": "content_block_delta", "index": index, "delta": {"type": kind, key: part.text}} for part in run]
    return [begin, *deltas, {"type": "content_block_stop", "index": index}]


def _whole_block(part: Part, text: str) -> dict[str, Any]:
    if part.field == "arguments":
        given = json.loads(text) if text else {}
        return {"type": "tool_use", "id": f"toolu_{part.call}", "name": tool(part.call), "input": given}
    if part.field == "reasoning":
        return {"type": "thinking", "thinking": text, "signature": ""}
    return {"type": "text", "text": text}

"""An upstream and a client of Anthropic's messages, for tests."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.base import Dialect
from tests.dialects.conformance import Deltas, Stream, Told, Wire

DIALECT = AnthropicMessages()
CALLS_WHOLE = "a tool call leaves in one piece, when all of it has been judged"
KEYS = {"content": "text", "thinking": "thinking", "arguments": "partial_json"}
DELTA_TYPES = {"text": "text_delta", "thinking": "thinking_delta", "partial_json": "input_json_delta"}


class MessagesWire(Wire):
    """An upstream and a client of /v1/messages."""

    dialect: ClassVar[Dialect] = DIALECT
    streams = (
        Stream("llama_messages_stream"),
        Stream("llama_messages_tool_stream", False, CALLS_WHOLE),
        Stream("ollama_v1_messages_stream"),
        Stream("ollama_v1_messages_think_stream"),
        Stream("ollama_v1_messages_tool_stream"),
    )
    streamed = ("content", "thinking")
    whole = ("arguments", "name", "id")
    finish = "end_turn"
    blocked = "refusal"

    def request(self, **extra: Any) -> bytes:
        messages = [{"role": "user", "content": "hi"}]
        return json.dumps({"model": "m", "max_tokens": 9, "messages": messages, **extra}).encode()

    def json_mode(self) -> dict[str, Any]:
        return {"output_config": {"format": {"type": "json_schema", "schema": {}}}}

    def speak(self, deltas: Deltas) -> bytes:
        return stream_of(*_spoken(deltas))

    def speak_whole(self, deltas: Deltas) -> bytes:
        content = []
        for name, text in deltas:
            if name in ("content", "thinking"):
                content.append({"type": KEYS[name], KEYS[name]: text})
            else:
                call: dict[str, Any] = {"type": "tool_use", "id": "i", "name": "n", "input": {}}
                content.append(call | ({"input": json.loads(text)} if name == "arguments" else {name: text}))
        message = {"id": "x", "type": "message", "role": "assistant", "model": "m", "content": content}
        return json.dumps({**message, "stop_reason": "end_turn", "usage": {"output_tokens": 1}}).encode()

    def read(self, data: bytes) -> Told:
        *frames, rest = data.split(b"\n\n")
        assert rest == b""
        reader = Reader()
        for frame in frames:
            if frame.startswith(b"event: "):
                name, _, body = frame.partition(b"\ndata: ")
                event = json.loads(body)
                assert name == b"event: " + event["type"].encode()
                reader.take(event)
            else:
                assert frame == b": "
        return reader.close()

    def read_whole(self, data: bytes) -> Told:
        message = json.loads(data)
        told = Told()
        assert (message["type"], message["role"]) == ("message", "assistant")
        for place, content in enumerate(message["content"]):
            _say(told, place, content)
            if content["type"] == "tool_use":
                told.say((0, f"{place}.arguments"), json.dumps(content["input"]))
        told.finish[0] = _reason(message)
        return told


def _say(told: Told, place: int, content: dict[str, Any]) -> None:
    for name, key in (("content", "text"), ("thinking", "thinking"), ("name", "name"), ("id", "id")):
        told.say((0, f"{place}.{name}"), content.get(key))


class Reader:
    """A client that insists on the order of events."""

    def __init__(self) -> None:
        self.told = Told()
        self.open: dict[int, dict[str, Any]] = {}
        self.input: dict[int, str] = {}
        self.begun = self.over = False
        self.blocks = 0
        self.reason = ""

    def take(self, event: dict[str, Any]) -> None:
        """One event."""
        assert not self.over, "something follows the end"
        kind = event["type"]
        if kind == "ping":
            return
        if kind == "error":
            assert set(event["error"]) == {"type", "message"}
            self.told.failed = self.over = True
        elif kind == "message_start":
            assert event["message"]["content"] == []
            self.begun = True
        else:
            assert self.begun
            getattr(self, kind)(event)

    def content_block_start(self, event: dict[str, Any]) -> None:
        """Blocks are numbered without gaps."""
        assert event["index"] == self.blocks
        self.blocks += 1
        self.open[event["index"]] = event["content_block"]
        _say(self.told, event["index"], event["content_block"])

    def content_block_delta(self, event: dict[str, Any]) -> None:
        """Only for open blocks, and of their type."""
        place, delta = event["index"], event["delta"]
        kind = self.open[place]["type"]
        if delta["type"] == "input_json_delta":
            assert kind == "tool_use"
            self.input[place] = self.input.get(place, "") + delta["partial_json"]
        elif delta["type"] == "signature_delta":
            assert kind == "thinking"
        else:
            assert delta["type"] == f"{kind}_delta"
            _say(self.told, place, delta)

    def content_block_stop(self, event: dict[str, Any]) -> None:
        """Calls are read when they are complete."""
        content = self.open.pop(event["index"])
        if content["type"] == "tool_use":
            source = self.input.get(event["index"]) or json.dumps(content.get("input") or {})
            self.told.say((0, f"{event['index']}.arguments"), json.dumps(json.loads(source)))

    def message_delta(self, event: dict[str, Any]) -> None:
        """Why it ended; all blocks are closed by then."""
        assert not self.open
        assert "output_tokens" in event["usage"]
        self.reason = _reason(event["delta"])

    def message_stop(self, event: dict[str, Any]) -> None:
        """The end."""
        assert self.reason
        self.told.finish[0] = self.reason
        self.over = True

    def close(self) -> Told:
        """All that was told."""
        return self.told


def _spoken(deltas: Deltas) -> list[dict[str, Any]]:
    """The blocks of some deltas; neighbours of one kind share a block."""
    events: list[dict[str, Any]] = []
    place, last = -1, ""
    for name, text in deltas:
        kind = KEYS.get(name, "partial_json")
        if kind != last:
            events += [{"type": "content_block_stop", "index": place}] if last else []
            place, last = place + 1, kind
            events.append({"type": "content_block_start", "index": place, "content_block": _begin(kind, deltas)})
        if name in KEYS:
            delta = {"type": DELTA_TYPES[kind], kind: text}
            events.append({"type": "content_block_delta", "index": place, "delta": delta})
    return [*events, {"type": "content_block_stop", "index": place}]


def _begin(kind: str, deltas: Deltas) -> dict[str, Any]:
    if kind != "partial_json":
        return {"type": kind, kind: ""}
    told = {name: "".join(text for key, text in deltas if key == name) for name in ("id", "name")}
    return {"type": "tool_use", "id": told["id"] or "i", "name": told["name"] or "n", "input": {}}


START = {
    "type": "message_start",
    "message": {"id": "x", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": {}},
}


def stream_of(*events: dict[str, Any], reason: str = "end_turn") -> bytes:
    end = {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 9}}
    return b"".join(event_of(event) for event in (START, *events, end, {"type": "message_stop"}))


def event_of(event: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event).encode())


def _reason(ended: dict[str, Any]) -> str:
    """Why an answer ended: what its details say, if it has any."""
    details = ended.get("stop_details") or {}
    assert not details or ended["stop_reason"] == "end_turn"
    return str(details.get("type") or ended["stop_reason"])

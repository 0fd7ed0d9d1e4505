"""OpenAI's chat: the shared conformance tests, and what is its own."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from proxy.dialects.base import Dialect
from proxy.dialects.openai_chat import OpenAIChat
from tests.dialects.conformance import Conformance, Deltas, Stream, Told, Wire

CALLS_WHOLE = "a tool call leaves in one piece, when all of it has been judged"
LOGPROBS = "token probabilities repeat the text and are dropped"


class ChatWire(Wire):
    """An upstream and a client of /v1/chat/completions."""

    dialect: ClassVar[Dialect] = OpenAIChat()
    streams = (
        Stream("llama_chat_stream"),
        Stream("llama_think_stream"),
        Stream("llama_emoji_stream"),
        Stream("llama_n2_stream"),
        Stream("llama_base_marker_stream"),
        Stream("llama_tool_stream", False, CALLS_WHOLE),
        Stream("llama_tool_two_stream", False, CALLS_WHOLE),
        Stream("llama_tool_escape_stream", False, CALLS_WHOLE),
        Stream("llama_logprobs_stream", False, LOGPROBS),
        Stream("ollama_v1_chat_stream"),
        Stream("ollama_v1_chat_stream_usage"),
        Stream("ollama_v1_chat_think_stream"),
        Stream("ollama_v1_chat_tool_stream", False, CALLS_WHOLE),
        Stream("ollama_v1_chat_logprobs_stream", False, LOGPROBS),
    )
    streamed = ("content", "reasoning_content", "reasoning", "refusal")
    whole = ("arguments", "name")
    finish = "stop"
    blocked = "content_filter"

    def request(self, **extra: Any) -> bytes:
        return json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], **extra}).encode()

    def json_mode(self) -> dict[str, Any]:
        return {"response_format": {"type": "json_object"}}

    def speak(self, deltas: Deltas) -> bytes:
        events = [{"role": "assistant"}, *(self._delta(name, text) for name, text in deltas)]
        chunks = [_chunk({"index": 0, "delta": delta, "finish_reason": None}) for delta in events]
        return b"".join([*chunks, _chunk({"index": 0, "delta": {}, "finish_reason": "stop"}), b"data: [DONE]\n\n"])

    def _delta(self, name: str, text: str) -> dict[str, Any]:
        if name in self.whole:
            return {"tool_calls": [{"index": 0, "type": "function", "function": {name: text}}]}
        return {name: text}

    def speak_whole(self, deltas: Deltas) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": None}
        for name, text in deltas:
            message |= self._delta(name, text)
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return json.dumps({"id": "x", "object": "chat.completion", "model": "m", "choices": [choice]}).encode()

    def read(self, data: bytes) -> Told:
        told = Told()
        *events, rest = data.split(b"\n\n")
        assert rest == b""
        done = False
        for event in events:
            assert not done, "something follows [DONE]"
            done = event == b"data: [DONE]"
            if event.startswith(b"data: {"):
                self._read_chunk(json.loads(event[6:]), told)
        if not done:
            told.finish.clear()
        assert done != told.failed
        return told

    def _read_chunk(self, chunk: dict[str, Any], told: Told) -> None:
        if "error" in chunk:
            assert set(chunk["error"]) >= {"message", "type", "param", "code"}
            told.failed = True
            return
        assert not told.failed
        for choice in chunk["choices"]:
            self._read_message(choice["index"], choice["delta"], told)
            if choice["finish_reason"]:
                told.finish[choice["index"]] = choice["finish_reason"]

    def _read_message(self, index: int, message: dict[str, Any], told: Told) -> None:
        for name in self.streamed:
            told.say((index, name), message.get(name))
        for place, call in enumerate(message.get("tool_calls") or ()):
            for name in self.whole:
                told.say((index, f"{call.get('index', place)}.{name}"), call["function"].get(name))

    def read_whole(self, data: bytes) -> Told:
        told = Told()
        for choice in json.loads(data)["choices"]:
            self._read_message(choice["index"], choice["message"], told)
            told.finish[choice["index"]] = choice["finish_reason"]
        return told


def _chunk(choice: dict[str, Any]) -> bytes:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + json.dumps({**head, "choices": [choice]}).encode() + b"\n\n"


class TestConformance(Conformance):
    """What every dialect has to do."""

    wire = ChatWire()

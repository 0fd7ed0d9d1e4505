"""Ollama's own dialect under the shared conformance tests."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import groupby
from typing import Any, ClassVar

from proxy.dialects.base import Dialect
from proxy.dialects.ollama.chat import OllamaChat, OllamaGenerate
from tests.dialects.conformance import Conformance, Deltas, Stream, Told, Wire
from tests.dialects.golden_files import Golden, golden

LOGPROBS = "token probabilities repeat the text and are dropped"
CONTEXT = "the token ids of the whole conversation are dropped"
HEAD = {"model": "tiny", "created_at": "2026-11-23T19:22:02.433859692Z"}
END = {"done": True, "done_reason": "stop", "eval_count": 3}


class AfterText(Stream):
    """A tool's call, which is one line or two, after the first lines of a text."""

    @property
    def golden(self) -> Golden:
        call, text = golden(self.name), golden("ollama_api_chat_stream")
        return replace(call, body=b"".join([*text.frames[:8], *call.frames]))


class NativeWire(Wire):
    """What /api/chat and /api/generate share."""

    finish = "stop"
    blocked = "content_filter"
    whole = ("arguments", "name")
    gap: ClassVar[bytes] = b"\n"
    lead: ClassVar[bytes] = b""
    odd: ClassVar[tuple[bytes, ...]] = (b'{"status":"unheard of","completed":1}', b"")
    failing: ClassVar[bytes] = b'{"error":"%b"}'

    def json_mode(self) -> dict[str, Any]:
        return {"format": "json"}

    def _around(self, words: dict[str, Any]) -> dict[str, Any]:
        return words

    def _within(self, line: dict[str, Any]) -> dict[str, Any]:
        return line

    def speak(self, deltas: Deltas) -> bytes:
        words = [{name: text} for name, text in deltas if name not in self.whole]
        for name, texts in groupby((delta for delta in deltas if delta[0] in self.whole), key=lambda delta: delta[0]):
            words.append(_call(name, "".join(text for _, text in texts)))  # Ollama sends a call whole
        bodies = [{**HEAD, **self._around({self.content: "", **said}), "done": False} for said in words]
        bodies.append({**HEAD, **self._around({self.content: ""}), **END})
        return b"".join(json.dumps(body).encode() + b"\n" for body in bodies)

    def speak_whole(self, deltas: Deltas) -> bytes:
        said: dict[str, Any] = {self.content: ""}
        for name, text in deltas:
            said |= _call(name, text) if name in self.whole else {name: text}
        return json.dumps({**HEAD, **self._around(said), **END}).encode()

    def read(self, data: bytes) -> Told:
        told = Told()
        *lines, rest = data.split(b"\n")
        assert rest == b""
        for raw in lines:
            assert not told.finish
            assert not told.failed
            line = json.loads(raw)
            if "error" in line:
                assert isinstance(line["error"], str)
                told.failed = True
            else:
                self._read_line(line, told)
        return told

    def _read_line(self, line: dict[str, Any], told: Told) -> None:
        words = self._within(line)
        told.say((0, "thinking"), words.get("thinking"))
        told.say((0, self.content), words[self.content])
        for call in words.get("tool_calls", ()):
            place = sum(key.endswith(".call") for _, key in told.texts)
            told.texts[0, f"{place}.call"] = ""
            function = call["function"]
            told.say((0, f"{place}.name"), function["name"])
            told.say((0, f"{place}.arguments"), json.dumps(function["arguments"]) if function["arguments"] else "")
        if line["done"]:
            told.finish[0] = line["done_reason"]

    def read_whole(self, data: bytes) -> Told:
        told = Told()
        self._read_line(json.loads(data), told)
        return told


def _call(name: str, text: str) -> dict[str, Any]:
    function: dict[str, Any] = {"name": "", "arguments": {}}
    function[name] = json.loads(text) if name == "arguments" else text
    return {"tool_calls": [{"function": function}]}


class ChatWire(NativeWire):
    """An upstream and a client of /api/chat."""

    dialect: ClassVar[Dialect] = OllamaChat()
    streams = (
        Stream("ollama_api_chat_stream"),
        Stream("ollama_api_chat_emoji_stream"),
        Stream("ollama_api_chat_think_stream"),
        Stream("ollama_api_chat_think_go_stream"),
        AfterText("ollama_api_chat_tool_stream"),
        AfterText("ollama_api_chat_tool_go_stream"),
        Stream("ollama_api_chat_logprobs_stream", False, LOGPROBS),
        Stream("ollama_api_chat_think_go_logprobs_stream", False, LOGPROBS),
        Stream("ollama_api_chat_tool_go_logprobs_stream", False, LOGPROBS),
    )
    streamed = ("content", "thinking")

    def request(self, **extra: Any) -> bytes:
        return json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], **extra}).encode()

    def _around(self, words: dict[str, Any]) -> dict[str, Any]:
        return {"message": {"role": "assistant", **words}}

    def _within(self, line: dict[str, Any]) -> dict[str, Any]:
        words: dict[str, Any] = line["message"]
        return words


class GenerateWire(NativeWire):
    """An upstream and a client of /api/generate."""

    dialect: ClassVar[Dialect] = OllamaGenerate()
    streams = (
        Stream("ollama_api_generate_stream", False, CONTEXT),
        Stream("ollama_api_generate_go_stream", False, CONTEXT),
        Stream("ollama_api_generate_think_stream", False, CONTEXT),
    )
    streamed = ("response", "thinking")
    content = "response"

    def request(self, **extra: Any) -> bytes:
        return json.dumps({"model": "m", "prompt": "hi", **extra}).encode()


class TestChat(Conformance):
    """/api/chat."""

    wire = ChatWire()


class TestGenerate(Conformance):
    """/api/generate."""

    wire = GenerateWire()

"""Ollama's own chat and generate: https://github.com/ollama/ollama/blob/main/docs/api.md."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from proxy.conformance.cases import Part
from proxy.conformance.dialects.base import MODEL, NUMBERS, Dialect, calls_of, joined_by_key, tool
from proxy.conformance.heard import Understood

TIME = "2026-01-01T00:00:00Z"
COUNTS = {
    "total_duration": 9000,
    "load_duration": 1000,
    "prompt_eval_count": NUMBERS[0],
    "prompt_eval_duration": 4000,
    "eval_count": NUMBERS[1],
    "eval_duration": 4000,
}


class _Ollama(Dialect):
    type = "application/x-ndjson"
    thinking: ClassVar[str] = "thinking"

    def error(self, message: str) -> Any:
        """A string."""
        return {"error": message}

    def is_error(self, body: Any) -> bool:
        """Clients of Ollama show the string; an object is shown as code."""
        return isinstance(body, dict) and isinstance(body.get("error"), str)

    def line(self, said: dict[str, Any]) -> dict[str, Any]:
        """A line's JSON."""
        return {"model": MODEL, "created_at": TIME, **said, "done": False}

    def stream(self, parts: Sequence[Part], finish: str) -> list[bytes]:
        """One line for each part, but tool calls are whole."""
        lines = [self.line(self.said(part)) for part in parts if part.field != "arguments"]
        calls = calls_of(parts)
        if calls:
            lines.append(self.line({"message": {"role": "assistant", "content": "", "tool_calls": self.calls(parts)}}))
        lines.append({**self.line(self.said(Part(""))), "done": True, "done_reason": finish, **COUNTS})
        return [json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for line in lines]

    @abstractmethod
    def said(self, part: Part) -> dict[str, Any]:
        """The keys of a line with a text."""

    def calls(self, parts: Sequence[Part]) -> list[Any]:
        """The tool calls, with arguments that are objects."""
        texts = [(call, joined_by_key(parts, "arguments", 0, call)) for call in calls_of(parts)]
        return [{"function": {"index": n, "name": tool(n), "arguments": json.loads(text)}} for n, text in texts]

    def hear_whole(self, body: Any, told: Understood) -> None:
        """A line that is the whole."""
        self.hear(body, told)

    def hear(self, event: Any, told: Understood) -> None:
        """A line, the last one, or an error."""
        if "error" in event:
            told.failed = True
            return
        self.hear_said(event, told)
        if event["done"]:
            told.finish[0] = event.get("done_reason", "")
            told.ended = True
            told.usage = {key: event[key] for key in COUNTS if key in event} or None

    @abstractmethod
    def hear_said(self, event: Any, told: Understood) -> None:
        """The texts of a line."""


class Chat(_Ollama):
    """`/api/chat`"""

    name = "ollama"
    path = "/api/chat"
    fields = frozenset({"content", "reasoning", "arguments", "logprobs"})

    def request(self, turns: Sequence[tuple[str, str]], stream: bool) -> dict[str, Any]:
        """Messages."""
        return {"model": MODEL, "messages": [{"role": r, "content": text} for r, text in turns], "stream": stream}

    def said(self, part: Part) -> dict[str, Any]:
        """A message."""
        texts = {"content": "", "thinking": part.text} if part.field == "reasoning" else {"content": part.text}
        probable = [{"token": part.text, "logprob": -0.5, "bytes": list(part.text.encode())}]
        return {
            "message": {"role": "assistant", **texts},
            **({"logprobs": probable} if part.field == "logprobs" else {}),
        }

    def whole(self, parts: Sequence[Part], finish: str) -> Any:
        """One message."""
        message: dict[str, Any] = {"role": "assistant", "content": joined_by_key(parts, "content")}
        message["content"] += joined_by_key(parts, "logprobs")
        thinking = joined_by_key(parts, "reasoning")
        message |= {"thinking": thinking} if thinking else {}
        message |= {"tool_calls": self.calls(parts)} if calls_of(parts) else {}
        return {**self.line({"message": message}), "done": True, "done_reason": finish, **COUNTS}

    def hear_said(self, event: Any, told: Understood) -> None:
        """A message, or the end without one."""
        message = event["message"]
        told.say((0, "content", 0), message.get("content"))
        told.say((0, "reasoning", 0), message.get("thinking"))
        for place, call in enumerate(message.get("tool_calls") or ()):
            number = call["function"].get("index", place)
            told.say((0, "arguments", number), json.dumps(call["function"]["arguments"]))
            told.names[number] = call["function"]["name"]
        for token in event.get("logprobs") or ():
            told.say((0, "logprobs", 0), token["token"])


class Generate(_Ollama):
    """`/api/generate`"""

    name = "generate"
    path = "/api/generate"
    fields = frozenset({"content", "reasoning"})

    def request(self, turns: Sequence[tuple[str, str]], stream: bool) -> dict[str, Any]:
        """One prompt."""
        return {"model": MODEL, "prompt": "\n".join(text for _, text in turns), "stream": stream}

    def said(self, part: Part) -> dict[str, Any]:
        """A text."""
        return {"response": "", "thinking": part.text} if part.field == "reasoning" else {"response": part.text}

    def whole(self, parts: Sequence[Part], finish: str) -> Any:
        """All of it."""
        thinking = joined_by_key(parts, "reasoning")
        said = {"response": joined_by_key(parts, "content"), **({"thinking": thinking} if thinking else {})}
        return {**self.line(said), "done": True, "done_reason": finish, **COUNTS}

    def hear_said(self, event: Any, told: Understood) -> None:
        """A text."""
        told.say((0, "content", 0), event["response"])
        told.say((0, "reasoning", 0), event.get("thinking"))

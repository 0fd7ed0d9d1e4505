"""OpenAI's chat and completions: https://platform.openai.com/docs/api-reference/chat-streaming."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from proxy.conformance.cases import Part
from proxy.conformance.dialects.base import (
    CREATED,
    MODEL,
    NUMBERS,
    Dialect,
    calls_of,
    choices_of,
    joined_by_key,
    sse,
    tool,
)
from proxy.conformance.heard import Understood

TEXTS = {"content": "content", "reasoning": "reasoning_content", "refusal": "refusal", "logprobs": "content"}
USAGE = {"prompt_tokens": NUMBERS[0], "completion_tokens": NUMBERS[1], "total_tokens": sum(NUMBERS)}


class _OpenAI(Dialect):
    sane = ("stop", "length", "tool_calls", "function_call")
    many = True
    kind: str

    def error(self, message: str) -> Any:
        """https://platform.openai.com/docs/guides/error-codes"""
        return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}

    def is_error(self, body: Any) -> bool:
        """An object with a message in it."""
        error = body.get("error") if isinstance(body, dict) else None
        return isinstance(error, dict) and isinstance(error.get("message"), str)

    def hear(self, event: Any, told: Understood) -> None:
        """A chunk, the end, or an error."""
        if event == "[DONE]":
            told.ended = True
        elif "error" in event:
            told.failed = True
        else:
            for choice in event["choices"]:
                self.hear_choice(choice, "delta", told)
            told.usage = event.get("usage") or told.usage

    def hear_whole(self, body: Any, told: Understood) -> None:
        """An answer."""
        for choice in body["choices"]:
            self.hear_choice(choice, "message", told)
        told.usage = body.get("usage")
        told.ended = True

    @abstractmethod
    def hear_choice(self, choice: Any, key: str, told: Understood) -> None:
        """One of the choices."""

    def chunk(self, choices: list[Any], **more: Any) -> dict[str, Any]:
        """An event's JSON."""
        return {"id": "c-1", "object": self.kind, "created": CREATED, "model": MODEL, "choices": choices, **more}

    def ends(self, parts: Sequence[Part], finish: str, last: dict[str, Any]) -> list[bytes]:
        """The finish reasons, the usage, and the end."""
        choices = [
            {"index": index, **last, "finish_reason": _finish(parts, index, finish)} for index in choices_of(parts)
        ]
        return [*(sse(self.chunk([choice])) for choice in choices), sse(self.chunk([], usage=USAGE)), sse("[DONE]")]


class OpenAI(_OpenAI):
    """`/v1/chat/completions`"""

    name = "openai"
    path = "/v1/chat/completions"
    fields = frozenset({"content", "reasoning", "refusal", "arguments", "logprobs"})
    kind = "chat.completion.chunk"

    def request(self, turns: Sequence[tuple[str, str]], stream: bool) -> dict[str, Any]:
        """Messages."""
        messages = [{"role": role, "content": text} for role, text in turns]
        options = {"stream_options": {"include_usage": True}} if stream else {}
        return {"model": MODEL, "messages": messages, "stream": stream, **options}

    def stream(self, parts: Sequence[Part], finish: str) -> list[bytes]:
        """One chunk for each part."""
        begun: set[tuple[int, int]] = set()
        first = [
            {"index": i, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
            for i in choices_of(parts)
        ]
        out = [sse(self.chunk([choice])) for choice in first]
        out += [sse(self.chunk([self._choice(part, begun)])) for part in parts]
        return out + self.ends(parts, finish, {"delta": {}})

    def _choice(self, part: Part, begun: set[tuple[int, int]]) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": part.choice, "finish_reason": None}
        if part.field != "arguments":
            logprobs = {"logprobs": {"content": [_token(part.text)]}} if part.field == "logprobs" else {}
            return {**choice, "delta": {TEXTS[part.field]: part.text}, **logprobs}
        function = {"arguments": part.text}
        head: dict[str, Any] = {"index": part.call}
        if (part.choice, part.call) not in begun:
            begun.add((part.choice, part.call))
            head |= {"id": f"call_{part.call}", "type": "function"}
            function = {"name": tool(part.call), **function}
        return {**choice, "delta": {"tool_calls": [{**head, "function": function}]}}

    def whole(self, parts: Sequence[Part], finish: str) -> Any:
        """A message for each choice."""
        choices = [self._message(parts, index, finish) for index in choices_of(parts)]
        return {**self.chunk(choices, usage=USAGE), "object": "chat.completion"}

    def _message(self, parts: Sequence[Part], index: int, finish: str) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant"}
        for field, key in TEXTS.items():
            text = joined_by_key(parts, field, index)
            if text or field == "content":
                message[key] = text
        calls = calls_of(parts, index)
        if calls:
            message["tool_calls"] = [_call(call, joined_by_key(parts, "arguments", index, call)) for call in calls]
        probable = [_token(part.text) for part in parts if part.field == "logprobs" and part.choice == index]
        logprobs = {"logprobs": {"content": probable}} if probable else {}
        return {"index": index, "message": message, "finish_reason": _finish(parts, index, finish), **logprobs}

    def hear_choice(self, choice: Any, key: str, told: Understood) -> None:
        """Deltas or a message."""
        index, said = choice["index"], choice[key]
        for field in ("content", "refusal"):
            told.say((index, field, 0), said.get(field))
        told.say((index, "reasoning", 0), said.get("reasoning_content"))
        for place, call in enumerate(said.get("tool_calls") or ()):
            number = call.get("index", place)
            told.say((index, "arguments", number), call["function"].get("arguments"))
            if call["function"].get("name"):
                told.names[number] = call["function"]["name"]
        for token in ((choice.get("logprobs") or {}).get("content")) or ():
            told.say((index, "logprobs", 0), token["token"])
        if choice.get("finish_reason"):
            told.finish[index] = choice["finish_reason"]


class Completions(_OpenAI):
    """`/v1/completions`"""

    name = "completions"
    path = "/v1/completions"
    fields = frozenset({"content"})
    kind = "text_completion"

    def request(self, turns: Sequence[tuple[str, str]], stream: bool) -> dict[str, Any]:
        """One prompt."""
        options = {"stream_options": {"include_usage": True}} if stream else {}
        return {"model": MODEL, "prompt": "\n".join(text for _, text in turns), "stream": stream, **options}

    def stream(self, parts: Sequence[Part], finish: str) -> list[bytes]:
        """One chunk for each part."""
        choices = [{"index": part.choice, "text": part.text, "logprobs": None, "finish_reason": None} for part in parts]
        return [sse(self.chunk([choice])) for choice in choices] + self.ends(
            parts, finish, {"text": "", "logprobs": None}
        )

    def whole(self, parts: Sequence[Part], finish: str) -> Any:
        """A text for each choice."""
        choices = [
            {"index": i, "text": joined_by_key(parts, "content", i), "logprobs": None, "finish_reason": finish}
            for i in choices_of(parts)
        ]
        return self.chunk(choices, usage=USAGE)

    def hear_choice(self, choice: Any, key: str, told: Understood) -> None:
        """A piece of text."""
        told.say((choice["index"], "content", 0), choice["text"])
        if choice.get("finish_reason"):
            told.finish[choice["index"]] = choice["finish_reason"]


def _finish(parts: Sequence[Part], index: int, finish: str) -> str:
    return "tool_calls" if finish == "stop" and calls_of(parts, index) else finish


def _token(text: str) -> dict[str, Any]:
    return {"token": text, "logprob": -0.5, "bytes": list(text.encode()), "top_logprobs": []}


def _call(call: int, arguments: str) -> dict[str, Any]:
    return {"id": f"call_{call}", "type": "function", "function": {"name": tool(call), "arguments": arguments}}

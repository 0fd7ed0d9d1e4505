"""A whole chat.completion put together from the chunks that may go out."""

from __future__ import annotations

from typing import Any

from proxy.dialects.openai_chunk import TEXT_KINDS


class WholeMessage:
    """Adds up deltas, choice by choice."""

    def __init__(self) -> None:
        self._choices: dict[int, dict[str, Any]] = {}
        self._extras: dict[str, Any] = {}

    def add(self, chunk: dict[str, Any]) -> None:
        """One chat.completion.chunk."""
        for choice in chunk.get("choices", ()):
            self._add_choice(choice)
        for key in ("usage", "timings"):
            if chunk.get(key):
                self._extras[key] = chunk[key]

    def _add_choice(self, choice: dict[str, Any]) -> None:
        index = choice["index"]
        whole = self._choices.setdefault(
            index, {"index": index, "message": {"role": "assistant", "content": None}, "finish_reason": None}
        )
        _add_delta(whole["message"], choice.get("delta") or {})
        if choice.get("finish_reason") is not None:
            whole["finish_reason"] = choice["finish_reason"]
        if choice.get("logprobs"):
            _add_logprobs(whole, choice["logprobs"])
        if "content_filter_results" in choice:
            whole["content_filter_results"] = choice["content_filter_results"]

    def body(self, head: dict[str, Any]) -> dict[str, Any]:
        """The answer of /v1/chat/completions without streaming."""
        choices = [self._choices[i] for i in sorted(self._choices)]
        return {**head, "object": "chat.completion", "choices": choices, **self._extras}


def _add_delta(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for key, value in delta.items():
        if key in TEXT_KINDS:
            if value is not None:
                message[key] = (message.get(key) or "") + value
        elif key == "tool_calls":
            for call in value:
                message.setdefault("tool_calls", []).append({k: v for k, v in call.items() if k != "index"})
        elif value is not None:
            message[key] = value


def _add_logprobs(whole: dict[str, Any], logprobs: dict[str, Any]) -> None:
    known = whole.setdefault("logprobs", {})
    for key, tokens in logprobs.items():
        if isinstance(tokens, list):
            known.setdefault(key, []).extend(tokens)

"""A whole answer put together from the chunks that may go out.

Text is kept in pieces and joined at the end: adding each to all before it takes a time that grows with the square.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from proxy.dialects.openai.chunk import CHOICE_KEYS, TEXT_KINDS

KEPT = ("usage", "timings")  # of what stands beside the choices of chunks; the last that came counts
_OF_STREAM = frozenset(("id", "object", "created", "model", "system_fingerprint", "choices", "prompt_progress", *KEPT))
_OF_CHOICE = CHOICE_KEYS | {"text", "content_filter_results"}


class Whole(ABC):
    """Adds up chunks, choice by choice."""

    object_name: str

    def __init__(self) -> None:
        self._choices: dict[int, dict[str, Any]] = {}
        self._extras: dict[str, Any] = {}

    @abstractmethod
    def _begin(self) -> dict[str, Any]:
        """The fields of a choice of which nothing is known yet."""

    @abstractmethod
    def _add_text(self, whole: dict[str, Any], choice: dict[str, Any]) -> None:
        """What a choice of a chunk says."""

    @abstractmethod
    def _texts(self, whole: dict[str, Any], key: str) -> list[str]:
        """Where the text under a key is kept in pieces."""

    @abstractmethod
    def _joined(self, whole: dict[str, Any]) -> dict[str, Any]:
        """A choice with its text in one piece."""

    def add(self, chunk: dict[str, Any]) -> None:
        """One chunk."""
        for choice in chunk.get("choices", ()):
            self._add_choice(choice)
        self._extras |= {key: chunk[key] for key in KEPT if chunk.get(key)}
        self._extras |= {key: number for key, number in chunk.items() if key not in _OF_STREAM}

    def say(self, index: int, key: str, text: str) -> None:
        """Text of a choice and nothing else."""
        self._texts(self._choice(index), key).append(text)

    def _choice(self, index: int) -> dict[str, Any]:
        whole = self._choices.get(index)
        if whole is None:
            whole = self._choices[index] = {"index": index, **self._begin(), "finish_reason": None}
        return whole

    def _add_choice(self, choice: dict[str, Any]) -> None:
        whole = self._choice(choice["index"])
        self._add_text(whole, choice)
        if choice.get("finish_reason") is not None:
            whole["finish_reason"] = choice["finish_reason"]
        if choice.get("logprobs"):
            _add_logprobs(whole, choice["logprobs"])
        if "content_filter_results" in choice:
            whole["content_filter_results"] = choice["content_filter_results"]
        whole |= {key: number for key, number in choice.items() if key not in _OF_CHOICE}

    def body(self, head: dict[str, Any]) -> dict[str, Any]:
        """The answer without streaming."""
        choices = [self._joined(self._choices[i]) for i in sorted(self._choices)]
        return {**head, "object": self.object_name, "choices": choices, **self._extras}


class WholeMessage(Whole):
    """A chat.completion."""

    object_name = "chat.completion"

    def _begin(self) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": None}}

    def _add_text(self, whole: dict[str, Any], choice: dict[str, Any]) -> None:
        message = whole["message"]
        for key, value in (choice.get("delta") or {}).items():
            if key in TEXT_KINDS:
                if value is not None:
                    self._texts(whole, key).append(value)
            elif key == "tool_calls":
                calls = ({k: v for k, v in call.items() if k != "index"} for call in value)
                message.setdefault("tool_calls", []).extend(calls)
            elif value is not None or key not in ("role", "function_call"):
                message[key] = value

    def _texts(self, whole: dict[str, Any], key: str) -> list[str]:
        message: dict[str, Any] = whole["message"]
        if message.get(key) is None:
            message[key] = []
        texts: list[str] = message[key]
        return texts

    def _joined(self, whole: dict[str, Any]) -> dict[str, Any]:
        message = whole["message"]
        texts = {key: "".join(message[key]) for key in TEXT_KINDS if message.get(key) is not None}
        return {**whole, "message": {**message, **texts}}


class WholeText(Whole):
    """A text_completion."""

    object_name = "text_completion"

    def _begin(self) -> dict[str, Any]:
        return {"text": [], "logprobs": None}

    def _add_text(self, whole: dict[str, Any], choice: dict[str, Any]) -> None:
        whole["text"].append(choice.get("text") or "")

    def _texts(self, whole: dict[str, Any], key: str) -> list[str]:
        texts: list[str] = whole[key]
        return texts

    def _joined(self, whole: dict[str, Any]) -> dict[str, Any]:
        return {**whole, "text": "".join(whole["text"])}


def _add_logprobs(whole: dict[str, Any], logprobs: dict[str, Any]) -> None:
    known = whole["logprobs"] = whole.get("logprobs") or {}
    for key, tokens in logprobs.items():
        if isinstance(tokens, list):
            known.setdefault(key, []).extend(tokens)

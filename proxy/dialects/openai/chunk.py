"""One chat.completion.chunk: the part of it that is understood, and the model text in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from proxy.core.events import TextDelta
from proxy.core.types import Channel, Kind
from proxy.dialects.common.counts import index_of
from proxy.errors import UpstreamBroken

TEXT_KINDS = {
    "reasoning_content": Kind.REASONING,
    "reasoning": Kind.REASONING,
    "content": Kind.CONTENT,
    "refusal": Kind.REFUSAL,
}
FINISH_REASONS = ("stop", "length", "tool_calls", "content_filter", "function_call")
ROLES = ("assistant", "tool")
_CHOICE_KEYS = frozenset(("index", "delta", "finish_reason", "logprobs"))


def clean_choice(choice: Any, logprobs: bool) -> dict[str, Any]:
    """A choice without what is not understood. Raises UpstreamBroken for what cannot be read."""
    if not isinstance(choice, dict):
        raise UpstreamBroken("the model server sent a choice that is not an object", "protocol")
    clean = {k: v for k, v in choice.items() if k in _CHOICE_KEYS}
    clean["index"] = index_of(choice)
    if "logprobs" in clean and not (logprobs or clean["logprobs"] is None):
        del clean["logprobs"]
    if "delta" in clean:
        clean["delta"] = clean_delta(clean["delta"])
    return clean


def clean_delta(delta: Any) -> dict[str, Any]:
    """A delta (or a whole message) without what is not understood."""
    clean: dict[str, Any] = {}
    for key, value in _items(delta):
        if key in TEXT_KINDS:
            clean[key] = _text(value)
        elif key == "role":
            clean[key] = value if value in ROLES else "assistant"
        elif key == "tool_calls" and value is not None:
            clean[key] = [_clean_call(call) for call in _list(value)]
        elif key == "function_call" and value is not None:
            clean[key] = _clean_function(value)
    return clean


def _clean_call(call: Any) -> dict[str, Any]:
    """A piece of a call. An index that is no number is none: calls are told apart without it (see tool_calls)."""
    fields = dict(_items(call))
    index = fields.get("index")
    clean: dict[str, Any] = {"index": index} if type(index) is int else {}
    if fields.get("id"):
        clean["id"] = _text(fields["id"])
    if "type" in fields:
        clean["type"] = "function"
    if "function" in fields:
        clean["function"] = _clean_function(fields["function"])
    return clean


def _clean_function(function: Any) -> dict[str, Any]:
    fields = dict(_items(function))
    clean: dict[str, Any] = {}
    if fields.get("name") is not None:
        clean["name"] = _text(fields["name"])
    arguments = fields.get("arguments")
    if arguments is not None:
        clean["arguments"] = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    return clean


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if value is None:
        return iter(())
    if not isinstance(value, dict):
        raise UpstreamBroken("the model server sent something else where an object belongs", "protocol")
    return iter(value.items())


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise UpstreamBroken("the model server sent something else where an array belongs", "protocol")
    return value


def _text(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise UpstreamBroken("the model server sent something else where text belongs", "protocol")
    return value


def content_deltas(index: int, delta: dict[str, Any]) -> list[TextDelta]:
    """The texts of a delta, in the order in which clients show them: thinking before the answer."""
    said = [(key, value) for key, value in delta.items() if value and key in TEXT_KINDS]
    if len(said) > 1:
        said.sort(key=lambda text: TEXT_KINDS[text[0]] is not Kind.REASONING)
    return [TextDelta(Channel(index, TEXT_KINDS[key], key), value) for key, value in said]

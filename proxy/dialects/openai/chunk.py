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
THINKING = "reasoning_content"
GIVEN = {"function": "arguments", "custom": "input"}
"""By the kind of a call, where it has what the model gives to the tool."""
FINISH_REASONS = ("stop", "length", "tool_calls", "content_filter", "function_call")
ROLES = ("assistant", "tool")
CHOICE_KEYS = frozenset(("index", "delta", "finish_reason", "logprobs"))


def clean_choice(choice: Any, logprobs: bool) -> dict[str, Any]:
    """A choice without what is not understood. Raises UpstreamBroken for what cannot be read."""
    if not isinstance(choice, dict):
        raise UpstreamBroken("the model server sent a choice that is not an object", "protocol")
    clean = {k: v for k, v in choice.items() if k in CHOICE_KEYS}
    clean["index"] = index_of(choice)
    if "finish_reason" in clean and not clean["finish_reason"]:
        clean["finish_reason"] = None  # some servers say "" or false while the answer goes on
    if "logprobs" in clean and not (logprobs or clean["logprobs"] is None):
        del clean["logprobs"]
    if "delta" in clean:
        clean["delta"] = clean_delta(clean["delta"])
    return clean


def clean_delta(delta: Any) -> dict[str, Any]:
    """A delta (or a whole message) without what is not understood."""
    clean: dict[str, Any] = {}
    for key, value in _items(delta):
        if key in TEXT_KINDS and isinstance(value, list | dict):
            clean |= _said_in(value if isinstance(value, list) else [value], key)
        elif key in TEXT_KINDS:
            clean[key] = _text(value)
        elif key == "role":
            clean[key] = value if value in ROLES else "assistant"
        elif key == "tool_calls" and value is not None:
            clean[key] = [_clean_call(call) for call in _list(value)]
        elif key == "function_call" and value is not None:
            clean[key] = _clean_function(value)
    return clean


def _said_in(parts: list[Any], key: str) -> dict[str, str]:
    """What an array of parts (one may stand alone) says in the place of a text; thinking in it has its own key."""
    said = {key: ""}
    for part in parts:
        fields = {"text": part} if isinstance(part, str) else part if isinstance(part, dict) else {}
        if isinstance(fields.get("text"), str):
            said[key] += fields["text"]
        elif "thinking" in fields:
            thought = fields["thinking"]
            inner = _said_in(thought if isinstance(thought, list) else [thought], THINKING)
            said[THINKING] = said.get(THINKING, "") + inner[THINKING]
    return said


def _clean_call(call: Any) -> dict[str, Any]:
    """A piece of a call. An index that is no number is none: calls are told apart without it (see tool_calls)."""
    fields = dict(_items(call))
    index = fields.get("index")
    clean: dict[str, Any] = {"index": index} if type(index) is int else {}
    if fields.get("id"):
        clean["id"] = str(fields["id"]) if type(fields["id"]) is int else _text(fields["id"])
    kind = "custom" if fields.get("custom") else "function"
    if "type" in fields:
        clean["type"] = kind
    if kind in fields:
        clean[kind] = _clean_function(fields[kind], GIVEN[kind])
    return clean


def _clean_function(function: Any, given: str = "arguments") -> dict[str, Any]:
    """What is called; what the model gives to it stands under the key `given`."""
    fields = dict(_items(function))
    clean: dict[str, Any] = {}
    if fields.get("name") is not None:
        clean["name"] = _text(fields["name"])
    source = fields.get(given)
    if source is not None:
        clean[given] = source if isinstance(source, str) else orjson.dumps(source).decode()
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

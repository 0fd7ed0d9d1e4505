"""Events of LM Studio's own chat, one by one: the part of each that is understood, and the model text in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from proxy.core.types import Channel, Kind
from proxy.dialects.common.answer_fields import number, record
from proxy.dialects.wire.json_body import type_name
from proxy.errors import UpstreamBroken

Word = Callable[[Any], str]
"""A name or an id, if no rule minds it."""

KINDS = {"message": Kind.CONTENT, "reasoning": Kind.REASONING}
PROVIDERS = ("plugin", "ephemeral_mcp")
FAILURES = ("invalid_name", "invalid_arguments")
PROGRESS = frozenset(
    (
        *("chat.start", "model_load.start", "model_load.progress", "model_load.end"),
        *("prompt_processing.start", "prompt_processing.progress", "prompt_processing.end"),
    )
)
_NUMBERS = record({"progress": number, "load_time_seconds": number})
STATS = frozenset(
    (
        *("input_tokens", "total_output_tokens", "reasoning_output_tokens", "tokens_per_second"),
        *("time_to_first_token_seconds", "model_load_time_seconds"),
    )
)


@dataclass(slots=True, eq=False)
class Item:
    """One item of the answer's output, as far as the client has seen it: text in parts, or a tool's call."""

    kind: str
    channel: Channel
    parts: list[str] = field(default_factory=list)
    open: bool = True

    def event(self, step: str, **more: Any) -> dict[str, Any]:
        """One of its events: start, delta or end."""
        return {"type": f"{self.kind}.{step}", **more}

    def output(self) -> dict[str, Any]:
        """How it stands in the result."""
        return {"type": self.kind, "content": "".join(self.parts)}


@dataclass(slots=True)
class Slot:
    """A place in an event where a text stands that is judged whole.

    source: the text as it came; of a JSON value (`is_json`) its JSON
    """

    holder: dict[str, Any]
    key: str
    source: str
    is_json: bool

    def put(self, text: str) -> None:
        """Write what may be shown."""
        self.holder[self.key] = orjson.loads(text or "{}") if self.is_json else text


def progress(value: dict[str, Any], word: Word) -> dict[str, Any]:
    """An event that tells of loading and reading."""
    clean = {"type": value["type"]}
    if "model_instance_id" in value:
        clean["model_instance_id"] = word(value["model_instance_id"])
    clean |= _NUMBERS(value)
    return clean


def text_of(value: dict[str, Any]) -> str:
    """A delta's text."""
    text: str = _typed(value.get("content", ""), str)
    return text


def tool_event(value: dict[str, Any], word: Word) -> tuple[dict[str, Any], list[Slot]]:
    """An event about a tool's call, and the texts in it."""
    clean: dict[str, Any] = {"type": value["type"]}
    if value["type"] == "tool_call.failure":
        clean["reason"] = _typed(value.get("reason", ""), str)
        given = _typed(value.get("metadata", {}), dict)
        metadata = clean["metadata"] = {"type": given["type"] if given.get("type") in FAILURES else FAILURES[0]}
        return clean, [Slot(clean, "reason", clean["reason"], False), *_fields(given, metadata, word)]
    return clean, list(_fields(value, clean, word))


def _fields(value: dict[str, Any], clean: dict[str, Any], word: Word) -> Iterator[Slot]:
    given = value.get("arguments")
    for key in ("tool", "tool_name", "output", *(("arguments",) if isinstance(given, str) else ())):
        if value.get(key) is not None:
            clean[key] = _typed(value[key], str)
            yield Slot(clean, key, clean[key], False)
    if given is not None and not isinstance(given, str):
        clean["arguments"] = _typed(given, dict)
        yield Slot(clean, "arguments", json.dumps(clean["arguments"], ensure_ascii=False), True)
    if isinstance(value.get("provider_info"), dict):
        clean["provider_info"] = _provider(value["provider_info"], word)


def _provider(value: dict[str, Any], word: Word) -> dict[str, Any]:
    kind = {"type": value["type"]} if value.get("type") in PROVIDERS else {}
    return kind | {key: word(value[key]) for key in ("plugin_id", "server_label") if key in value}


def as_events(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A whole answer as the events of a stream."""
    for item in _typed(result.get("output"), list):
        kind = str(_typed(item, dict).get("type"))
        if kind in KINDS:
            yield {"type": f"{kind}.start"}
            yield {"type": f"{kind}.delta", "content": item.get("content", "")}
            yield {"type": f"{kind}.end"}
        elif kind == "tool_call":
            yield {**item, "type": "tool_call.success"}
        elif kind == "invalid_tool_call":
            yield {**item, "type": "tool_call.failure"}
    yield {"type": "chat.end", "result": result}


def _typed(value: Any, wanted: type) -> Any:
    if not isinstance(value, wanted):
        raise UpstreamBroken(f"the model server sent {type_name(value)} where something else belongs", "protocol")
    return value

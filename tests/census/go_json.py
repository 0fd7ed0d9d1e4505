"""How Go reads a request: a reference reader with the rules of encoding/json, for the structs that Ollama reads into.

A key fits a field in any case, U+017F as s and U+212A as k; of keys that fit one field the last wins, and what it does
not say stays from the one before, in elements of arrays too; what follows the first value is not looked at; bytes that
are not UTF-8 become U+FFFD. Source: Go's encoding/json (decode.go, fold.go) and Ollama's api/types.go.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

ANY = object()
"""A value without a struct: a string, a map, a schema."""

_FUNCTION = {"name": ANY, "description": ANY, "parameters": ANY}
_CALL = {"id": ANY, "type": ANY, "index": ANY, "function": {"name": ANY, "arguments": ANY}}
_TOOLS = [{"type": ANY, "function": _FUNCTION}]
_ASK = dict.fromkeys(("model", "stream", "format", "options", "keep_alive", "think", "truncate"), ANY)
_OPENAI = dict.fromkeys(("model", "stream", "stop", "seed", "temperature", "response_format", "reasoning"), ANY)
_ITEM = {
    **dict.fromkeys(("type", "id", "role", "content", "call_id", "name", "arguments", "output", "summary"), ANY),
    **dict.fromkeys(("encrypted_content", "action"), ANY),
}
_BLOCK = {
    **dict.fromkeys(("type", "text", "source", "id", "name", "input", "tool_use_id", "content", "thinking"), ANY),
    **dict.fromkeys(("signature", "citations", "is_error"), ANY),
}

STRUCTS: dict[str, Any] = {
    "/api/chat": {
        **_ASK,
        "messages": [
            {
                **dict.fromkeys(("role", "content", "thinking", "images", "tool_name", "tool_call_id"), ANY),
                "tool_calls": [_CALL],
            }
        ],
        "tools": _TOOLS,
    },
    "/api/generate": {
        **_ASK,
        **dict.fromkeys(("prompt", "suffix", "system", "template", "context", "raw", "images"), ANY),
    },
    "/api/embed": {**_ASK, "input": ANY},
    "/api/embeddings": {**_ASK, "prompt": ANY},
    "/v1/embeddings": {"model": ANY, "input": ANY},
    "/v1/chat/completions": {
        **_OPENAI,
        "messages": [
            {
                **dict.fromkeys(("role", "content", "reasoning", "name", "tool_call_id"), ANY),
                "tool_calls": [_CALL],
            }
        ],
        "tools": _TOOLS,
    },
    "/v1/completions": {**_OPENAI, "prompt": ANY, "suffix": ANY},
    "/v1/responses": {
        **_OPENAI,
        "instructions": ANY,
        "input": [_ITEM],
        "tools": [{"type": ANY, **_FUNCTION, "tools": [{"type": ANY, **_FUNCTION}]}],
        "text": {"format": {"type": ANY, "name": ANY, "schema": ANY}},
    },
    "/v1/messages": {
        "model": ANY,
        "system": ANY,
        "messages": [{"role": ANY, "content": [_BLOCK]}],
        "tools": [{"type": ANY, "name": ANY, "description": ANY, "input_schema": ANY}],
    },
}
"""What Ollama reads on each of its paths, as far as a model can come to read it."""


def fold(key: str) -> str:
    """A key as Go compares it."""
    return key.replace("\u017f", "s").replace("\u212a", "k").lower()


class Pairs(list[tuple[str, Any]]):
    """A JSON object with all its keys, in their order."""


def read(body: bytes, struct: Any) -> Any:
    """What Go has in its struct after reading the body. Raises ValueError where Go gives up."""
    text = body.decode("utf-8", "replace")
    value, _ = json.JSONDecoder(object_pairs_hook=Pairs).raw_decode(text.lstrip(" \t\r\n"))
    return _read(value, struct, None)


def _read(value: Any, struct: Any, before: Any) -> Any:
    if isinstance(struct, dict) and isinstance(value, Pairs):
        found = dict(before) if isinstance(before, dict) else {}
        folded = {fold(name): name for name in struct}
        for key, item in value:
            name = key if key in struct else folded.get(fold(key))
            if name is not None:
                found[name] = _read(item, struct[name], found.get(name))
        return found
    if isinstance(struct, list) and isinstance(value, list) and not isinstance(value, Pairs):
        old = before if isinstance(before, list) else []
        return [_read(item, struct[0], old[i] if i < len(old) else None) for i, item in enumerate(value)]
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Pairs):
        return {key: _plain(item) for key, item in value}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def texts(value: Any) -> Iterator[str]:
    """Every string and every key of a map that Go has read."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)

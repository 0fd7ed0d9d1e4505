"""The field table of Ollama's own dialect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.census.answer_fields import JSON, TOKEN, Fate, Field, Script, failing, left_out, line
from tests.census.planting import HOLE


def _said(words: JSON, **more: Any) -> JSON:
    message = {"role": "assistant", "content": "", **words}
    return {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": message, "done": False, **more}


def _generated(words: JSON, **more: Any) -> JSON:
    return {"model": "m", "created_at": "2026-01-01T00:00:00Z", "response": "", **words, "done": False, **more}


ENDED = {"done": True, "done_reason": "stop", "total_duration": 1, "prompt_eval_count": 1, "eval_count": 1}


def _ollama_fields(around: Callable[..., JSON], text: str) -> Iterator[Field]:
    def rows(name: str, fate: Fate, words: JSON, beside: JSON | None = None, **more: Any) -> Iterator[Field]:
        beside = beside or {}
        yield Field(name, fate, around(words, **beside), around(words, **{**ENDED, **beside}), **more)
        if fate is Fate.LEFT_OUT:
            yield Field(f"{name} at the end", fate, around(words, **{**ENDED, **beside}), None, **more)

    for key in (text, "thinking"):
        yield from rows(key, Fate.GUARDED, {key: HOLE}, joins=True)
    calls = {
        "name": {"name": HOLE, "arguments": {}},
        "arguments": {"name": "f", "arguments": {"city": [HOLE]}},
        "arguments key": {"name": "f", "arguments": {HOLE: 1}},
        "arguments as a text": {"name": "f", "arguments": HOLE},
    }
    for name, function in calls.items():
        yield from rows(f"call.{name}", Fate.GUARDED, {"tool_calls": [{"function": function}]})
    ident = {"tool_calls": [{"id": HOLE, "function": {"name": "f", "arguments": {}}}]}
    yield from rows("call.id", Fate.GUARDED, ident)
    yield from rows("model", Fate.ADMITTED, {text: "x"}, {"model": HOLE})
    odd = {"tool_calls": [{"x": HOLE, "type": HOLE, "function": {"name": "f", "arguments": {}, "description": HOLE}}]}
    yield from rows("call's others", Fate.LEFT_OUT, odd)
    for key, value in {"role": HOLE, "images": [HOLE], "tool_name": HOLE, "x_more": {"deep": [HOLE]}}.items():
        yield from rows(f"message.{key}", Fate.LEFT_OUT, {text: "x", key: value})
    for key, value in _OLLAMA_BESIDE.items():
        yield from rows(key, Fate.LEFT_OUT, {text: "x"}, {key: value})
    yield left_out("done_reason", around({}, **{**ENDED, "done_reason": HOLE}))
    yield failing("error", {"error": HOLE}, {"error": HOLE})
    yield failing("error, deep", {"error": {"message": HOLE, "code": 500}}, {"error": {"message": HOLE}})
    yield left_out("odd line", {"status": HOLE, "completed": 1})


_OLLAMA_BESIDE: JSON = {
    "created_at": HOLE,
    "logprobs": [TOKEN],
    "context_text": HOLE,
    "remote_model": HOLE,
    "remote_host": HOLE,
    "_debug_info": {"rendered_template": HOLE},
    "total_duration": HOLE,
}

OLLAMA_CHAT = Script(
    request={"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    json={"format": "json"},
    before=(),
    after=(_said({}, **ENDED),),
    frame=line,
    fields=tuple(_ollama_fields(_said, "content")),
)
OLLAMA_GENERATE = Script(
    request={"model": "m", "prompt": "hi"},
    json={"format": "json"},
    before=(),
    after=(_generated({}, **ENDED),),
    frame=line,
    content="response",
    fields=(
        *_ollama_fields(_generated, "response"),
        left_out("context", _generated({}, **ENDED, context=[HOLE])),
    ),
)

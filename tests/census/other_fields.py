"""The field table of LM Studio's own chat, and of the dialects that answer with one object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.census.answer_fields import FAILURE, JSON, Fate, Field, Script, admitted, failing, guarded, left_out, named
from tests.census.named_fields import ANTHROPIC_MESSAGES, outside
from tests.census.planting import HOLE

# -- LM Studio's own chat

_STATS = {"input_tokens": 1, "total_output_tokens": 1}
_TOOL: JSON = {"tool": "t", "arguments": {"a": 1}, "provider_info": {"type": "plugin", "plugin_id": "p"}}
_FAILED: JSON = {"type": "invalid_name", "tool_name": "t", "arguments": {"a": 1}}


def _result(*output: JSON, **more: Any) -> JSON:
    return {"model_instance_id": "m", "output": list(output), "stats": _STATS, **more}


_TOOL_TEXTS: JSON = {
    "tool": HOLE,
    "tool_name": HOLE,
    "arguments": {"a": [HOLE]},
    "arguments key": {HOLE: 1},
    "arguments as a text": HOLE,
    "output": HOLE,
}


def _studio_fields() -> Iterator[Field]:
    for kind in ("message", "reasoning"):
        whole = _result({"type": kind, "content": HOLE})
        yield guarded(kind, {"type": f"{kind}.delta", "content": HOLE}, whole, lead=({"type": f"{kind}.start"},))
    for key, value in _TOOL_TEXTS.items():
        call = {**_TOOL, key.split()[0]: value}
        metadata = {"metadata": {**_FAILED, key.split()[0]: value}}
        for step in ("start", "arguments", "success"):
            told = _result({**call, "type": "tool_call"}) if step == "success" else None
            yield guarded(f"tool_call.{step} {key}", {"type": f"tool_call.{step}", **call}, told, joins=False)
        yield _failure(f"failure.{key}", Fate.GUARDED, {"reason": "r", **metadata})
    yield _failure("failure.reason", Fate.GUARDED, {"reason": HOLE, "metadata": _FAILED})


def _failure(name: str, fate: Fate, failed: JSON) -> Field:
    """A call that came to nothing, in a stream and in a result."""
    whole = _result({"type": "invalid_tool_call", **failed})
    return Field(name, fate, {"type": "tool_call.failure", **failed}, whole)


def _studio_rest() -> Iterator[Field]:
    yield left_out("failure.type", {"type": "tool_call.failure", "reason": "r", "metadata": {**_FAILED, "type": HOLE}})
    for key in ("plugin_id", "server_label"):
        provider = {"type": "plugin", key: HOLE}
        call = {**_TOOL, "provider_info": provider}
        for step in ("start", "arguments", "success"):
            whole = _result({**call, "type": "tool_call"}) if step == "success" else None
            yield admitted(f"provider.{key} {step}", {"type": f"tool_call.{step}", **call}, whole)
        failed = {"reason": "r", "metadata": {**_FAILED, "provider_info": provider}}
        yield _failure(f"failure.provider.{key}", Fate.ADMITTED, failed)
    for step in (
        "chat.start",
        *(f"{what}.{step}" for what in ("model_load", "prompt_processing") for step in ("start", "progress", "end")),
    ):
        yield left_out(f"{step}.x_more", {"type": step, "progress": HOLE, "x_more": HOLE})
        yield admitted(f"{step}.model_instance_id", {"type": step, "model_instance_id": HOLE}, None)
    for kind in ("message", "reasoning"):
        for step in ("start", "end"):
            yield left_out(f"{kind}.{step}.content", {"type": f"{kind}.{step}", "content": HOLE, "x_more": HOLE})
        item = {"type": kind, "content": HOLE}
        yield left_out(f"{kind} in the result", {"type": "chat.end", "result": _result(item)})
    for key, value in {"response_id": HOLE, "stats": {**_STATS, "x_more": HOLE}, "x_more": HOLE}.items():
        yield left_out(
            f"result.{key}", {"type": "chat.end", "result": _result(**{key: value})}, _result(**{key: value})
        )
    model = _result(model_instance_id=HOLE)
    yield admitted("result.model_instance_id", {"type": "chat.end", "result": model}, model)
    odd_item = {"type": "odd", "content": HOLE}
    yield left_out("odd item", {"type": "chat.end", "result": _result(odd_item)}, _result(odd_item))
    yield failing("error", {"type": "error", "error": {"type": "internal_error", "message": HOLE}}, FAILURE)
    yield from outside()


LMSTUDIO_CHAT = Script(
    request={"model": "m", "input": "hi"},
    before=({"type": "chat.start", "model_instance_id": "m"},),
    after=({"type": "chat.end", "result": _result()},),
    frame=named,
    content="message",
    fields=(*_studio_fields(), *_studio_rest()),
)

# -- one object

_VECTOR = {"object": "embedding", "index": 0, "embedding": [0.5]}


def _embeddings(answer: JSON, *items: JSON) -> Iterator[Field]:
    for key in ("object", "x_more", "input", "text", "warning", "error"):
        yield left_out(key, None, {**answer, key: HOLE})
    of_model = {**answer, "model": HOLE}
    yield admitted("model", None, of_model) if "model" in answer else left_out("model", None, of_model)
    for i, item in enumerate(items):
        yield left_out(f"others {i}", None, {**answer, **item})


_LIST: JSON = {"object": "list", "data": [_VECTOR], "model": "m", "usage": {"prompt_tokens": 1}}


def _no_stream(data: bytes) -> bytes:
    return data


def _one_object(request: JSON, fields: Iterator[Field]) -> Script:
    return Script(request=request, before=(), after=(), frame=_no_stream, fields=tuple(fields))


ODD_VECTOR = (
    {"data": [{**_VECTOR, "x_more": HOLE, "object": HOLE}]},
    {"usage": {"prompt_tokens": HOLE, "x_more": HOLE}},
)
OPENAI_EMBEDDINGS = _one_object({"model": "m", "input": "hi"}, _embeddings(_LIST, *ODD_VECTOR))
OLLAMA_EMBED = _one_object(
    {"model": "m", "input": "hi"},
    _embeddings({"model": "m", "embeddings": [[0.5]]}, {"total_duration": HOLE}),
)
OLLAMA_EMBEDDINGS = _one_object({"model": "m", "prompt": "hi"}, _embeddings({"embedding": [0.5]}))
ANTHROPIC_COUNT_TOKENS = _one_object(
    ANTHROPIC_MESSAGES.request,
    iter(
        [left_out("others", None, {"input_tokens": 1, "x_more": HOLE, "model": HOLE}), failing("error", None, FAILURE)]
    ),
)

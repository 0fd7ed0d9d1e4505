"""The field table of OpenAI's responses and Anthropic's messages, whose events have names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.census.answer_fields import (
    AS_KEY,
    FAILURE,
    IN_JSON,
    JSON,
    TOKEN,
    Fate,
    Field,
    Script,
    admitted,
    failing,
    guarded,
    left_out,
    named,
)
from tests.census.planting import HOLE, written

# -- OpenAI's responses

_HEAD: JSON = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "error": None}
_BEGUN: JSON = {**_HEAD, "status": "in_progress", "output": []}
_TEXT_AT = {"item_id": "i_1", "output_index": 0, "content_index": 0}
_SUMMARY_AT = {"item_id": "i_1", "output_index": 0, "summary_index": 0}


def _response(*output: JSON, **more: Any) -> JSON:
    return {**_HEAD, "status": "completed", "output": list(output), **more}


def _message_item(**part: Any) -> JSON:
    return {"id": "i_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def _call_item(**call: str) -> JSON:
    base = {"id": "i_1", "type": "function_call", "status": "completed", "call_id": "c_1", "name": "f"}
    return {**base, "arguments": "{}", **call}


def _reasoning_item(**more: Any) -> JSON:
    return {"id": "i_1", "type": "reasoning", "status": "completed", "summary": [], **more}


def _event(kind: str, **more: Any) -> JSON:
    return {"type": f"response.{kind}", **more}


def _item_event(step: str, item: JSON) -> JSON:
    return _event(f"output_item.{step}", output_index=0, item=item)


_MESSAGE = _item_event("added", {**_message_item(), "status": "in_progress", "content": []})
_REASONING = _item_event("added", {**_reasoning_item(), "status": "in_progress"})
_PART = _event("content_part.added", **_TEXT_AT, part={"type": "output_text", "text": "", "annotations": []})
_REFUSAL_PART = _event("content_part.added", **_TEXT_AT, part={"type": "refusal", "refusal": ""})
_SUMMARY_PART = _event("reasoning_summary_part.added", **_SUMMARY_AT, part={"type": "summary_text", "text": ""})
_IN_TEXT = (_MESSAGE, _PART)
_X = _event("output_text.delta", **_TEXT_AT, delta="x")


def _response_texts() -> Iterator[Field]:
    text = _message_item(type="output_text", text=HOLE, annotations=[])
    refusal = _message_item(type="refusal", refusal=HOLE)
    thought = _reasoning_item(content=[{"type": "reasoning_text", "text": HOLE}])
    summary = _reasoning_item(summary=[{"type": "summary_text", "text": HOLE}])
    for stem, item, at, lead in (
        ("output_text", text, _TEXT_AT, _IN_TEXT),
        ("refusal", refusal, _TEXT_AT, (_MESSAGE, _REFUSAL_PART)),
        ("reasoning_text", thought, _TEXT_AT, (_REASONING,)),
        ("reasoning_summary_text", summary, _SUMMARY_AT, (_REASONING, _SUMMARY_PART)),
    ):
        yield guarded(stem, _event(f"{stem}.delta", **at, delta=HOLE), _response(item), lead=lead)
        key = "refusal" if stem == "refusal" else "text"
        done = _event(f"{stem}.done", **at, **{key: HOLE})
        yield guarded(f"{stem}.done alone", done, None, lead=lead, joins=False)
        yield guarded(f"{stem} in its item alone", _item_event("done", item), None, lead=lead[:1], joins=False)
        yield guarded(f"{stem} in the response alone", _event("completed", response=_response(item)), None, joins=False)
    part = {"type": "output_text", "text": HOLE, "annotations": []}
    yield guarded(
        "part.done alone", _event("content_part.done", **_TEXT_AT, part=part), None, lead=_IN_TEXT, joins=False
    )


def _response_calls() -> Iterator[Field]:
    opened = _item_event("added", {**_call_item(), "arguments": "", "status": "in_progress"})
    at = {"item_id": "i_1", "output_index": 0}
    delta = _event("function_call_arguments.delta", **at, delta=HOLE)
    done = _event("function_call_arguments.done", **at, arguments=HOLE)
    for name, inside in (("", IN_JSON), (" key", AS_KEY)):
        more: JSON = {"lead": (opened,), "inside": inside}
        yield guarded(f"call.arguments{name}", delta, _response(_call_item(arguments=HOLE)), **more)
        yield guarded(f"call.arguments{name} done alone", done, None, joins=False, **more)
    yield from _custom_calls(at)
    for key in ("name", "call_id", "arguments"):
        inside = IN_JSON if key == "arguments" else ("", "")
        item = _call_item(**{key: HOLE})
        yield guarded(f"call.{key} in its item", _item_event("done", item), _response(item), joins=False, inside=inside)
        last = _event("completed", response=_response(item))
        yield guarded(f"call.{key} in the response alone", last, None, joins=False, inside=inside)


def _custom_calls(at: JSON) -> Iterator[Field]:
    """Calls of custom tools, whose input is any text."""
    item = {"id": "i_1", "type": "custom_tool_call", "status": "completed", "call_id": "c_1", "name": "f", "input": ""}
    lead = (_item_event("added", {**item, "status": "in_progress"}),)
    whole = {**item, "input": HOLE}
    stem = "custom_tool_call_input"
    yield guarded("custom.input", _event(f"{stem}.delta", **at, delta=HOLE), _response(whole), lead=lead)
    yield guarded("custom.input done alone", _event(f"{stem}.done", **at, input=HOLE), None, lead=lead, joins=False)
    yield guarded("custom.input in its item", _item_event("done", whole), None, joins=False)
    last = _event("completed", response=_response(whole))
    yield guarded("custom.input in the response alone", last, None, joins=False)
    for name, inside in (("in JSON", IN_JSON), ("key", AS_KEY)):
        delta = _event(f"{stem}.delta", **at, delta=HOLE)
        yield guarded(f"custom.input {name}", delta, _response(whole), lead=lead, inside=inside)
    given = {**item, "input": {"patch": [HOLE]}}
    yield guarded("custom.input as an object", _item_event("done", given), _response(given), joins=False)
    odd = {**item, "input": "x", "type": "custom_tool_call", "x_more": HOLE, "status": HOLE, "namespace": HOLE}
    yield left_out("custom's others", _item_event("done", odd), _response(odd))
    for key in ("name", "call_id"):
        called = {**item, key: HOLE}
        yield guarded(f"custom.{key}", _item_event("done", called), _response(called), joins=False)


_UNKNOWN_EVENTS = (
    *("mcp_call_arguments", "code_interpreter_call_code", "audio.transcript", "audio"),
    *("image_generation_call.partial_image", "web_search_call", "reasoning", "x_more"),
)
_ECHOES: JSON = {
    "instructions": HOLE,
    "tools": [{"type": "function", "name": "f", "description": HOLE, "parameters": {}}],
    "text": {"format": {"type": "json_schema", "name": HOLE, "schema": {"title": HOLE}}},
    "metadata": {"a": HOLE},
    "reasoning": {"effort": "low", "summary": HOLE, "x_more": HOLE},
    "prompt": {"id": HOLE, "variables": {"a": HOLE}},
    "user": HOLE,
    "previous_response_id": HOLE,
    "incomplete_details": {"reason": HOLE},
    "tool_choice": HOLE,
    "truncation": HOLE,
    "service_tier": HOLE,
    "status": HOLE,
    "object": HOLE,
    "usage": {"input_tokens": 1, "x_more": HOLE, "output_tokens_details": {"x_more": HOLE}},
    "output_text": HOLE,
    "safety_identifier": HOLE,
    "x_more": HOLE,
}


def _response_rest() -> Iterator[Field]:
    for kind in _UNKNOWN_EVENTS:
        for step in ("delta", "done"):
            said = {"delta": HOLE} if step == "delta" else {"input": HOLE, "arguments": HOLE, "code": HOLE}
            yield left_out(
                f"{kind}.{step}", _event(f"{kind}.{step}", item_id="i_1", output_index=0, **said), lead=_IN_TEXT
            )
    note = _event("output_text.annotation.added", **_TEXT_AT, annotation={"type": "url_citation", "title": HOLE})
    yield left_out("annotation.added", note, lead=_IN_TEXT)
    for key, value in {
        "logprobs": [TOKEN],
        "annotations": [{"title": HOLE}],
        "x_more": HOLE,
        "obfuscation": HOLE,
    }.items():
        yield left_out(f"delta.{key}", {**_X, key: value}, lead=_IN_TEXT)
        part = {"type": "output_text", "text": "x", key: value}
        yield left_out(f"part.{key}", {**_PART, "part": part}, _response(_message_item(**part)), lead=(_MESSAGE,))
    for item in (
        {"id": "w_1", "type": "web_search_call", "action": {"type": "search", "query": HOLE}},
        {"id": "m_1", "type": "mcp_call", "arguments": HOLE, "output": HOLE, "name": HOLE},
        {"id": "e_1", "type": "code_interpreter_call", "code": HOLE, "outputs": [{"logs": HOLE}]},
        {**_message_item(type="output_text", text="x"), "role": HOLE},
        _message_item(type="odd", text=HOLE),
    ):
        name = f"item {item['type']}, {len(str(item))} long"
        yield left_out(name, _item_event("done", item), _response(item))
        yield left_out(f"{name}, added", _item_event("added", item))
    kept = _reasoning_item(encrypted_content=HOLE)
    yield left_out("encrypted_content, added", _item_event("added", kept))
    yield admitted("encrypted_content", _item_event("done", kept), _response(kept))
    yield admitted("encrypted_content in the response alone", _event("completed", response=_response(kept)), None)
    for key, value in _ECHOES.items():
        yield left_out(f"created.{key}", _event("created", response={**_BEGUN, key: value}))
        yield left_out(
            f"completed.{key}", _event("completed", response={**_response(), key: value}), _response(**{key: value})
        )
    for key in ("id", "model"):
        yield admitted(
            f"response.{key}", _event("completed", response=_response(**{key: HOLE})), _response(**{key: HOLE})
        )
    yield admitted("item.id", _item_event("added", {**_message_item(), "id": HOLE, "content": []}), None)
    yield failing("error", {"type": "error", "code": "x", "message": HOLE, "param": None}, FAILURE)
    yield failing("error, nested", {"type": "error", **FAILURE}, None)
    yield failing("failed", _event("failed", response={**_BEGUN, **FAILURE, "status": "failed"}), None)
    yield from outside()


def outside() -> Iterator[Field]:
    """What server-sent events can have around their data."""
    for name in ("id", "retry", "x", "event", ""):
        yield left_out(f"line {name}:", f"{name}: {HOLE}\n\n")
    yield left_out("odd event", named(written({"type": "odd", "delta": HOLE, "content": HOLE}, HOLE)).decode())
    yield left_out("odd name", f'event: {HOLE}\ndata: {{"type":"ping","x_more":"{HOLE}"}}\n\n')


OPENAI_RESPONSES = Script(
    request={"model": "m", "input": "hi"},
    json={"text": {"format": {"type": "json_object"}}},
    before=(_event("created", response=_BEGUN),),
    after=(_event("completed", response={k: v for k, v in _response().items() if k != "output"}),),
    frame=named,
    content="output_text",
    fields=(*_response_texts(), *_response_calls(), *_response_rest()),
)

# -- Anthropic's messages


def _start(**more: Any) -> JSON:
    message = {"id": "m_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": {}}
    return {"type": "message_start", "message": {**message, **more}}


def _block(**content: Any) -> JSON:
    return {"type": "content_block_start", "index": 0, "content_block": content}


def _delta(**delta: Any) -> JSON:
    return {"type": "content_block_delta", "index": 0, "delta": delta}


def _whole(*content: JSON, **more: Any) -> JSON:
    return {**_start()["message"], "content": list(content), "stop_reason": "end_turn", **more}


_STOP = {"type": "content_block_stop", "index": 0}
_TEXT = (_block(type="text", text=""),)
_THINKING = (_block(type="thinking", thinking=""),)
_USE: JSON = {"type": "tool_use", "id": "t_1", "name": "f", "input": {}}


def _block_texts() -> Iterator[Field]:
    yield guarded(
        "text", _delta(type="text_delta", text=HOLE), _whole({"type": "text", "text": HOLE}), lead=_TEXT, tail=(_STOP,)
    )
    thought = {"type": "thinking", "thinking": HOLE}
    yield guarded(
        "thinking", _delta(type="thinking_delta", thinking=HOLE), _whole(thought), lead=_THINKING, tail=(_STOP,)
    )
    called = _delta(type="input_json_delta", partial_json=HOLE)
    for name, inside, used in (("", IN_JSON, {"city": HOLE}), (" key", AS_KEY, {HOLE: 1})):
        yield guarded(f"input{name}", called, None, lead=(_block(**_USE),), tail=(_STOP,), inside=inside)
        used_at_once = {**_USE, "input": used}
        given = _delta(type="input_json_delta", partial_json=used)
        yield guarded(f"input{name} as an object", given, None, joins=False, lead=(_block(**_USE),), tail=(_STOP,))
        yield guarded(f"input{name} at once", _block(**used_at_once), _whole(used_at_once), joins=False, tail=(_STOP,))
    for key in ("name", "id"):
        used = {**_USE, key: HOLE}
        yield guarded(f"call.{key}", _block(**used), _whole(used), joins=False, tail=(_STOP,))


def _block_rest() -> Iterator[Field]:
    for key in ("id", "model"):
        yield admitted(key, _start(**{key: HOLE}), _whole(**{key: HOLE}))
    for key in ("role", "stop_sequence", "stop_reason", "container", "x_more"):
        yield left_out(f"message_start.{key}", _start(**{key: HOLE}))
        last = {"type": "message_delta", "delta": {"stop_reason": "end_turn", key: HOLE}, "usage": {}}
        yield left_out(f"message_delta.{key}", last, None if key == "role" else _whole(**{key: HOLE}))
    yield left_out("message_start.content", _start(content=[{"type": "text", "text": HOLE}]))
    yield left_out(
        "usage", _start(usage={"input_tokens": 1, "service_tier": HOLE}), _whole(usage={"service_tier": HOLE})
    )
    details = {"type": "refusal", "explanation": HOLE}
    told = {"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details": details}, "usage": {}}
    yield left_out("stop_details", told, _whole(stop_details=details))
    for block in (
        {"type": "server_tool_use", "id": HOLE, "name": HOLE, "input": {"query": HOLE}},
        {"type": "web_search_tool_result", "tool_use_id": "t", "content": [{"title": HOLE, "url": HOLE}]},
        {"type": "tool_result", "content": HOLE},
        {"type": "text", "text": "x", "citations": [{"cited_text": HOLE}]},
        {"type": "odd", "text": HOLE},
    ):
        yield left_out(f"block {block['type']}", _block(**block), _whole(block), tail=(_STOP,))
    yield left_out(
        "citations_delta", _delta(type="citations_delta", citation={"cited_text": HOLE}), lead=_TEXT, tail=(_STOP,)
    )
    yield left_out("odd delta", _delta(type="odd_delta", text=HOLE, thinking=HOLE), lead=_TEXT, tail=(_STOP,))
    yield left_out(
        "delta.x_more", _delta(type="text_delta", text="x", x_more=HOLE, thinking=HOLE), lead=_TEXT, tail=(_STOP,)
    )
    yield left_out("ping", {"type": "ping", "text": HOLE})
    yield left_out("odd message event", {"type": "message_odd", "text": HOLE})
    yield failing("error", {"type": "error", "error": {"type": "api_error", "message": HOLE}}, FAILURE)
    yield from outside()


def _signed() -> Iterator[Field]:
    """Thinking has a signature, or is redacted: opaque words that clients send back."""
    hidden = {"type": "redacted_thinking", "data": HOLE}
    yield Field("redacted_thinking", Fate.ADMITTED, _block(**hidden), _whole(hidden), tail=(_STOP,))
    sign = _delta(type="signature_delta", signature=HOLE)
    whole = _whole({"type": "thinking", "thinking": "x", "signature": HOLE})
    lead = (*_THINKING, _delta(type="thinking_delta", thinking="x"))
    yield Field("signature", Fate.ADMITTED, sign, whole, lead=lead, tail=(_STOP,))


ANTHROPIC_MESSAGES = Script(
    request={"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
    json={"output_config": {"format": {"type": "json_schema", "schema": {}}}},
    before=(_start(),),
    after=(
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ),
    frame=named,
    content="text",
    fields=(*_block_texts(), *_signed(), *_block_rest()),
)

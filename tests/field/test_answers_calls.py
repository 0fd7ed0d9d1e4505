"""Calls in answers are told apart, as careful clients do it: rows of public reports, each with its right value."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.lmstudio.chat import LMStudioChat
from proxy.dialects.ollama.chat import OllamaChat
from proxy.dialects.openai.chat import OpenAIChat
from proxy.dialects.openai.responses.dialect import OpenAIResponses
from tests.field.answer_cases import (
    CHAT,
    MESSAGES,
    RESPONSES,
    TWO,
    Call,
    both,
    chat_calls,
    entry,
    message_events,
    response_events,
)
from tests.field.answering import carried, events, told
from tests.leaks.attack import chunk

# -- f01, f03: tool calls are told apart


@both
@pytest.mark.parametrize("index", [{"index": 0}, {"index": None}, {}, {"index": "0"}, {"index": -1}, {"index": 5000}])
def test_f01_f03_a_new_id_begins_a_new_call(index: dict[str, Any], stream: bool) -> None:
    """Two calls with the same index, null, none, or one that is no number, are two calls for every client."""
    deltas = [{"tool_calls": [entry(call, **index)]} for call in TWO]
    body = events(*(chunk(delta) for delta in deltas), chunk({}, "tool_calls"), "[DONE]")
    got = carried(OpenAIChat(), {**CHAT, "stream": stream}, body)
    assert got.answer.failed is None
    assert chat_calls(got.out, stream) == TWO


@both
def test_f01_two_calls_in_one_delta(stream: bool) -> None:
    """Also when their arguments are objects, and when the server answers with one body."""
    calls = [entry(call, index=0) for call in TWO]
    for call in calls:
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    body = events(chunk({"tool_calls": calls}), chunk({}, "tool_calls"), "[DONE]")
    whole = {"choices": [{"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": calls}}]}
    for sent in (body, json.dumps(whole).encode()):
        got = carried(OpenAIChat(), {**CHAT, "stream": stream}, sent)
        assert chat_calls(got.out, stream) == TWO


@both
def test_f01_names_that_are_told_again_or_empty(stream: bool) -> None:
    """A later piece may have the name once more, an empty one, or null."""
    pieces: list[dict[str, Any]] = [{"name": "file_write", "arguments": ""}, {"name": "", "arguments": '{"path"'}]
    pieces += [{"name": None, "arguments": ':"a'}, {"name": "file_write", "arguments": '.py"}'}]
    deltas = [{"tool_calls": [{"index": 0, "id": "call_a1", "function": piece}]} for piece in pieces]
    body = events(*(chunk(delta) for delta in deltas), chunk({}, "tool_calls"), "[DONE]")
    assert chat_calls(carried(OpenAIChat(), {**CHAT, "stream": stream}, body).out, stream) == TWO[:1]


def _anthropic_calls(out: bytes, stream: bool) -> list[Call]:
    if not stream:
        blocks = json.loads(out)["content"]
        return [(block["id"], block["name"], json.dumps(block["input"], separators=(",", ":"))) for block in blocks]
    blocks, sources = dict[int, Any](), dict[int, str]()
    for event in told(out):
        if event["type"] == "content_block_start":
            assert event["index"] not in blocks
            blocks[event["index"]] = event["content_block"]
        elif event["type"] == "content_block_delta":
            sources[event["index"]] = sources.get(event["index"], "") + event["delta"]["partial_json"]
    return [(block["id"], block["name"], sources[index]) for index, block in blocks.items()]


def _block(call: Call, at: dict[str, Any], size: int, given: Any = None, stop: bool = True) -> Iterable[dict[str, Any]]:
    use = {"type": "tool_use", "id": call[0], "name": call[1], "input": {} if given is None else given}
    yield {"type": "content_block_start", **at, "content_block": use}
    for start in range(0, len(call[2]), size) if size else ():
        delta = {"type": "input_json_delta", "partial_json": call[2][start : start + size]}
        yield {"type": "content_block_delta", **at, "delta": delta}
    if stop:
        yield {"type": "content_block_stop", **at}


@both
@pytest.mark.parametrize("at", [{"index": 0}, {"index": None}, {}, {"index": 7}])
@pytest.mark.parametrize("stop", [True, False])
def test_f01_blocks_of_one_index(at: dict[str, Any], stop: bool, stream: bool) -> None:
    """Anthropic: a block that begins is a block of its own, whatever its index, and though none before it has ended."""
    body = message_events(*(_block(call, at, 4, stop=stop or not at.get("index")) for call in TWO))
    got = carried(AnthropicMessages(), {**MESSAGES, "stream": stream}, body)
    assert got.answer.failed is None
    assert _anthropic_calls(got.out, stream) == TWO


@both
@pytest.mark.parametrize("size", [0, 4])
def test_f01_input_in_the_first_event(size: int, stream: bool) -> None:
    """Anthropic: the input may stand in the block's first event; where deltas follow, they are the input."""
    body = message_events(*(_block(call, {"index": 0}, size, given=json.loads(call[2])) for call in TWO))
    assert _anthropic_calls(carried(AnthropicMessages(), {**MESSAGES, "stream": stream}, body).out, stream) == TWO


def test_f01_text_blocks_of_one_index() -> None:
    """Anthropic: two blocks of text under one index are two blocks, and no text is lost."""
    body = []
    for text in ("one", "two"):
        body.append({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
        body.append({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})
        body.append({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "!"}})
    got = carried(AnthropicMessages(), {**MESSAGES, "stream": False}, message_events(body))
    assert [block["text"] for block in json.loads(got.out)["content"]] == ["one!", "two!"]


def _function(call: Call, key: str = "arguments", **more: Any) -> dict[str, Any]:
    kind = "function_call" if key == "arguments" else "custom_tool_call"
    item = {"id": f"fc_{call[0]}", "type": kind, "status": "completed", "call_id": call[0], "name": call[1]}
    return {**item, key: call[2], **more}


def _item_events(call: Call, at: dict[str, Any], key: str, done: bool, **more: Any) -> Iterable[dict[str, Any]]:
    item = _function(call, key, **more)
    stem = "function_call_arguments" if key == "arguments" else "custom_tool_call_input"
    inside = {"item_id": item["id"], **at}
    yield {"type": "response.output_item.added", **at, "item": {**item, key: "", "status": "in_progress"}}
    for piece in (call[2][:5], call[2][5:]):
        yield {"type": f"response.{stem}.delta", **inside, "delta": piece}
    yield {"type": f"response.{stem}.done", **inside, key: call[2]}
    if done:
        yield {"type": "response.output_item.done", **at, "item": item}


def _response_calls(out: bytes, stream: bool, key: str = "arguments") -> list[Call]:
    if not stream:
        items = json.loads(out)["output"]
    else:
        all_told = told(out)
        items = [event["item"] for event in all_told if event["type"] == "response.output_item.done"]
        assert all_told[-1]["response"]["output"] == items
        ids = [event["item_id"] for event in all_told if event["type"].endswith(".delta")]
        assert ids == [item["id"] for item in items]
        assert len(set(ids)) == len(ids)
    return [(item["call_id"], item["name"], item[key]) for item in items]


@both
@pytest.mark.parametrize("key", ["arguments", "input"])
@pytest.mark.parametrize("at", [{"output_index": 0}, {"output_index": None}, {}])
@pytest.mark.parametrize("more", [{}, {"id": None}, {"id": "fc"}])
@pytest.mark.parametrize("done", [True, False])
def test_f01_items_of_one_index(key: str, at: dict[str, Any], more: dict[str, Any], done: bool, stream: bool) -> None:
    """Responses: two calls whose index, or id, or both say nothing are two calls; custom tools' calls are calls too."""
    items = [_item_events(call, at, key, done, **more) for call in TWO]
    body = response_events(*items, output=[_function(call, key, **more) for call in TWO])
    got = carried(OpenAIResponses(), {**RESPONSES, "stream": stream}, body)
    assert got.answer.failed is None
    assert _response_calls(got.out, stream, key) == TWO


@both
def test_f01_items_that_the_last_event_does_not_list(stream: bool) -> None:
    """Responses: a call that came in pieces is not lost when the response ends with an empty list."""
    body = response_events(*(_item_events(call, {}, "arguments", done=False) for call in TWO), output=[])
    assert _response_calls(carried(OpenAIResponses(), {**RESPONSES, "stream": stream}, body).out, stream) == TWO


@both
def test_f01_arguments_that_are_an_object(stream: bool) -> None:
    """Responses: arguments that are no string but the object itself."""
    items = [{**_function(call), "arguments": json.loads(call[2])} for call in TWO]
    done = [{"type": "response.output_item.done", "output_index": 0, "item": item} for item in items]
    body = response_events(done, output=items)
    assert _response_calls(carried(OpenAIResponses(), {**RESPONSES, "stream": stream}, body).out, stream) == TWO


@both
@pytest.mark.parametrize("as_text", [True, False])
def test_f01_calls_of_ollama(as_text: bool, stream: bool) -> None:
    """Ollama: every entry is a call; arguments that are a string stay one."""
    calls = []
    for ident, name, arguments in TWO:
        given = arguments if as_text else json.loads(arguments)
        calls.append({"id": ident, "function": {"index": 0, "name": name, "arguments": given}})
    message = {"role": "assistant", "content": ""}
    line = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": message}
    lines = [{**line, "message": {**message, "tool_calls": [call]}, "done": False} for call in calls]
    body = [json.dumps(value).encode() + b"\n" for value in (*lines, {**line, "done": True, "done_reason": "stop"})]
    got = carried(OllamaChat(), {**CHAT, "stream": stream}, body)
    said = told(got.out) if stream else [json.loads(got.out)]
    assert [call for line in said for call in line["message"].get("tool_calls", ())] == calls


def test_f01_arguments_of_lm_studios_tools() -> None:
    """LM Studio: arguments that are a string stay one, and are judged."""
    call = {"tool": "ls", "provider_info": {"type": "plugin", "plugin_id": "p"}, "arguments": '{"path": "a.py"}'}
    start = {"type": "chat.start", "model_instance_id": "m"}
    end = {"type": "chat.end", "result": {"model_instance_id": "m", "output": [], "stats": {}}}
    body = events(start, {"type": "tool_call.success", **call, "output": "x"}, end, named=True)
    got = carried(LMStudioChat(), {**RESPONSES, "stream": False}, body)
    assert json.loads(got.out)["output"] == [{"type": "tool_call", **call, "output": "x"}]

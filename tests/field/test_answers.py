"""What real model servers stream, and what the client gets: cases from public reports, each with its right value."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.guard import Guard
from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.base import Dialect
from proxy.dialects.lmstudio.chat import LMStudioChat, LMStudioV0Chat
from proxy.dialects.ollama.chat import OllamaChat, OllamaGenerate
from proxy.dialects.openai.chat import OpenAIChat
from proxy.dialects.openai.completions import OpenAICompletions
from proxy.dialects.openai.responses.dialect import OpenAIResponses
from proxy.dialects.request import Options
from proxy.errors import UpstreamTimeout
from tests.field.answering import EMAIL, NOTICE, QUIET, STOP, answering, carried, events, told
from tests.laws import cut
from tests.leaks.attack import CARD, HIDE, asked, chunk, deltas
from tests.leaks.attack import STOP as STOP_HERE
from tests.phrases import PhrasePlan

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
MESSAGES = {**CHAT, "max_tokens": 9}
RESPONSES: dict[str, Any] = {"model": "m", "input": "hi"}
Call = tuple[str, str, str]  # id, name, arguments
TWO: list[Call] = [("call_a1", "file_write", '{"path":"a.py"}'), ("call_b2", "file_write", '{"path":"b.py"}')]

both = pytest.mark.parametrize("stream", [True, False])

# -- f01, f03: tool calls are told apart


def _chat_calls(out: bytes, stream: bool) -> list[Call]:
    """The calls of an answer, as a client reads them that goes by the index alone."""
    if not stream:
        (choice,) = json.loads(out)["choices"]
        calls = choice["message"].get("tool_calls", [])
    else:
        deltas = [choice["delta"] for event in told(out) for choice in event["choices"]]
        calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
        assert [call["index"] for call in calls] == list(range(len(calls)))
    return [(call.get("id", ""), call["function"]["name"], call["function"]["arguments"]) for call in calls]


def _entry(call: Call, **more: Any) -> dict[str, Any]:
    return {"id": call[0], "type": "function", "function": {"name": call[1], "arguments": call[2]}, **more}


@both
@pytest.mark.parametrize("index", [{"index": 0}, {"index": None}, {}, {"index": "0"}, {"index": -1}, {"index": 5000}])
def test_f01_f03_a_new_id_begins_a_new_call(index: dict[str, Any], stream: bool) -> None:
    """Two calls with the same index, null, none, or one that is no number, are two calls for every client."""
    deltas = [{"tool_calls": [_entry(call, **index)]} for call in TWO]
    body = events(*(chunk(delta) for delta in deltas), chunk({}, "tool_calls"), "[DONE]")
    got = carried(OpenAIChat(), {**CHAT, "stream": stream}, body)
    assert got.answer.failed is None
    assert _chat_calls(got.out, stream) == TWO


@both
def test_f01_two_calls_in_one_delta(stream: bool) -> None:
    """Also when their arguments are objects, and when the server answers with one body."""
    calls = [_entry(call, index=0) for call in TWO]
    for call in calls:
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    body = events(chunk({"tool_calls": calls}), chunk({}, "tool_calls"), "[DONE]")
    whole = {"choices": [{"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": calls}}]}
    for sent in (body, json.dumps(whole).encode()):
        got = carried(OpenAIChat(), {**CHAT, "stream": stream}, sent)
        assert _chat_calls(got.out, stream) == TWO


@both
def test_f01_names_that_are_told_again_or_empty(stream: bool) -> None:
    """A later piece may have the name once more, an empty one, or null."""
    pieces: list[dict[str, Any]] = [{"name": "file_write", "arguments": ""}, {"name": "", "arguments": '{"path"'}]
    pieces += [{"name": None, "arguments": ':"a'}, {"name": "file_write", "arguments": '.py"}'}]
    deltas = [{"tool_calls": [{"index": 0, "id": "call_a1", "function": piece}]} for piece in pieces]
    body = events(*(chunk(delta) for delta in deltas), chunk({}, "tool_calls"), "[DONE]")
    assert _chat_calls(carried(OpenAIChat(), {**CHAT, "stream": stream}, body).out, stream) == TWO[:1]


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


def _message_events(*blocks: Iterable[dict[str, Any]]) -> list[bytes]:
    head = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": {}}
    inner = [event for block in blocks for event in block]
    ends: list[dict[str, Any]] = [
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {}},
        {"type": "message_stop"},
    ]
    return events({"type": "message_start", "message": head}, *inner, *ends, named=True)


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
    body = _message_events(*(_block(call, at, 4, stop=stop or not at.get("index")) for call in TWO))
    got = carried(AnthropicMessages(), {**MESSAGES, "stream": stream}, body)
    assert got.answer.failed is None
    assert _anthropic_calls(got.out, stream) == TWO


@both
@pytest.mark.parametrize("size", [0, 4])
def test_f01_input_in_the_first_event(size: int, stream: bool) -> None:
    """Anthropic: the input may stand in the block's first event; where deltas follow, they are the input."""
    body = _message_events(*(_block(call, {"index": 0}, size, given=json.loads(call[2])) for call in TWO))
    assert _anthropic_calls(carried(AnthropicMessages(), {**MESSAGES, "stream": stream}, body).out, stream) == TWO


def test_f01_text_blocks_of_one_index() -> None:
    """Anthropic: two blocks of text under one index are two blocks, and no text is lost."""
    body = []
    for text in ("one", "two"):
        body.append({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
        body.append({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})
        body.append({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "!"}})
    got = carried(AnthropicMessages(), {**MESSAGES, "stream": False}, _message_events(body))
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


def _response_events(*items: Iterable[dict[str, Any]], output: list[dict[str, Any]]) -> list[bytes]:
    head = {"id": "r", "object": "response", "created_at": 1, "model": "m"}
    begun = {"type": "response.created", "response": {**head, "status": "in_progress", "output": []}}
    end = {"type": "response.completed", "response": {**head, "status": "completed", "output": output}}
    return events(begun, *(event for item in items for event in item), end, named=True)


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
    body = _response_events(*items, output=[_function(call, key, **more) for call in TWO])
    got = carried(OpenAIResponses(), {**RESPONSES, "stream": stream}, body)
    assert got.answer.failed is None
    assert _response_calls(got.out, stream, key) == TWO


@both
def test_f01_items_that_the_last_event_does_not_list(stream: bool) -> None:
    """Responses: a call that came in pieces is not lost when the response ends with an empty list."""
    body = _response_events(*(_item_events(call, {}, "arguments", done=False) for call in TWO), output=[])
    assert _response_calls(carried(OpenAIResponses(), {**RESPONSES, "stream": stream}, body).out, stream) == TWO


@both
def test_f01_arguments_that_are_an_object(stream: bool) -> None:
    """Responses: arguments that are no string but the object itself."""
    items = [{**_function(call), "arguments": json.loads(call[2])} for call in TWO]
    done = [{"type": "response.output_item.done", "output_index": 0, "item": item} for item in items]
    body = _response_events(done, output=items)
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


# -- r02, c03: the end of the thinking comes before the answer

HELD = "I ask bob@"  # the last word may still become an address


def _texts_in_order(out: bytes, thought: str, answer: str) -> None:
    """The thinking has ended when the answer begins."""
    data = out.decode()
    assert data.index(thought) < data.index(answer)


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
@pytest.mark.parametrize("beside", [{}, {"content": ""}])
def test_r02_c03_chat(field: str, beside: dict[str, Any]) -> None:
    """OpenAI's chat: what was held of the thinking comes in a chunk before the answer's first, which is as it was."""
    thinking = [chunk({**beside, field: text}) for text in ("I ask ", "bob@")]
    sent = events(*thinking, chunk({"content": "hi "}), chunk({}, "stop"), "[DONE]")
    out = carried(OpenAIChat(), {**CHAT, "stream": True}, sent, [EMAIL]).out
    assert [event["choices"][0]["delta"] for event in told(out)] == [
        {**beside, field: "I ask "},
        *({field: "bob@"}, {"content": "hi "}, {}),
    ]
    assert sent[2] in out


def test_r02_chat_in_one_delta() -> None:
    """Thinking and answer in one delta: whatever stands first in it, what is held of the thinking is told with it."""
    sent = events(chunk({"content": "hi ", "reasoning": HELD}), chunk({}, "stop"), "[DONE]")
    out = carried(OpenAIChat(), {**CHAT, "stream": True}, sent, [EMAIL]).out
    assert told(out)[0]["choices"][0]["delta"] == {"reasoning": HELD, "content": "hi "}


@pytest.mark.parametrize("dialect", [OllamaChat(), OllamaGenerate()])
@pytest.mark.parametrize("call", [True, False])
def test_r02_ollama(dialect: Dialect, call: bool) -> None:
    """Ollama: the same, in front of a tool call too."""
    chat = isinstance(dialect, OllamaChat)

    def line(done: bool = False, **said: Any) -> bytes:
        message = {"message": {"role": "assistant", "content": "", **said}} if chat else {"response": "", **said}
        return (
            json.dumps({"model": "m", "created_at": "2026-01-01T00:00:00Z", **message, "done": done}).encode() + b"\n"
        )

    tool: dict[str, Any] = {"tool_calls": [{"function": {"name": "look", "arguments": {}}}]}
    answer = line(**(tool if call else {"content" if chat else "response": "look "}))
    request = {**CHAT, "stream": True} if chat else {"model": "m", "prompt": "hi", "stream": True}
    out = carried(dialect, request, [line(thinking="I ask "), line(thinking="bob@"), answer, line(True)], [EMAIL]).out
    assert [json.loads(got) for got in out.splitlines()] == [
        json.loads(sent) for sent in (line(thinking="I ask "), line(thinking="bob@"), answer, line(True))
    ]


def test_r02_messages_without_an_end() -> None:
    """Anthropic: a thinking block that has not ended when the text begins."""
    thinking = {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}
    text = {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}
    deltas = [{"type": "thinking_delta", "thinking": HELD}, {"type": "text_delta", "text": "hi "}]
    inside = [{"type": "content_block_delta", "index": i, "delta": delta} for i, delta in enumerate(deltas)]
    ends = [{"type": "content_block_stop", "index": i} for i in (0, 1)]
    sent = _message_events([thinking, inside[0], text, inside[1], *ends])
    out = carried(AnthropicMessages(), {**MESSAGES, "stream": True}, sent, [EMAIL]).out
    _texts_in_order(out, "bob@", '"hi "')


@pytest.mark.parametrize("numbered", [True, False])
def test_r02_responses_without_an_end(numbered: bool) -> None:
    """Responses: llama.cpp ends the reasoning item after the message; numbers have no gaps all the same."""
    reasoning = {"id": "rs", "type": "reasoning", "summary": [], "content": []}
    message = {"id": "m", "type": "message", "role": "assistant", "content": []}
    thought = {**reasoning, "content": [{"type": "reasoning_text", "text": HELD}]}
    said = {**message, "content": [{"type": "output_text", "text": "hi you "}]}
    inner: list[dict[str, Any]] = [
        {"type": "response.output_item.added", "item": reasoning},
        {"type": "response.reasoning_text.delta", "item_id": "rs", "delta": HELD},
        {"type": "response.output_item.added", "item": message},
        {"type": "response.output_text.delta", "item_id": "m", "delta": "hi "},
        {"type": "response.output_text.delta", "item_id": "m", "delta": "you "},
        {"type": "response.output_item.done", "item": thought},
        {"type": "response.output_item.done", "item": said},
    ]
    head = {"id": "r", "object": "response", "created_at": 1, "model": "m"}
    end = {"type": "response.completed", "response": {**head, "status": "completed", "output": [thought, said]}}
    begun = {"type": "response.created", "response": {**head, "status": "in_progress", "output": []}}
    everything = [begun, *inner, end]
    if numbered:
        everything = [{**event, "sequence_number": n} for n, event in enumerate(everything)]
    out = carried(OpenAIResponses(), {**RESPONSES, "stream": True}, events(*everything, named=True), [EMAIL]).out
    deltas = [event["delta"] for event in told(out) if event["type"].endswith(".delta")]
    assert deltas == ["I ask ", "bob@", "hi ", "you "]
    assert told(out)[-1]["response"]["output"] == [thought, said]
    numbers = [event["sequence_number"] for event in told(out) if "sequence_number" in event]
    assert numbers == (list(range(len(told(out)))) if numbered else [])


# -- f05, f06, f19: numbers stay on their chunk, and the reason for the end is the server's own

TIMINGS = {"prompt_n": 3, "predicted_n": 2, "predicted_ms": 1.5}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def test_f05_timings_stay_on_the_finish_chunk() -> None:
    """Held text comes in a chunk of its own, as it would have; there is no chunk without choices."""
    end = {**chunk({}, "stop"), "timings": TIMINGS, "usage": USAGE}
    sent = events(chunk({"content": "mail bob@"}), chunk({"content": "example.com"}), end, "[DONE]")
    out = told(carried(OpenAIChat(), {**CHAT, "stream": True}, sent, [EMAIL]).out)
    assert [event["choices"][0]["delta"] for event in out] == [{"content": "mail "}, {"content": "[email]"}, {}]
    assert [(event.get("timings"), event.get("usage")) for event in out] == [(None, None)] * 2 + [(TIMINGS, USAGE)]
    assert out[-1]["choices"][0]["finish_reason"] == "stop"


def test_f05_usage_is_not_told_twice() -> None:
    """Usage on the finish chunk is the usage: a stream that ends there gets no second one."""
    end = {**chunk({}, "stop"), "usage": USAGE}
    request = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    out = told(carried(OpenAIChat(), request, events(chunk({"content": "hi "}), end)).out)
    assert [event.get("usage") for event in out] == [None, USAGE]


def test_f05_a_chunk_that_ends_and_says_something() -> None:
    """Text, a call and the end in one chunk leave in one chunk when a rule changes them."""
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    end = {**chunk({"content": "mail bob@example.com", "tool_calls": [call]}, "tool_calls"), "timings": TIMINGS}
    (got,) = told(carried(OpenAIChat(), {**CHAT, "stream": True}, events(end, "[DONE]"), [EMAIL]).out)
    assert got == {**end, **chunk({"content": "mail [email]", "tool_calls": [call]}, "tool_calls")}


def test_f05_completions() -> None:
    """The older completions: the same."""
    head = {"id": "c", "object": "text_completion", "created": 1, "model": "m"}
    texts = [("mail bob@", None), ("example.com", None), ("", "stop")]
    chunks: list[dict[str, Any]] = [
        {**head, "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": reason}]}
        for text, reason in texts
    ]
    chunks[-1] |= {"usage": USAGE, "timings": TIMINGS}
    sent = events(*chunks, "[DONE]")
    out = told(carried(OpenAICompletions(), {"model": "m", "prompt": "hi", "stream": True}, sent, [EMAIL]).out)
    assert [event["choices"][0]["text"] for event in out] == ["mail ", "[email]", ""]
    assert out[-1] == chunks[-1]


def test_f05_ollama() -> None:
    """Ollama: a last line that says something stays one line."""
    end = {"done": True, "done_reason": "stop", "eval_count": 3, "total_duration": 9}
    line = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant"}, **end}
    line["message"] = {"role": "assistant", "content": "mail bob@example.com"}
    out = carried(OllamaChat(), {**CHAT, "stream": True}, [json.dumps(line).encode() + b"\n"], [EMAIL]).out
    assert told(out) == [{**line, "message": {"role": "assistant", "content": "mail [email]"}}]


def test_f05_numbers_of_text_that_waits() -> None:
    """With timings_per_token each chunk has its numbers: they come when they came, though its text waits."""
    chunks = [{**chunk({"content": text}), "timings": {"predicted_n": n}} for n, text in enumerate(("bob@", "x"))]
    out = told(carried(OpenAIChat(), {**CHAT, "stream": True}, events(*chunks, chunk({}, "stop")), [EMAIL]).out)
    assert [event.get("timings") for event in out] == [{"predicted_n": 0}, {"predicted_n": 1}, None, None]
    assert [event["choices"][0]["delta"].get("content") for event in out] == ["", "", "bob@x", None]


def _ends() -> Iterator[tuple[Dialect, dict[str, Any], Callable[[str], list[bytes]], str]]:
    """For each dialect how an answer ends for some reason, and the reason that stands for one that is not shown."""
    done = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": "x"}}
    begun = {"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "content": []}}
    head = {"id": "r", "object": "response", "created_at": 1, "model": "m", "status": "incomplete", "output": []}
    yield OpenAIChat(), CHAT, lambda why: events(chunk({"content": "x"}), chunk({}, why), "[DONE]"), "stop"
    yield (
        OpenAICompletions(),
        {"model": "m", "prompt": "hi"},
        lambda why: events({"choices": [{"index": 0, "text": "x", "finish_reason": why}]}, "[DONE]"),
        "stop",
    )
    yield (
        OllamaChat(),
        CHAT,
        lambda why: [json.dumps({**done, "done": True, "done_reason": why}).encode() + b"\n"],
        "stop",
    )
    yield (
        AnthropicMessages(),
        MESSAGES,
        lambda why: events(
            begun, {"type": "message_delta", "delta": {"stop_reason": why}}, {"type": "message_stop"}, named=True
        ),
        "end_turn",
    )
    yield (
        OpenAIResponses(),
        RESPONSES,
        lambda why: events(
            {"type": "response.incomplete", "response": {**head, "incomplete_details": {"reason": why}}}, named=True
        ),
        "null",
    )


ENDS = pytest.mark.parametrize(("dialect", "request_", "ending", "usual"), list(_ends()), ids=lambda value: "")


@both
@ENDS
def test_f06_an_error_is_an_error(
    dialect: Dialect, request_: dict[str, Any], ending: Callable[[str], list[bytes]], usual: str, stream: bool
) -> None:
    """A server that says `error` where the reason for the end stands has failed."""
    got = carried(dialect, {**request_, "stream": stream}, ending("error"))
    assert got.answer.failed is not None
    assert got.answer.failed.reason == "error_event"
    assert (b"error" in got.out) == stream


@both
@ENDS
def test_f06_other_reasons(
    dialect: Dialect, request_: dict[str, Any], ending: Callable[[str], list[bytes]], usual: str, stream: bool
) -> None:
    """A plain word passes unless a rule minds it; anything else is the usual reason."""
    for why, shown in (("engine_overheated", True), ("forbidden", False), ("Not a word!", False), ("x" * 33, False)):
        got = carried(dialect, {**request_, "stream": stream}, ending(why), [STOP])
        assert got.answer.failed is None
        assert (why.encode() in got.out) == shown
        assert (usual.encode() in got.out) != shown or usual == "null"


def test_f19_progress_and_timings() -> None:
    """llama.cpp: return_progress and timings_per_token bring numbers; they pass, and no text beside them."""
    progress = {"total": 10, "cache": 2, "processed": 5, "time_ms": 3}
    told_progress = {**chunk({"role": "assistant", "content": None}), "prompt_progress": progress}
    text = {**chunk({"content": "hi "}), "timings": TIMINGS}
    sent = events(told_progress, text, chunk({}, "stop"), "[DONE]")
    assert carried(OpenAIChat(), {**CHAT, "stream": True}, sent).out == b"".join(sent)
    odd = {**told_progress, "prompt_progress": {**progress, "note": "forbidden", "total": "forbidden"}}
    out = carried(OpenAIChat(), {**CHAT, "stream": True}, events(odd, chunk({}, "stop"))).out
    assert told(out)[0]["prompt_progress"] == {"cache": 2, "processed": 5, "time_ms": 3}


@both
def test_f19_statistics_of_lm_studio(stream: bool) -> None:
    """LM Studio's older path: the numbers of its statistics, and its word for the end."""
    stats = {"tokens_per_second": 50.5, "time_to_first_token": 0.1, "generation_time": 1.5, "stop_reason": "eosFound"}
    end = {**chunk({}, "stop"), "stats": {**stats, "note": "forbidden"}}
    out = carried(LMStudioV0Chat(), {**CHAT, "stream": stream}, events(chunk({"content": "hi "}), end, "[DONE]")).out
    assert (told(out)[-1] if stream else json.loads(out))["stats"] == stats


# -- n07: line breaks before a notice; n10: the end of LM Studio's own stream


@both
@pytest.mark.parametrize("start", ["", " ", "\n\n"])
@pytest.mark.parametrize("size", [1, 100])
def test_n07_a_notice_at_the_very_beginning(start: str, size: int, stream: bool) -> None:
    """A block at the first word of an answer: nothing but blanks stands before the notice, so it has no line breaks."""
    text = f"{start}forbidden fruit"
    pieces = [chunk({"content": text[at : at + size]}) for at in range(0, len(text), size)]
    got = carried(OpenAIChat(), {**CHAT, "stream": stream}, events(*pieces, chunk({}, "stop"), "[DONE]"), [STOP])
    said = deltas(got.out) if stream else json.loads(got.out)["choices"][0]["message"]["content"]
    assert said == start + NOTICE


def test_n07_a_notice_after_text() -> None:
    """After text it stands in a paragraph of its own; a label counts as text."""
    for text, rules in (("Eat forbidden", [STOP]), ("bob@example.com forbidden", [EMAIL, STOP])):
        body = events(chunk({"content": text}), chunk({}, "stop"), "[DONE]")
        said = deltas(carried(OpenAIChat(), {**CHAT, "stream": True}, body, rules).out)
        assert said.endswith(f" \n\n{NOTICE}")


@pytest.mark.parametrize("told_by_server", [True, False])
def test_n10_the_last_event_follows_an_error(told_by_server: bool) -> None:
    """LM Studio: an error does not end the stream; the last event has what was shown, and says that it failed."""
    start = {"type": "chat.start", "model_instance_id": "m"}
    saying = [{"type": "message.start"}, {"type": "message.delta", "content": "Well, "}]
    failed = [{"type": "error", "error": {"type": "internal_error", "message": "out of memory"}}]
    sent = events(start, *saying, *(failed if told_by_server else []), named=True)
    *before, error, end = told(carried(LMStudioChat(), {**RESPONSES, "stream": True}, sent).out)
    assert before == [start, *saying, {"type": "message.end"}]
    assert error["type"] == "error"
    assert (error["error"]["message"] == "out of memory") == told_by_server
    assert (end["type"], end["result"]["output"]) == ("chat.end", [{"type": "message", "content": "Well, "}])
    assert end["result"]["stats"]["stop_reason"] == "failed"


# -- d04, c09: a rewrite or a block leaves JSON

JSON_CHAT = {**CHAT, "response_format": {"type": "json_object"}}
LETTERS = st.text('ab@.c \\"\n\u00e9{}:,', max_size=5) | st.sampled_from(["bob@example.com", "forbidden", "a bob@b.co"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | LETTERS | st.just(4111111111111111),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LETTERS, inner, max_size=3),
    max_leaves=6,
)
RULESETS = st.sampled_from(
    [
        [EMAIL],
        [CARD, "{id: word, words: [forbidden], action: rewrite, replacement: 'a \"b\"'}"],
        ["{id: cross, pattern: '[a-c]\", ?\"[a-c]', action: rewrite}", EMAIL],
        ["{id: first, pattern: '^[a-c]', action: rewrite, replacement: '#'}"],
        [
            "{id: folded, words: [forbidden, abc], fold: true, action: rewrite}",
            "{id: tag, detector: email, action: rewrite}",
        ],
    ]
)


def _pieces(text: str, places: int) -> list[str]:
    return [piece for piece in cut(text, places) if piece]


@both
def test_d04_an_escape_before_an_address(stream: bool) -> None:
    """The line break before a hidden address stays, as it was written."""
    text = '{"note":"Hi\\nbob@example.com"}'
    for places in (0, -1):
        body = events(*(chunk({"content": piece}) for piece in _pieces(text, places)), chunk({}, "stop"), "[DONE]")
        got = carried(OpenAIChat(), {**JSON_CHAT, "stream": stream}, body, [EMAIL])
        said = deltas(got.out) if stream else json.loads(got.out)["choices"][0]["message"]["content"]
        assert said == '{"note":"Hi\\n[email]"}'


@settings(deadline=None)
@given(VALUES, st.booleans(), RULESETS, st.integers(0, 2**60), st.booleans())
def test_d04_any_json_any_rules_any_chunks(
    value: Any, ascii_only: bool, rules: list[str], places: int, stream: bool
) -> None:
    """A JSON answer, and a call's arguments, can be read after every rewrite, and do not depend on the chunks."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    said = []
    for cuts in (places, -1):
        body = events(*(chunk({"content": piece}) for piece in _pieces(text, cuts)), chunk({}, "stop"), "[DONE]")
        got = carried(OpenAIChat(), {**JSON_CHAT, "stream": stream}, body, rules)
        said.append(deltas(got.out) if stream else json.loads(got.out)["choices"][0]["message"]["content"])
    body = events(chunk({"tool_calls": [_entry(("1", "f", text))]}), chunk({}, "tool_calls"), "[DONE]")
    ((_, _, arguments),) = _chat_calls(carried(OpenAIChat(), {**CHAT, "stream": stream}, body, rules).out, stream)
    assert arguments == said[0]
    assert said[0] == said[1]
    json.loads(said[0])
    assert "bob@example.com" not in said[0] or EMAIL not in rules


@settings(deadline=None)
@given(VALUES, st.booleans(), RULESETS)
def test_d04_the_other_direction(value: Any, ascii_only: bool, rules: list[str]) -> None:
    """In the history a call's arguments are judged and written like those of an answer."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    body = events(chunk({"tool_calls": [_entry(("1", "f", text))]}), chunk({}, "tool_calls"), "[DONE]")
    ((_, _, answered),) = _chat_calls(carried(OpenAIChat(), {**CHAT, "stream": False}, body, rules).out, False)
    said = {"role": "assistant", "content": None, "tool_calls": [_entry(("1", "f", text))]}
    messages = [*CHAT["messages"], said, {"role": "tool", "tool_call_id": "1", "content": "ok"}]
    sent = asyncio.run(asked(OpenAIChat(), {**CHAT, "messages": messages}, *rules))
    (call,) = next(message["tool_calls"] for message in json.loads(sent)["messages"] if "tool_calls" in message)
    assert call["function"]["arguments"] == answered


def test_d04_a_value_alone_in_the_history() -> None:
    """A rule that looks for the beginning of a text finds that of a value, in an answer and in the history."""
    first = "{id: first, pattern: '^secret', action: rewrite, replacement: '#'}"
    said = {"role": "assistant", "content": None, "tool_calls": [_entry(("1", "f", '{"a": "secret"}'))]}
    messages = [*CHAT["messages"], said, {"role": "tool", "tool_call_id": "1", "content": "ok"}]
    sent = asyncio.run(asked(OpenAIChat(), {**CHAT, "messages": messages}, first))
    assert json.loads(sent)["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"a": "#"}'


def _json_answers() -> Iterator[tuple[Dialect, dict[str, Any], Callable[[str], list[bytes]], Callable[[Any], str]]]:
    """For each dialect with a JSON mode: how a text is answered, and where it stands in a whole answer."""
    line = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": False}
    yield (
        OpenAIChat(),
        JSON_CHAT,
        lambda text: events(*(chunk({"content": letter}) for letter in text), chunk({}, "stop"), "[DONE]"),
        lambda whole: str(whole["choices"][0]["message"]["content"] or ""),
    )
    yield (
        OllamaChat(),
        {**CHAT, "format": "json"},
        lambda text: [
            json.dumps({**line, "message": {"role": "assistant", "content": letter}}).encode() + b"\n"
            for letter in text
        ],
        lambda whole: str(whole["message"]["content"]),
    )
    yield (
        AnthropicMessages(),
        {**MESSAGES, "output_config": {"format": {"type": "json_schema", "schema": {}}}},
        lambda text: _message_events(
            [
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                *(
                    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": letter}}
                    for letter in text
                ),
                {"type": "content_block_stop", "index": 0},
            ]
        ),
        lambda whole: "".join(block["text"] for block in whole["content"]),
    )
    item = {"id": "m", "type": "message", "role": "assistant", "content": []}
    yield (
        OpenAIResponses(),
        {**RESPONSES, "text": {"format": {"type": "json_object"}}},
        lambda text: _response_events(
            [
                {"type": "response.output_item.added", "item": item},
                *({"type": "response.output_text.delta", "item_id": "m", "delta": letter} for letter in text),
            ],
            output=[{**item, "content": [{"type": "output_text", "text": text}]}],
        ),
        lambda whole: "".join(part["text"] for item in whole["output"] for part in item["content"]),
    )


@pytest.mark.parametrize(("dialect", "request_", "answer", "read"), list(_json_answers()), ids=lambda value: "")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"title": "All about forbidden fruit"}', '{"title": "All about "}'),
        ('{"tags": ["a", "forbidden"], "n": 1}', '{"tags": ["a", ""]}'),
        ('{"n": 12, "forbidden": [1]}', '{"n": 12, "":null}'),
        ("forbidden", ""),
    ],
)
@both
def test_c09_a_block_leaves_json(
    dialect: Dialect,
    request_: dict[str, Any],
    answer: Callable[[str], list[bytes]],
    read: Callable[[Any], str],
    text: str,
    shown: str,
    stream: bool,
) -> None:
    """Open WebUI's tasks ask for JSON: after a block it is closed, or empty, and there is no notice in it."""
    got = carried(dialect, {**request_, "stream": stream}, answer(text), [STOP])
    assert got.answer.failed is None
    assert got.answer.guard.blocked_choices
    whole = got.out if not stream else carried(dialect, {**request_, "stream": False}, [got.out]).out
    assert read(json.loads(whole)) == shown
    assert not shown or json.loads(shown)


MARKED = (
    *('{"title": "one"}<|im_end|>', '{"title": "one <|im_end|>', '{"a": ["x", {"b": "<|im_start|>user'),
    *('{"n": 12<|im_end|>', '{"<|im_end|>": 1}'),
)


@pytest.mark.parametrize(("dialect", "request_", "answer", "read"), list(_json_answers()), ids=lambda value: "")
@pytest.mark.parametrize("text", MARKED)
@pytest.mark.parametrize("limit", ["stop_at_markers: always", "max_output_characters: 7"])
@both
def test_c09_a_limit_leaves_json(
    dialect: Dialect,
    request_: dict[str, Any],
    answer: Callable[[str], list[bytes]],
    read: Callable[[Any], str],
    text: str,
    limit: str,
    stream: bool,
) -> None:
    """A turn marker inside a value, or too long an answer, ends it like an ordinary end; what has come is closed."""
    got = carried(dialect, {**request_, "stream": stream}, answer(text), [QUIET], limits=limit)
    assert got.answer.failed is None
    whole = got.out if not stream else carried(dialect, {**request_, "stream": False}, [got.out]).out
    shown = read(json.loads(whole))
    json.loads(shown)
    assert "im_" not in shown or "markers" not in limit
    assert NOTICE not in whole.decode()


NUMBERS = ['{"a": 12, "b": 3}', "[1, -2.5e3]", '{"a": [1, {"b": 77}], "c": 4}']


@pytest.mark.parametrize("text", NUMBERS)
@pytest.mark.parametrize("rules", [[QUIET], [CARD]])
def test_d04_a_number_waits_for_its_end_and_no_longer(text: str, rules: list[str]) -> None:
    """With the comma, bracket or blank that ends it, all of it is out."""
    asked = OpenAIChat().parse(json.dumps({**JSON_CHAT, "stream": True}).encode(), Options())
    answer = answering(asked, rules)
    out = ""
    for place, character in enumerate(text, start=1):
        out += deltas(answer.feed(events(chunk({"content": character}))[0]))
        waiting = text[len(out) : place]
        assert character not in ",}] " or not waiting
        assert not waiting or rules == [CARD] or all(c in "0123456789.-e" for c in waiting)


# -- l02: after every choice has finished, nothing but a count is waited for


@both
def test_l02_a_stream_without_its_end(stream: bool) -> None:
    """OpenAI: the finish, then comments and no [DONE]: the answer says that it has finished, and can be ended."""
    asked = OpenAIChat().parse(json.dumps({**CHAT, "stream": stream}).encode(), Options())
    answer = OpenAIChat().answer(asked, Guard(PhrasePlan()), lambda finding: NOTICE)
    out = b""
    for sent, finished in ((chunk({"content": "hi "}), False), (chunk({}, "stop"), True)):
        out += answer.feed(events(sent)[0])
        assert (answer.finished, answer.done) == (finished, False)
    out += answer.feed(b": hb\n\n") + answer.finish()
    assert answer.failed is None
    assert answer.done
    assert not answer.finished
    if stream:
        assert out.endswith(b"data: [DONE]\n\n")
    else:
        assert json.loads(answer.result())["choices"][0]["finish_reason"] == "stop"


def test_l02_usage_may_still_come() -> None:
    """A count that comes after the finish is the client's."""
    asked = OpenAIChat().parse(json.dumps({**CHAT, "stream": False}).encode(), Options())
    answer = OpenAIChat().answer(asked, Guard(PhrasePlan()), lambda finding: NOTICE)
    usage = {**chunk({}), "choices": [], "usage": USAGE}
    for event in events(chunk({"content": "hi "}), chunk({}, "stop"), usage):
        answer.feed(event)
    assert answer.finished
    answer.finish()
    assert json.loads(answer.result())["usage"] == USAGE


def test_l02_every_choice_has_to_finish() -> None:
    """With two choices one finish is not enough, though the other has not begun."""
    asked = OpenAIChat().parse(json.dumps({**CHAT, "n": 2, "stream": True}).encode(), Options())
    answer = OpenAIChat().answer(asked, Guard(PhrasePlan()), lambda finding: NOTICE)
    states = []
    for index in (0, 1):
        for event in events(chunk({"content": "hi "}, index=index), chunk({}, "stop", index=index)):
            answer.feed(event)
        states.append(answer.finished)
    assert states == [False, True]


@both
def test_l02_an_end_with_every_chunk_is_not_waited_behind(stream: bool) -> None:
    """A server that says `stop` beside every text may say more after any pause, so its answer has not finished before
    [DONE]; and once an end was none, no later one is believed without [DONE]."""
    asked = OpenAIChat().parse(json.dumps({**CHAT, "stream": stream}).encode(), Options())
    answer, out = OpenAIChat().answer(asked, Guard(PhrasePlan()), lambda finding: NOTICE), b""
    for said in ({"content": "hi "}, {"content": "you "}, {}, {"content": "there"}, {}):
        out += answer.feed(events(chunk(said, "stop"))[0])
        assert not answer.finished
    out += answer.feed(b"data: [DONE]\n\n")
    assert answer.done
    assert answer.failed is None
    if stream:
        assert deltas(out) == "hi you there"
        assert [c["finish_reason"] for event in told(out) for c in event["choices"]].count("stop") == 1
    else:
        assert json.loads(answer.result())["choices"][0]["message"]["content"] == "hi you there"


@both
def test_l02_an_end_beside_the_last_text(stream: bool) -> None:
    """A server that says `stop` beside its last text alone has ended its answer, and the wait for [DONE] is short."""
    asked = OpenAIChat().parse(json.dumps({**CHAT, "stream": stream}).encode(), Options())
    answer = OpenAIChat().answer(asked, Guard(PhrasePlan()), lambda finding: NOTICE)
    states = []
    for event in events(chunk({"content": "hi "}), chunk({"content": "you"}, "stop")):
        answer.feed(event)
        states.append(answer.finished)
    assert states == [False, True]


@both
def test_l02_an_answer_of_one_chunk_that_nothing_follows(stream: bool) -> None:
    """Whether an end beside the first text is one cannot be known. When nothing comes until the model server's time is
    over, it was one: the answer is complete."""
    asked = OpenAIChat().parse(json.dumps({**CHAT, "stream": stream}).encode(), Options())
    answer = OpenAIChat().answer(asked, Guard(PhrasePlan()), lambda finding: NOTICE)
    out = answer.feed(events(chunk({"content": "hi you"}, "stop"))[0])
    assert not answer.finished
    out += answer.finish(UpstreamTimeout("The model server said nothing for 300 s", "timeout"))
    assert answer.failed is None
    assert deltas(out) == "hi you" if stream else json.loads(answer.result())["choices"]


PAIRED = [
    chunk({"content": text}, "stop", index=index) for text, index in (("a for", 0), ("b", 1), ("bidden c", 0), ("d", 1))
]


@both
def test_an_end_with_every_chunk_of_two_choices(stream: bool) -> None:
    """Two choices that speak in turn, each chunk with an end: all text arrives, what a rule hides is hidden across the
    chunks, and each choice ends once, at the end."""
    got = carried(OpenAIChat(), {**CHAT, "n": 2, "stream": stream}, events(*PAIRED, "[DONE]"), [HIDE])
    if stream:
        ends = [c["finish_reason"] for event in told(got.out) for c in event["choices"]]
        assert [deltas(got.out, index=index) for index in (0, 1)] == ["a # c", "bd"]
        assert ends == [*([None] * (len(ends) - 2)), "stop", "stop"]
    else:
        choices = json.loads(got.out)["choices"]
        assert [c["message"]["content"] for c in choices] == ["a # c", "bd"]
        assert [c["finish_reason"] for c in choices] == ["stop", "stop"]


def test_a_rule_ends_an_answer_that_has_an_end_with_every_chunk() -> None:
    """The model is stopped at once, though the server has said `stop` before."""
    asked = OpenAIChat().parse(json.dumps({**CHAT, "stream": True}).encode(), Options())
    answer = answering(asked, [STOP_HERE])
    chunks = [chunk({"content": text}, "stop") for text in ("a ", "forbidden ", "b ", "c ")]
    states = [(answer.feed(event), answer.done)[1] for event in events(*chunks)]
    assert states == [False, False, True, True]


@both
def test_l02_messages(stream: bool) -> None:
    """Anthropic: the same after the event that tells the reason."""
    asked = AnthropicMessages().parse(json.dumps({**MESSAGES, "stream": stream}).encode(), Options())
    answer = AnthropicMessages().answer(asked, Guard(PhrasePlan()), lambda finding: NOTICE)
    *begun, end, _ = _message_events()
    out, states = b"", []
    for event in (*begun, end):
        out += answer.feed(event)
        states.append(answer.finished)
    assert states == [False, True]
    out += answer.finish()
    assert answer.failed is None
    if stream:
        assert [event["type"] for event in told(out)] == ["message_start", "message_delta", "message_stop"]


@both
def test_l02_done_without_a_finish_is_an_error(stream: bool) -> None:
    """A [DONE] that no finish came before is an answer cut short."""
    got = carried(OpenAIChat(), {**CHAT, "stream": stream}, events(chunk({"content": "hi "}), "[DONE]"))
    assert got.answer.failed is not None
    assert got.answer.failed.reason == "truncated"


# -- texts that come in another shape, or alone


@both
def test_responses_text_that_no_item_came_before(stream: bool) -> None:
    """Some servers send the deltas of a text and no item: they reach the client, judged, and the whole has the text."""
    pieces = ["mail bob@", "example.com", " or so"]
    at = {"item_id": "m1", "output_index": 0, "content_index": 0}
    deltas = [{"type": "response.output_text.delta", **at, "delta": piece} for piece in pieces]
    for rules, shown in (([QUIET], "mail bob@example.com or so"), ([EMAIL], "mail [email] or so")):
        sent = _response_events(deltas, output=[])
        got = carried(OpenAIResponses(), {**RESPONSES, "stream": stream}, sent, rules)
        assert got.answer.failed is None
        if stream:
            assert "".join(event.get("delta", "") for event in told(got.out)) == shown
        else:
            (item,) = json.loads(got.out)["output"]
            assert item["content"][0]["text"] == shown


@both
def test_a_part_that_stands_alone(stream: bool) -> None:
    """An object in the place of a text is a part; one without text says nothing, and the answer goes on."""
    deltas: list[dict[str, Any]] = [
        {"reasoning": {"text": "well "}},
        {"reasoning": {"effort": 1}},
        {"content": {"type": "text", "text": "hi"}},
    ]
    body = events(*(chunk(delta) for delta in deltas), chunk({}, "stop"), "[DONE]")
    got = carried(OpenAIChat(), {**CHAT, "stream": stream}, body)
    assert got.answer.failed is None
    said = [c.get("delta") or c.get("message") or {} for value in told(got.out) for c in value["choices"]]
    assert "".join(part.get("reasoning") or "" for part in said) == "well "
    assert "".join(part.get("content") or "" for part in said) == "hi"


# -- n08: blobs that nobody here can read, and plain text in their place

BLOB = "EqoBCkgIARABGAIiQL4Zx9vT3mJr8wPq" * 4
SPELLED = base64.b64encode(b"this is a forbidden fruit, spelled").decode()
PLAIN_TEXT = "I was told a forbidden thing"


def _thinking(signature: str, redacted: str) -> list[bytes]:
    begin = {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}
    deltas = [{"type": "thinking_delta", "thinking": "Well. "}, {"type": "signature_delta", "signature": signature}]
    inside = [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas]
    hidden = {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "redacted_thinking", "data": redacted},
    }
    ends = [{"type": "content_block_stop", "index": i} for i in (0, 1)]
    return _message_events([begin, *inside, ends[0], hidden, ends[1]])


@both
@pytest.mark.parametrize("value", [BLOB, "Plain thinking."])
def test_n08_blobs_of_messages(value: str, stream: bool) -> None:
    """Anthropic: a blob passes as it came, and plain text that no rule minds, in both fields."""
    sent = _thinking(value, value)
    got = carried(AnthropicMessages(), {**MESSAGES, "stream": stream}, sent, [STOP])
    if stream:
        assert told(got.out) == told(b"".join(sent))
    else:
        first, second = json.loads(got.out)["content"]
        assert (first["signature"], second) == (value, {"type": "redacted_thinking", "data": value})


@both
@pytest.mark.parametrize("value", [PLAIN_TEXT, SPELLED, "FORBIDDENFRUITFORBIDDENFRUITFORBIDDENFRUIT", "FORBIDDEN"])
def test_n08_other_text_in_their_place(value: str, stream: bool) -> None:
    """A plain sentence, words in capitals, and a blob that spells a sentence are judged: here nothing passes."""
    rules = ["{id: stop, pattern: '(?i)forbidden', action: block}"]
    got = carried(AnthropicMessages(), {**MESSAGES, "stream": stream}, _thinking(value, value), rules)
    assert got.answer.failed is None
    assert value.encode() not in got.out
    assert b"Well. " in got.out
    reasoning = {"id": "rs", "type": "reasoning", "summary": [], "encrypted_content": value}
    sent = _response_events([{"type": "response.output_item.done", "item": reasoning}], output=[reasoning])
    got = carried(OpenAIResponses(), {**RESPONSES, "stream": stream}, sent, rules)
    assert got.answer.failed is None
    assert value.encode() not in got.out


@both
@pytest.mark.parametrize("value", [BLOB, "Plain thinking."])
def test_n08_encrypted_content(value: str, stream: bool) -> None:
    """Responses: a blob passes as it came, and so does plain text that no rule minds: a real Ollama puts it there."""
    reasoning = {"id": "rs", "type": "reasoning", "summary": [], "encrypted_content": value}
    sent = _response_events([{"type": "response.output_item.done", "item": reasoning}], output=[reasoning])
    out = carried(OpenAIResponses(), {**RESPONSES, "stream": stream}, sent, [STOP]).out
    (item,) = (told(out)[-1]["response"] if stream else json.loads(out))["output"]
    assert item["encrypted_content"] == value


@both
@pytest.mark.parametrize(("value", "expected"), [("mail bob@example.com", "mail [email]"), (BLOB, "")])
def test_n08_with_thinking_that_was_changed(value: str, expected: str, stream: bool) -> None:
    """The thinking itself stands there as the client was shown it; a blob for other thinking does not pass."""
    summary = [{"type": "summary_text", "text": "mail bob@example.com"}]
    reasoning = {"id": "rs", "type": "reasoning", "summary": summary, "encrypted_content": value}
    sent = _response_events([{"type": "response.output_item.done", "item": reasoning}], output=[reasoning])
    out = carried(OpenAIResponses(), {**RESPONSES, "stream": stream}, sent, [EMAIL]).out
    (item,) = (told(out)[-1]["response"] if stream else json.loads(out))["output"]
    assert item["summary"][0]["text"] == "mail [email]"
    assert item["encrypted_content"] == expected

"""What servers have added since: numbers under new keys reach the client, in each dialect, and carry no text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.base import Dialect
from proxy.dialects.common.unknown_numbers import MOST_A_KEY
from proxy.dialects.lmstudio.chat import LMStudioChat, LMStudioV0Chat, LMStudioV0Completions
from proxy.dialects.ollama.chat import OllamaChat, OllamaGenerate
from proxy.dialects.openai.chat import OpenAIChat
from proxy.dialects.openai.completions import OpenAICompletions
from proxy.dialects.openai.responses.dialect import OpenAIResponses
from tests.field.answering import STOP, carried, told

JSON = dict[str, Any]
NEW: JSON = {"queue_ms": 12.5, "is_cached": True, "hits": None, "perf": {"ttft": 0.25, "warm": False}}
MINDED = "{id: minded, pattern: 'queue_ms|4111111111111111', action: block}"


class Way(NamedTuple):
    """How a server of a dialect answers. Events and the body have `@new@` as a key where new numbers stand."""

    dialect: Dialect
    request: JSON
    stream: tuple[JSON, ...]
    body: JSON
    named: bool = False
    lines: bool = False
    done: bool = False


AT: JSON = {"@new@": 0}
CHOICE: JSON = {"index": 0, "finish_reason": None, **AT}
ENDED: JSON = {"index": 0, "finish_reason": "stop", **AT}
USAGE: JSON = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, **AT}
CHUNK: JSON = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", **AT}
TEXT: JSON = {"id": "c", "object": "text_completion", "created": 1, "model": "m", **AT}
CHAT_STREAM = (
    {**CHUNK, "choices": [{**CHOICE, "delta": {"content": "Hello", **AT}}]},
    {**CHUNK, "choices": [{**ENDED, "delta": {**AT}}], "timings": {"prompt_n": 1, **AT}},
    {**CHUNK, "choices": [], "usage": USAGE},
)
CHAT_BODY = {
    **CHUNK,
    "object": "chat.completion",
    "choices": [{**ENDED, "message": {"role": "assistant", "content": "Hello", **AT}}],
    "usage": USAGE,
}
STATS = {"stats": {"tokens_per_second": 1.5, **AT}, "model_info": {"context_length": 9, **AT}}
STAMP = "2026-11-30T00:00:00Z"
COUNTED = {"done": True, "done_reason": "stop", "total_duration": 5, **AT}
MESSAGE: JSON = {"id": "m_1", "type": "message", "role": "assistant", "model": "m", **AT}
RESPONSE: JSON = {"id": "r_1", "object": "response", "created_at": 1, "model": "m", "error": None, **AT}
RESPONSE_USAGE = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2, "output_tokens_details": {**AT}, **AT}
RESULT: JSON = {"model_instance_id": "m", "stats": {"input_tokens": 1, **AT}, **AT}
SAID_ITEM = {"id": "i_1", "type": "message", "role": "assistant", "status": "completed"}
PART = {"type": "output_text", "text": "Hello", "annotations": []}
PLACE = {"item_id": "i_1", "output_index": 0, "content_index": 0}

WAYS = (
    Way(OpenAIChat(), {"messages": [{"role": "user", "content": "hi"}]}, CHAT_STREAM, CHAT_BODY, done=True),
    Way(
        LMStudioV0Chat(),
        {"messages": [{"role": "user", "content": "hi"}]},
        (*CHAT_STREAM[:1], {**CHAT_STREAM[1], **STATS}, *CHAT_STREAM[2:]),
        {**CHAT_BODY, **STATS},
        done=True,
    ),
    *(
        Way(
            dialect,
            {"prompt": "hi"},
            ({**TEXT, "choices": [{**CHOICE, "text": "Hello"}]}, {**TEXT, "choices": [{**ENDED, "text": ""}]}),
            {**TEXT, "choices": [{**ENDED, "text": "Hello", "logprobs": None}], "usage": USAGE},
            done=True,
        )
        for dialect in (OpenAICompletions(), LMStudioV0Completions())
    ),
    Way(
        OllamaChat(),
        {"messages": [{"role": "user", "content": "hi"}]},
        (
            {
                "model": "m",
                "created_at": STAMP,
                "message": {"role": "assistant", "content": "Hello", **AT},
                "done": False,
            },
            {"model": "m", "created_at": STAMP, "message": {"role": "assistant", "content": ""}, **COUNTED},
        ),
        {"model": "m", "created_at": STAMP, "message": {"role": "assistant", "content": "Hello", **AT}, **COUNTED},
        lines=True,
    ),
    Way(
        OllamaGenerate(),
        {"prompt": "hi"},
        (
            {"model": "m", "created_at": STAMP, "response": "Hello", "done": False, **AT},
            {"model": "m", "created_at": STAMP, "response": "", **COUNTED},
        ),
        {"model": "m", "created_at": STAMP, "response": "Hello", **COUNTED},
        lines=True,
    ),
    Way(
        AnthropicMessages(),
        {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9},
        (
            {"type": "message_start", "message": {**MESSAGE, "content": [], "usage": {"input_tokens": 1, **AT}}, **AT},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "", **AT}, **AT},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello", **AT}, **AT},
            {"type": "content_block_stop", "index": 0, **AT},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn", **AT}, "usage": {"output_tokens": 1, **AT}},
            {"type": "message_stop", **AT},
        ),
        {
            **MESSAGE,
            "content": [{"type": "text", "text": "Hello"}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 1, "output_tokens": 1, **AT},
        },
        named=True,
    ),
    Way(
        OpenAIResponses(),
        {"input": "hi"},
        (
            {"type": "response.created", "response": {**RESPONSE, "status": "in_progress", "output": []}, **AT},
            {"type": "response.output_item.added", "output_index": 0, "item": {**SAID_ITEM, "content": []}},
            {"type": "response.content_part.added", **PLACE, "part": {**PART, "text": ""}, **AT},
            {"type": "response.output_text.delta", **PLACE, "delta": "Hello", **AT},
            {
                "type": "response.completed",
                "response": {
                    **RESPONSE,
                    "status": "completed",
                    "output": [{**SAID_ITEM, "content": [PART]}],
                    "usage": RESPONSE_USAGE,
                },
                "timings": {"prompt_n": 1, **AT},
            },
        ),
        {**RESPONSE, "status": "completed", "output": [{**SAID_ITEM, "content": [PART]}], "usage": RESPONSE_USAGE},
        named=True,
    ),
    Way(
        LMStudioChat(),
        {"input": "hi"},
        (
            {"type": "chat.start", "model_instance_id": "m", **AT},
            {"type": "prompt_processing.progress", "progress": 0.5, **AT},
            {"type": "message.start", **AT},
            {"type": "message.delta", "content": "Hello", **AT},
            {"type": "message.end", **AT},
            {"type": "chat.end", "result": {**RESULT, "output": [{"type": "message", "content": "Hello"}]}},
        ),
        {**RESULT, "output": [{"type": "message", "content": "Hello"}]},
        named=True,
    ),
)
ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.dialect.name)


def _filled(template: Any, new: Mapping[str, Any]) -> Any:
    """A template with the new keys in their places."""
    if isinstance(template, list):
        return [_filled(part, new) for part in template]
    if not isinstance(template, dict):
        return template
    plain = {key: _filled(part, new) for key, part in template.items() if key != "@new@"}
    return {**plain, **(new if "@new@" in template else {})}


def _sent(way: Way, *events: JSON) -> list[bytes]:
    ends = [b"data: [DONE]\n\n"] if way.done else []
    return [_event(way, event) for event in events] + ends


def _event(way: Way, event: JSON) -> bytes:
    data = json.dumps(event)
    if way.lines:
        return f"{data}\n".encode()
    return (f"event: {event['type']}\n" if way.named else "").encode() + f"data: {data}\n\n".encode()


def _asked(way: Way, stream: bool) -> JSON:
    more = {"stream_options": {"include_usage": True}} if way.done and stream else {}
    return {"model": "m", "stream": stream, **way.request, **more}


@ways
def test_new_numbers_reach_a_streaming_client(way: Way) -> None:
    """What the server sent, byte for byte."""
    sent = _sent(way, *(_filled(event, NEW) for event in way.stream))
    got = carried(way.dialect, _asked(way, stream=True), sent)
    assert got.answer.failed is None
    assert told(got.out) == [_filled(event, NEW) for event in way.stream]
    assert got.out == b"".join(sent)


@ways
def test_new_numbers_reach_a_client_that_waits(way: Way) -> None:
    """From one body of the server."""
    body = _filled(way.body, NEW)
    got = carried(way.dialect, _asked(way, stream=False), json.dumps(body).encode())
    shown = json.loads(got.out)
    assert {key: shown[key] for key in body} == body


@ways
def test_texts_under_new_keys_do_not(way: Way) -> None:
    """Nor lists, nor numbers of characters, nor numbers that a rule minds."""
    hidden = {"note": "said", "codes": [104, 105], "token": 104, "card": 4111111111111111, "perf": {"a": "said"}}
    asked = _asked(way, stream=True)
    for new in (hidden, NEW):
        got = carried(way.dialect, asked, _sent(way, *(_filled(event, new) for event in way.stream)), (MINDED,))
        whole = carried(way.dialect, {**asked, "stream": False}, json.dumps(_filled(way.body, new)).encode(), (MINDED,))
        for out in (got.out, whole.out):
            assert b"Hello" in out
            assert not any(word in out for word in (b"said", b"104", b"4111111111111111", b"queue_ms"))


@ways
def test_a_text_told_by_numbers_does_not_get_through(way: Way) -> None:
    """A character's code in each event, in every place of the dialect: a few come, and the rest is left out."""
    first, *_ = (event for event in way.stream if "Hello" in json.dumps(event))
    at = way.stream.index(first)
    codes = list(b"the forbidden sentence, letter by letter")
    events = [*way.stream[:at], *(_filled(first, {"x": code}) for code in codes), *way.stream[at + 1 :]]
    got = carried(way.dialect, _asked(way, stream=True), _sent(way, *(_filled(event, {}) for event in events)))
    assert got.answer.failed is None
    shown = [code for event in told(got.out) for code in _values_of("x", event)]
    places = len(list(_values_of("@new@", first)))
    assert codes[0] in shown
    assert len(shown) <= places * MOST_A_KEY


def _values_of(key: str, value: Any) -> list[Any]:
    if isinstance(value, list):
        return [found for part in value for found in _values_of(key, part)]
    if not isinstance(value, dict):
        return []
    own = [value[key]] if key in value else []
    return own + [found for part in value.values() for found in _values_of(key, part)]


def test_a_block_ends_numbers_too() -> None:
    """After a rule has ended an answer nothing of the server's follows."""
    (way, *_) = WAYS
    events = [{**CHUNK, "choices": [{**CHOICE, "delta": {"content": "forbidden "}}]}, *way.stream]
    got = carried(
        way.dialect, _asked(way, stream=True), _sent(way, *(_filled(event, NEW) for event in events)), (STOP,)
    )
    assert b"Hello" not in got.out
    assert b"perf" not in got.out.partition(b"<stopped>")[2]


def test_known_numbers_of_responses_come_with_every_event() -> None:
    """llama.cpp tells in each event how long it took (timings_per_token), and how far the prompt is read."""
    (way,) = (way for way in WAYS if way.dialect.name == "openai_responses")
    at = next(i for i, event in enumerate(way.stream) if event.get("delta") == "Hello")
    delta = way.stream[at]
    said = [{**delta, "timings": {"prompt_n": 1, "predicted_ms": n + 0.5}} for n in range(9)]
    read = {**way.stream[0], "type": "response.in_progress", "prompt_progress": {"total": 9, "processed": 3}}
    events = [_filled(event, {}) for event in (way.stream[0], read, *way.stream[1:at], *said)]
    got = carried(way.dialect, _asked(way, stream=True), _sent(way, *events))
    assert told(got.out)[: len(events)] == events

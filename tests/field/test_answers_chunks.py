"""What came on a chunk stays on it: ends, usage, timings. Rows of public reports, each with its right value."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.base import Dialect
from proxy.dialects.lmstudio.chat import LMStudioChat, LMStudioV0Chat
from proxy.dialects.ollama.chat import OllamaChat
from proxy.dialects.openai.chat import OpenAIChat
from proxy.dialects.openai.completions import OpenAICompletions
from proxy.dialects.openai.responses.dialect import OpenAIResponses
from tests.field.answer_cases import (
    CHAT,
    MESSAGES,
    RESPONSES,
    USAGE,
    both,
)
from tests.field.answering import EMAIL, NOTICE, STOP, carried, events, told
from tests.leaks.attack import chunk, deltas

# -- f05, f06, f19: numbers stay on their chunk, and the reason for the end is the server's own

TIMINGS = {"prompt_n": 3, "predicted_n": 2, "predicted_ms": 1.5}


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

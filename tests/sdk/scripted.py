"""What the scripted model server answers: Ollama's API in full, and in every dialect the ways to die."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

from tests.e2e.scripts import FORBIDDEN_ARGUMENT, SCRIPTS
from tests.fakes import Answer, Close, Request, ndjson, reply, reply_json, sse

BEGINNING: Final = "It begins well, "
"""What is said before the server dies."""
SCRIPT: Final = re.compile(r"\[\[([\w-]+)\]\]")
DIES: Final = "dies-midway"
ARGUMENTS: Final[dict[str, Any]] = {
    "tool-clean": {"city": "Oslo", "note": "in Celsius"},
    "tool": {"city": "Oslo", "note": FORBIDDEN_ARGUMENT},
}
Event = dict[str, Any]


def answer(request: Request) -> Answer:
    """The answer to one request, by its path and by the `[[name]]` in it."""
    found = SCRIPT.findall(request.body.decode())
    if request.method != "POST" or not found:
        return reply_json({"error": "not found"}, status=404)
    name = found[-1]
    if name == "dies-first":
        return Answer((Close(),))
    beginning, end = SPEAKERS[request.path](name)
    content_type = "application/x-ndjson" if request.path.startswith("/api/") else "text/event-stream"
    return reply([*beginning, *([Close()] if name == DIES else end)], content_type=content_type)


def _pieces(name: str) -> list[str]:
    """A text in pieces of three characters."""
    text = BEGINNING if name == DIES else SCRIPTS[name].text
    return [text[start : start + 3] for start in range(0, len(text), 3)]


Speaker = Callable[[str], tuple[list[bytes], list[bytes]]]
"""From a script's name to the stream of a healthy server: what it says, and its end."""


# -- Ollama's own API


def _ollama_chat(name: str) -> tuple[list[bytes], list[bytes]]:
    messages: list[Event] = [{"content": piece} for piece in _pieces(name)]
    if name in ARGUMENTS:
        call = {"id": "call_1", "function": {"index": 0, "name": "get_weather", "arguments": ARGUMENTS[name]}}
        messages = [{"content": "", "tool_calls": [call]}]
    return _ollama_lines(
        [{"message": {"role": "assistant", **message}} for message in messages],
        {"message": {"role": "assistant", "content": ""}},
    )


def _ollama_generate(name: str) -> tuple[list[bytes], list[bytes]]:
    return _ollama_lines([{"response": piece} for piece in _pieces(name)], {"response": ""})


def _ollama_lines(said: list[Event], last: Event) -> tuple[list[bytes], list[bytes]]:
    head = {"model": "tiny", "created_at": "2026-01-01T00:00:00.000000Z"}
    counts = {"total_duration": 9, "prompt_eval_count": 5, "prompt_eval_duration": 3, "eval_count": 9}
    return (
        ndjson(*({**head, **one, "done": False} for one in said)),
        ndjson({**head, **last, "done": True, "done_reason": "stop", **counts, "eval_duration": 5}),
    )


# -- OpenAI's responses, as Ollama writes them: with the indexes and numbers that llama.cpp leaves out


def _responses(name: str) -> tuple[list[bytes], list[bytes]]:
    begun = {"id": "resp_1", "object": "response", "created_at": 1, "model": "tiny", "status": "in_progress"}
    spoken, item = _function_call(name) if name in ARGUMENTS else _text_item(name)
    whole = [
        {"type": "response.created", "response": {**begun, "output": []}},
        *spoken,
        {"type": "response.completed", "response": {**begun, "status": "completed", "output": [item]}},
    ]
    events = [{**event, "sequence_number": number} for number, event in enumerate(whole)]
    end = next(n for n, event in enumerate(events) if event["type"].endswith((".done", ".completed")))
    return _named(events[:end]), _named(events[end:])


def _text_item(name: str) -> tuple[list[Event], Event]:
    text = "".join(_pieces(name))
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    head = {"id": "msg_1", "type": "message", "role": "assistant"}
    item = {**head, "status": "completed", "content": [part]}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    begun = {**head, "status": "in_progress", "content": []}
    return [
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
        *({"type": "response.output_text.delta", **place, "delta": p, "logprobs": []} for p in _pieces(name)),
        {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
    ], item


def _function_call(name: str) -> tuple[list[Event], Event]:
    arguments = json.dumps(ARGUMENTS[name])
    head = {"id": "fc_1", "call_id": "call_1", "type": "function_call", "name": "get_weather"}
    item = {**head, "arguments": arguments, "status": "completed"}
    begun = {**head, "arguments": "", "status": "in_progress"}
    place = {"item_id": "fc_1", "output_index": 0}
    return [
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        {"type": "response.function_call_arguments.delta", **place, "delta": arguments},
        {"type": "response.function_call_arguments.done", **place, "arguments": arguments},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
    ], item


# -- what only dies here: a real llama.cpp server does the rest


def _chat(name: str) -> tuple[list[bytes], list[bytes]]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "tiny"}
    deltas: list[Event] = [{"role": "assistant", "content": None}, *({"content": piece} for piece in _pieces(name))]
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    return sse(*({**head, "choices": [choice]} for choice in choices)), []


def _messages(name: str) -> tuple[list[bytes], list[bytes]]:
    head = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "tiny"}
    usage = {"input_tokens": 5, "output_tokens": 0}
    message = {**head, "stop_reason": None, "stop_sequence": None, "usage": usage}
    deltas = [{"type": "text_delta", "text": piece} for piece in _pieces(name)]
    return _named(
        [
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        ]
    ), []


def _named(events: list[Event]) -> list[bytes]:
    return sse(*((event["type"], json.dumps(event)) for event in events))


SPEAKERS: Final[dict[str, Speaker]] = {
    "/api/chat": _ollama_chat,
    "/api/generate": _ollama_generate,
    "/v1/responses": _responses,
    "/v1/chat/completions": _chat,
    "/v1/messages": _messages,
}

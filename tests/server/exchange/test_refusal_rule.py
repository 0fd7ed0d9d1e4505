"""A rule that rewrites refusals, through the server: each dialect, streamed and whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from tests.fakes import FakeUpstream, reply, sse
from tests.server.running import chunk, running, said

pytestmark = pytest.mark.anyio

OURS = "Please ask the help desk."
REFUSED = ("I'm sorry", ", but I can't", " help with that", ". It would be wrong.")
POLICY = f"""
version: 1
policy: house
rules:
  - id: refused
    check: refusal
    action: rewrite
    replacement: {OURS}
"""


def policies() -> Any:
    """The policy, compiled."""
    return compile_policies([Source("p.yaml", POLICY.encode())], hash_key=b"key")


def ndjson(*lines: object) -> Any:
    """Ollama's stream."""
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def openai_chat(words: tuple[str, ...]) -> Any:
    """A chat stream of OpenAI's dialect."""
    return sse(*said(*words))


def openai_completion(words: tuple[str, ...]) -> Any:
    """A stream of plain completions."""
    texts = [{"choices": [{"index": 0, "text": word, "finish_reason": None}]} for word in words]
    return sse(*texts, {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}, "[DONE]")


def ollama_chat(words: tuple[str, ...]) -> Any:
    """A chat stream of Ollama."""
    lines = [{"model": "m", "message": {"role": "assistant", "content": word}, "done": False} for word in words]
    end = {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
    return ndjson(*lines, end)


def ollama_generate(words: tuple[str, ...]) -> Any:
    """A stream of Ollama's generate."""
    lines = [{"model": "m", "response": word, "done": False} for word in words]
    return ndjson(*lines, {"model": "m", "response": "", "done": True, "done_reason": "stop"})


def anthropic(words: tuple[str, ...]) -> Any:
    """A stream of Anthropic's dialect."""
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "stop_reason": None, "stop_sequence": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": w}} for w in words),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]
    return b"".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events)


MESSAGES = {"messages": [{"role": "user", "content": "Hello"}]}
DIALECTS: list[tuple[str, dict[str, Any], Callable[[tuple[str, ...]], Any], str]] = [
    ("/v1/chat/completions", MESSAGES, openai_chat, "text/event-stream"),
    ("/v1/completions", {"prompt": "Hello"}, openai_completion, "text/event-stream"),
    ("/api/chat", MESSAGES, ollama_chat, "application/x-ndjson"),
    ("/api/generate", {"prompt": "Hello"}, ollama_generate, "application/x-ndjson"),
    ("/v1/messages", {**MESSAGES, "max_tokens": 50}, anthropic, "text/event-stream"),
]
EACH = pytest.mark.parametrize(("path", "body", "stream", "kind"), DIALECTS, ids=[d[0] for d in DIALECTS])
STREAMED = pytest.mark.parametrize("streamed", [True, False])


async def answered(
    path: str, body: dict[str, Any], content: Any, kind: str, streamed: bool
) -> tuple[str, tuple[str, str, str], str]:
    """The body that the client got, what is recorded of the refusal, and the outcome."""
    async with FakeUpstream(reply(content, content_type=kind)) as upstream, running(upstream, policies()) as proxy:
        async with proxy.wire() as wire:
            await wire.post(path, {"model": "m", **body, "stream": streamed})
            answer = await wire.answer()
        exchange = await proxy.exchange()
        return answer.body.decode(), exchange.refusal, exchange.outcome.value


@EACH
@STREAMED
async def test_the_operators_text_stands_in_its_place(
    path: str, body: dict[str, Any], stream: Callable[[tuple[str, ...]], Any], kind: str, streamed: bool
) -> None:
    """In each dialect, streamed or not, nothing of the refusal is shown, and it is counted as the model's."""
    got, refusal, outcome = await answered(path, body, stream(REFUSED), kind, streamed)
    assert OURS in got
    assert not any(word.strip(" ,.") in got for word in REFUSED)
    assert refusal == ("text", "safety", "en")
    assert outcome == "rewritten"


@EACH
@STREAMED
async def test_an_answer_passes(
    path: str, body: dict[str, Any], stream: Callable[[tuple[str, ...]], Any], kind: str, streamed: bool
) -> None:
    """What is no refusal is shown whole."""
    got, refusal, outcome = await answered(path, body, stream(("Paris", " is a city.")), kind, streamed)
    assert "Paris" in got
    assert "is a city." in got
    assert OURS not in got
    assert (refusal, outcome) == (("", "", ""), "allowed")


async def test_a_refusal_field_is_rewritten_too() -> None:
    """The operator's text stands in the field."""
    events = [chunk(delta={"refusal": "I will "}), chunk(delta={"refusal": "not."}), chunk(finish="stop"), "[DONE]"]
    got, refusal, _ = await answered("/v1/chat/completions", MESSAGES, sse(*events), "text/event-stream", True)
    assert OURS in got
    assert "not." not in got
    assert refusal[0] == "refusal_field"

"""Ollama's lines: how tests make and read them, and carry them through an answer."""

from __future__ import annotations

import json
from typing import Any

from proxy.core.check import Check
from proxy.core.guard import Guard
from proxy.core.types import Finding
from proxy.dialects.ollama.answer import OllamaAnswer
from proxy.dialects.ollama.chat import OllamaChat, OllamaGenerate
from proxy.dialects.request import Options, Request
from tests.dialects.golden_files import golden_names
from tests.phrases import PhrasePlan

CHAT = OllamaChat()
GENERATE = OllamaGenerate()
Dialect = OllamaChat | OllamaGenerate
NOTICE = "[notice]"
WHEN = "2026-11-23T19:22:02.433859692Z"


def notice(finding: Finding) -> str:
    """What people read."""
    return NOTICE


def parsed(body: dict[str, Any], dialect: Dialect = CHAT, **options: bool) -> Request:
    """A request read from a client's bytes."""
    return dialect.parse(json.dumps({"model": "tiny", **body}).encode(), Options(**options))


def said(text: str) -> dict[str, Any]:
    """A chat of one message."""
    return {"messages": [{"role": "user", "content": text}]}


def answering(dialect: Dialect, *checks: Check, **body: Any) -> OllamaAnswer:
    """The answer of a small request."""
    ask = {"prompt": "hi"} if dialect is GENERATE else said("hi")
    request = parsed({**ask, **body}, dialect)
    return dialect.answer(request, Guard(PhrasePlan(checks), request.json_content, request.prefills()), notice)


def through(answer: OllamaAnswer, data: bytes, size: int = 0) -> bytes:
    """Everything that a streaming client gets, the upstream's bytes cut every `size`."""
    step = size or max(1, len(data))
    return b"".join([answer.feed(data[at : at + step]) for at in range(0, len(data), step)]) + answer.finish()


def lines(data: bytes) -> list[dict[str, Any]]:
    """Lines of JSON, read."""
    return [json.loads(line) for line in data.splitlines()]


def text_of(data: bytes, key: str = "content") -> str:
    """The text that a client puts together."""
    words = [line.get("message", line) for line in lines(data)]
    return "".join(word.get(key) or "" for word in words)


def line(content: str = "", done: bool = False, **more: Any) -> bytes:
    """A line of a chat, spaced as Go spaces it."""
    message = {"role": "assistant", "content": content, **more.pop("message", {})}
    body = {"model": "tiny", "created_at": WHEN, "message": message, "done": done, **more}
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def end(**more: Any) -> bytes:
    """The last line of a chat."""
    return line(done=True, **{"done_reason": "stop", "eval_count": 3, **more})


def dialect_of(name: str) -> Dialect:
    """Which of the two a golden stream is of."""
    return CHAT if name.startswith("ollama_api_chat") else GENERATE


STREAMS = [n for n in golden_names("ollama_api_") if n.endswith("_stream") and "_api_show" not in n]
UNTOUCHED = [n for n in STREAMS if "logprobs" not in n]


def without_context(data: bytes) -> list[dict[str, Any]]:
    """Lines without the token ids of the whole conversation."""
    return [{k: v for k, v in line.items() if k != "context"} for line in lines(data)]


def call(**function: Any) -> dict[str, Any]:
    """A message with one call in it."""
    return {"tool_calls": [{"id": "call_1", "function": {"index": 0, **function}}]}

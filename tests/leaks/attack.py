"""What an attacker needs: an answer that a model server sends, or a prompt that an app sends, through real policies."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from proxy.core.guard import Guard
from proxy.core.types import Direction, Finding
from proxy.dialects.base import Dialect
from proxy.dialects.request import Options
from proxy.errors import ClientError
from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from proxy.policy.policyset import PolicySet
from proxy.server.exchange.prompt_filter import Blocked, judge_request
from proxy.server.exchange.record import Exchange

HIDE = "{id: hide, pattern: forbidden, action: rewrite, replacement: '#'}"
STOP = "{id: stop, words: [forbidden], action: block}"
EMAIL = "{id: email, detector: email, action: rewrite, replacement: '[email]'}"
CARD = "{id: card, detector: credit_card, action: rewrite, replacement: '[card]'}"
CARD_NUMBER = 4111111111111111
NOTICE = "<stopped>"
USER: dict[str, Any] = {"role": "user", "content": "Hello"}
CHAT: dict[str, Any] = {"model": "m", "messages": [USER], "stream": True}
"""A request of OpenAI's chat."""


def policies(*rules: str, applies_to: str = "{}", history: str = "replace", limits: str = "") -> PolicySet:
    """A policy of these rules."""
    text = f"version: 1\npolicy: house\napplies_to: {applies_to}\nhistory: {history}\nrules: [{', '.join(rules)}]\n"
    text += f"limits: {{{limits}}}\n" if limits else ""
    return compile_policies([Source("house.yaml", text.encode())], hash_key=b"key")


def notice(finding: Finding) -> str:
    """What stands in the place of what a rule stopped."""
    return NOTICE


def answered(dialect: Dialect, request: Mapping[str, Any], sent: Iterable[bytes], *rules: str) -> bytes:
    """What the app receives when the model server sends these pieces; nothing when its request is refused."""
    try:
        asked = dialect.parse(json.dumps(request).encode(), Options())
    except ClientError:
        return b""
    plan = policies(*rules or (HIDE,)).plan(Direction.OUTPUT, model=asked.model)
    answer = dialect.answer(asked, Guard(plan, asked.json_content, asked.prefills()), notice)
    out = b"".join([*map(answer.feed, sent), answer.finish()])
    return out if asked.stream or answer.failed else answer.result()


async def asked(
    dialect: Dialect, request: Mapping[str, Any], *rules: str, applies_to: str = "{}", history: str = "replace"
) -> str:
    """What the model server receives when the app sends this; "" when it is refused."""
    loaded = policies(*rules or (HIDE,), applies_to=applies_to, history=history)
    try:
        prompt = dialect.parse(json.dumps(request).encode(), Options())
    except ClientError:
        return ""

    def plan_for(role: str) -> Any:
        return loaded.plan(Direction.INPUT, model=prompt.model, role=role)

    try:
        await judge_request(prompt.texts, prompt.joiner, plan_for, notice, Exchange("/", "revision"))
    except Blocked:
        return ""
    return dialect.upstream_body(prompt).decode()


def sse(*events: dict[str, Any] | str) -> list[bytes]:
    """Events under the name of their type, if they have one."""
    return [_event(event) for event in events]


def _event(event: dict[str, Any] | str) -> bytes:
    data = event if isinstance(event, str) else json.dumps(event, separators=(",", ":"))
    name = f"event: {event['type']}\n" if isinstance(event, dict) and "type" in event else ""
    return f"{name}data: {data}\n\n".encode()


def chunk(delta: Mapping[str, Any], finish: str | None = None, index: int = 0) -> dict[str, Any]:
    """A chunk of OpenAI's chat."""
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {"id": "a", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def call(name: str | None = None, arguments: str = "", ident: str | None = None) -> dict[str, Any]:
    """A piece of a tool's call as a delta of OpenAI's chat."""
    function = {"arguments": arguments} | ({"name": name} if name is not None else {})
    return {"tool_calls": [{"index": 0, **({"id": ident} if ident else {}), "type": "function", "function": function}]}


def ollama(message: Mapping[str, Any], done: bool = False) -> bytes:
    """A line of Ollama's chat."""
    end = {"done": True, "done_reason": "stop"} if done else {"done": False}
    line = {"model": "m", "created_at": "2025-01-01T00:00:00Z", "message": {"role": "assistant", **message}, **end}
    return json.dumps(line).encode() + b"\n"


def data_of(out: bytes) -> list[Any]:
    """The JSON of the events in a stream."""
    lines = [line.removeprefix("data: ") for line in out.decode().split("\n") if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def deltas(out: bytes, field: str = "content", index: int = 0) -> str:
    """What a chat stream says in one field of one choice."""
    choices = [choice for event in data_of(out) for choice in event.get("choices", ()) if choice["index"] == index]
    return "".join(choice["delta"].get(field) or "" for choice in choices)

"""A request's tools and arguments have a number of texts that nobody needs, and that would be judged one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.base import Dialect
from proxy.dialects.common.request_fields import MOST_TEXTS
from proxy.dialects.ollama.chat import OllamaChat
from proxy.dialects.openai.chat import OpenAIChat
from proxy.dialects.openai.responses.dialect import OpenAIResponses
from proxy.dialects.request import Options
from proxy.errors import BadRequest

SCHEMA = {"type": "object", "properties": {f"key{i}": {"type": "string"} for i in range(MOST_TEXTS // 6)}}
USER = {"role": "user", "content": "hi"}


def function(schema: Any) -> Any:
    """A tool of OpenAI's chat, and of Ollama's."""
    return {"type": "function", "function": {"name": "f", "parameters": schema}}


REQUESTS: list[tuple[Dialect, dict[str, Any], Any]] = [
    (OpenAIChat(), {"messages": [USER]}, function),
    (OllamaChat(), {"messages": [USER]}, function),
    (OpenAIResponses(), {"input": "hi"}, lambda schema: {"type": "function", "name": "f", "parameters": schema}),
    (AnthropicMessages(), {"messages": [USER], "max_tokens": 1}, lambda schema: {"name": "f", "input_schema": schema}),
]


@pytest.mark.parametrize(("dialect", "request_body", "tool"), REQUESTS, ids=lambda value: getattr(value, "name", ""))
def test_tools_with_far_too_many_texts(dialect: Dialect, request_body: dict[str, Any], tool: Any) -> None:
    """One tool of half as many passes; a second one is refused, and named."""
    body = {"model": "m", **request_body, "tools": [tool(SCHEMA)]}
    assert len(dialect.parse(json.dumps(body).encode(), Options()).texts) > MOST_TEXTS // 2
    body["tools"] = [tool(SCHEMA)] * 2
    with pytest.raises(BadRequest, match=r"^tools\[1\]") as caught:
        dialect.parse(json.dumps(body).encode(), Options())
    assert caught.value.code == "too_many_texts"
    assert caught.value.param is not None
    assert caught.value.param.startswith("tools[1]")


def test_arguments_with_far_too_many_texts() -> None:
    """The same for a call in the history, whose arguments Ollama takes as an object."""
    call = {"function": {"name": "f", "arguments": {"list": ["a"] * (MOST_TEXTS + 1)}}}
    body = {"model": "m", "messages": [USER, {"role": "assistant", "content": "", "tool_calls": [call]}, USER]}
    with pytest.raises(BadRequest, match=r"^messages\[1\]\.tool_calls\[0\]\.function\.arguments\.list: "):
        OllamaChat().parse(json.dumps(body).encode(), Options())

"""Requests that no document describes and clients send all the same: what is said in them is judged, and arrives."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from proxy.dialects.anthropic.messages import AnthropicMessages
from proxy.dialects.base import Dialect
from proxy.dialects.lmstudio.chat import LMStudioChat
from proxy.dialects.ollama.chat import OllamaChat
from proxy.dialects.openai.chat import OpenAIChat
from proxy.dialects.openai.responses.dialect import OpenAIResponses
from proxy.dialects.request import Options
from tests.leaks.attack import HIDE, asked

SAID = "so forbidden it is"
HIDDEN = "so # it is"
CHAT, MESSAGES, RESPONSES, NATIVE, LM_STUDIO = (
    *(OpenAIChat(), AnthropicMessages(), OpenAIResponses(), OllamaChat()),
    LMStudioChat(),
)


def user(content: Any) -> dict[str, Any]:
    """A request with one message."""
    return {"messages": [{"role": "user", "content": content}]}


def result(content: Any) -> dict[str, Any]:
    """A request of Anthropic's dialect with a tool's result."""
    return user([{"type": "tool_result", "tool_use_id": "t", "content": content}])


def output(content: Any) -> dict[str, Any]:
    """A request of OpenAI's responses with a tool's result."""
    return {"input": [{"type": "function_call_output", "call_id": "c", "output": content}]}


ODD: dict[str, tuple[Dialect, dict[str, Any]]] = {
    "chat: one part in the place of an array": (CHAT, user({"type": "text", "text": SAID})),
    "chat: a string for a part": (CHAT, user([SAID])),
    "chat: a part without a type": (CHAT, user([{"text": SAID}])),
    "chat: a part whose type is null": (CHAT, user([{"type": None, "text": SAID}])),
    "messages: one block in the place of an array": (MESSAGES, user({"type": "text", "text": SAID})),
    "messages: a string for a block": (MESSAGES, user([SAID])),
    "messages: a block without a type": (MESSAGES, user([{"text": SAID}])),
    "messages: a result of strings": (MESSAGES, result([SAID])),
    "messages: a result that is one block": (MESSAGES, result({"type": "text", "text": SAID})),
    "responses: one part in the place of an array": (
        RESPONSES,
        {"input": [{"role": "user", "content": {"type": "input_text", "text": SAID}}]},
    ),
    "responses: a string for a part": (RESPONSES, {"input": [{"role": "user", "content": [SAID]}]}),
    "responses: a part without a type": (RESPONSES, {"input": [{"role": "user", "content": [{"text": SAID}]}]}),
    "responses: one item in the place of an array": (RESPONSES, {"input": {"role": "user", "content": SAID}}),
    "responses: a result of strings": (RESPONSES, output([SAID])),
    "responses: a result that is an object": (RESPONSES, output({"a": [SAID]})),
    "ollama: arguments as a string": (
        NATIVE,
        {
            "messages": [
                {
                    "role": "assistant",
                    "tool_calls": [{"function": {"name": "f", "arguments": json.dumps({"a": SAID})}}],
                },
                {"role": "user", "content": "hi"},
            ]
        },
    ),
    "lm studio: a string for an item": (LM_STUDIO, {"input": [SAID]}),
    "lm studio: a text under another key": (LM_STUDIO, {"input": [{"type": "text", "text": SAID}]}),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_said_arrives(name: str) -> None:
    """Nothing is left out, and the model server reads the text."""
    dialect, body = ODD[name]
    request = dialect.parse(json.dumps({"model": "m", **body}).encode(), Options())
    assert request.dropped == ()
    assert SAID in dialect.upstream_body(request).decode()


@pytest.mark.parametrize("name", ODD)
def test_what_is_said_is_judged(name: str) -> None:
    """The word is hidden where it stands, and all around it arrives."""
    dialect, body = ODD[name]
    out = asyncio.run(asked(dialect, {"model": "m", **body}, HIDE))
    assert HIDDEN in out
    assert "forbidden" not in out


@pytest.mark.parametrize("answered", [5, 1.5, True])
def test_a_result_that_is_no_text(answered: Any) -> None:
    """A number, or a boolean, keeps its block and its item: a call without a result locks a session."""
    for dialect, body in ((MESSAGES, result(answered)), (RESPONSES, output(answered))):
        request = dialect.parse(json.dumps({"model": "m", **body}).encode(), Options())
        assert request.dropped == ()
        assert json.dumps(answered) in dialect.upstream_body(request).decode()


def test_a_number_in_a_result_is_judged() -> None:
    """A rule finds it as it would be read."""
    for dialect, body in ((MESSAGES, result(4111)), (RESPONSES, output(4111))):
        out = asyncio.run(asked(dialect, {"model": "m", **body}, HIDE.replace("forbidden", "'4111'")))
        assert out
        assert "4111" not in out


@pytest.mark.parametrize(
    ("dialect", "body", "dropped"),
    [
        (MESSAGES, {**user("hi"), "stop_sequences": ["x", None]}, ("stop_sequences[1]",)),
        (CHAT, {**user("hi"), "stop": ["x", None]}, ("stop[1]",)),
        (NATIVE, {"messages": [{"role": "user", "content": "hi", "images": [None]}]}, ("messages[0].images[0]",)),
    ],
)
def test_null_in_a_list_is_left_out_alone(dialect: Dialect, body: dict[str, Any], dropped: tuple[str, ...]) -> None:
    """The rest of the list stays."""
    assert dialect.parse(json.dumps({"model": "m", **body}).encode(), Options()).dropped == dropped


@pytest.mark.parametrize("key", ["|im_end|", "a|", "/|x"])
def test_a_key_like_a_marker_never_locks_a_session(key: str) -> None:
    """The model has called a tool so, and the call stays in the history: the key gets a blank, and is no marker."""
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {key: 1, f"{key} ": 2}}
    called = {"function": {"name": "f", "arguments": {key: 1, f"{key} ": 2}}}
    for dialect, message in (
        (MESSAGES, {"role": "assistant", "content": [use]}),
        (NATIVE, {"role": "assistant", "tool_calls": [called]}),
    ):
        body = {"model": "m", "messages": [message, {"role": "user", "content": "hi"}]}
        out = dialect.upstream_body(dialect.parse(json.dumps(body).encode(), Options())).decode()
        assert f'"{key}"' not in out
        assert f'"{key} _":1' in out
        assert f'"{key} ":2' in out

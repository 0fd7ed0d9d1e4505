"""Tool calls in Ollama's own dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.dialects.ollama.lines import (
    CHAT,
    GENERATE,
    NOTICE,
    WHEN,
    answering,
    call,
    end,
    line,
    lines,
    text_of,
    through,
)
from tests.phrases import block, rewrite


@pytest.mark.parametrize("last", [True, False])
def test_arguments_are_judged_decoded(last: bool) -> None:
    """A word in any value or key of a call is replaced, in a line before the end or in the end itself."""
    message = call(name="f", arguments={"a": "x SECRET", "b": ["SECRET", 1.5, None, True], "SECRET": {"c": "é"}})
    data = end(message=message) if last else line(message=message) + end()
    out = through(answering(CHAT, rewrite("SECRET")), data)
    with_calls = next(got for got in lines(out) if "tool_calls" in got["message"])
    assert with_calls["done"] is last
    assert with_calls["message"]["tool_calls"] == [
        {
            "id": "call_1",
            "function": {
                "index": 0,
                "name": "f",
                "arguments": {"a": "x [X]", "b": ["[X]", 1.5, None, True], "[X]": {"c": "é"}},
            },
        }
    ]


@pytest.mark.parametrize(
    "function",
    [
        {"name": "SECRET", "arguments": {}},
        {"name": "f", "arguments": {"a": "SECRET"}},
        {"name": "f", "arguments": {"SECRET": 1}},
        {"name": "f", "arguments": {"a": [{"b": "SECRET"}]}},
    ],
)
def test_a_blocked_call_does_not_go_out(function: dict[str, Any]) -> None:
    """No part of a call that a rule ends reaches a client that would execute it; text before it stays."""
    answer = answering(CHAT, block("SECRET"))
    out = through(answer, line("see: ") + end(message=call(**function)))
    assert "tool_calls" not in str(lines(out))
    assert text_of(out) == "see: \n\n" + NOTICE
    assert lines(out)[-1]["done_reason"] == "content_filter"


def test_several_calls_are_told_apart() -> None:
    """Calls of one line and of several keep their order, ids and arguments."""
    first = {"tool_calls": [{"function": {"name": n, "arguments": {"of": n}}} for n in ("f", "g")]}
    second = {"tool_calls": [{"id": "x", "function": {"name": "h", "arguments": {"of": "SECRET"}}}]}
    out = through(answering(CHAT, rewrite("SECRET")), line(message=first) + end(message=second))
    calls = [c for got in lines(out) for c in got["message"].get("tool_calls", ())]
    assert calls == [*first["tool_calls"], {"id": "x", "function": {"name": "h", "arguments": {"of": "[X]"}}}]


def test_calls_of_generate() -> None:
    """A call in an answer of /api/generate stands in the line itself and is judged alike."""
    body = {"model": "m", "created_at": WHEN, "response": "", "done": True, **call(name="f", arguments={"a": "SECRET"})}
    out = through(answering(GENERATE, rewrite("SECRET")), json.dumps(body).encode())
    assert lines(out)[0]["tool_calls"][0]["function"]["arguments"] == {"a": "[X]"}

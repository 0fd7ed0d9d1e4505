"""Answers of Ollama's own dialect, /api/chat and /api/generate: what no rule minds."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.guard import Guard
from tests.dialects.golden_files import golden
from tests.dialects.ollama.lines import (
    CHAT,
    STREAMS,
    UNTOUCHED,
    answering,
    dialect_of,
    end,
    line,
    lines,
    notice,
    parsed,
    said,
    text_of,
    through,
    without_context,
)
from tests.phrases import PhrasePlan, block, rewrite


@pytest.mark.parametrize("name", UNTOUCHED)
@pytest.mark.parametrize("size", [0, 1, 13])
def test_a_clean_answer_passes(name: str, size: int) -> None:
    """Real answers leave as they came, byte for byte, but for the context's token ids, however they are cut."""
    answer = answering(dialect_of(name), block("|never said|"))
    out = through(answer, golden(name).body, size)
    assert out == golden(name).body or without_context(golden(name).body) == lines(out)
    assert b'"context"' not in out
    assert answer.done


@pytest.mark.parametrize("name", [n for n in STREAMS if "logprobs" in n])
def test_logprobs_leave_with_nothing_else(name: str) -> None:
    """Only the probabilities are missing, and no byte of what they spell is left."""
    out = through(answering(dialect_of(name)), golden(name).body)
    expected = [{k: v for k, v in line.items() if k != "logprobs"} for line in lines(golden(name).body)]
    assert lines(out) == expected


def test_logprobs_can_be_allowed() -> None:
    """With the setting they pass unchanged, and a whole answer has all of them."""
    body = golden("ollama_api_chat_logprobs_stream").body
    request = parsed({**said("x"), "logprobs": True}, logprobs=True)
    assert through(CHAT.answer(request, Guard(PhrasePlan()), notice), body) == body
    request.stream = False
    whole = CHAT.answer(request, Guard(PhrasePlan()), notice)
    through(whole, body)
    assert len(json.loads(whole.result())["logprobs"]) == len(lines(body)) - 1


def test_logprobs_of_a_token_that_comes_again() -> None:
    """A whole answer has probabilities for each token, also where one is said twice with the same ones."""
    request = parsed({**said("x"), "logprobs": True, "stream": False}, logprobs=True)
    whole = CHAT.answer(request, Guard(PhrasePlan()), notice)
    through(whole, line("ha", logprobs=[{"token": "ha"}]) * 3 + end())
    assert json.loads(whole.result())["logprobs"] == [{"token": "ha"}] * 3


def test_logprobs_of_a_long_answer_are_gathered_in_one_list() -> None:
    """Each line adds its own to those before it; the answer that grows has none of them, so none is copied again."""
    request = parsed({**said("x"), "logprobs": True, "stream": False}, logprobs=True)
    whole = CHAT.answer(request, Guard(PhrasePlan()), notice)
    for i in range(300):
        whole.feed(line("a", logprobs=[{"token": str(i)}]))
        assert len(whole._whole["logprobs"]) == 1
    whole.feed(end())
    assert [entry["token"] for entry in json.loads(whole.result())["logprobs"]] == [str(i) for i in range(300)]


@pytest.mark.parametrize(
    ("stream", "whole"),
    [("ollama_api_chat_stream", "ollama_api_chat"), ("ollama_api_generate_stream", "ollama_api_generate")],
)
def test_a_stream_becomes_one_object(stream: str, whole: str) -> None:
    """A client that does not stream gets what the server itself would have sent, but for times and token ids."""
    answer = answering(dialect_of(stream), stream=False)
    assert through(answer, golden(stream).body, 9) == b""
    told = json.loads(golden(whole).body)
    told.pop("context", None)
    result = json.loads(answer.result())
    assert result.keys() == told.keys()
    assert {k: result[k] for k in ("model", "message", "response", "done_reason") if k in told} == {
        k: told[k] for k in ("model", "message", "response", "done_reason") if k in told
    }


@pytest.mark.parametrize("name", ["ollama_api_chat", "ollama_api_chat_empty_load", "ollama_api_generate"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_plain_body_is_understood(name: str, stream: bool) -> None:
    """A model server that answers with one JSON body is read the same way, for a client that streams or not."""
    answer = answering(dialect_of(name), rewrite("tiny scripted"), stream=stream)
    out = answer.whole(golden(name).body)
    assert answer.failed is None
    assert out == b"" or not stream or out.endswith(b"\n")
    told = out if stream else answer.result()
    key = "content" if dialect_of(name) is CHAT else "response"
    expected = text_of(golden(name).body, key).replace("tiny scripted", "[X]")
    assert text_of(told, key) == expected
    assert lines(told)[-1]["done"] is True
    assert lines(told)[-1]["done_reason"] == json.loads(golden(name).body)["done_reason"]


def test_tool_calls_of_a_stream_become_one_list() -> None:
    """A client that does not stream gets all calls of an answer, with numbers that are not repeated."""
    calls = [[{"function": {"name": name, "arguments": {"n": name}}}] for name in ("f", "g")]
    answer = answering(CHAT, block("never"), stream=False)
    through(answer, b"".join(line(message={"tool_calls": call}) for call in calls) + end())
    assert json.loads(answer.result())["message"]["tool_calls"] == calls[0] + calls[1]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_cutting_changes_nothing(data: st.DataObject) -> None:
    """However the bytes of a real answer are cut, the client puts the same text together."""
    name = data.draw(st.sampled_from(["ollama_api_chat_stream", "ollama_api_chat_think_stream"]))
    body = golden(name).body
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    checks = (rewrite("scripted model"), rewrite("secret"), block("llama.cpp"))
    answer = answering(CHAT, *checks)
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    out = b"".join([answer.feed(piece) for piece in pieces]) + answer.finish()
    assert out == through(answering(CHAT, *checks), body)

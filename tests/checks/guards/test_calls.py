"""The requests to model servers: as their API documents say, and no response is an answer that is none."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.checks.guards.calls import Api, Call, CallFailed, Generated, Options, call, generated
from proxy.checks.topics.calls import embedding_call, vectors
from tests.checks.guards.formats import FORMATS, asked

LLAMA = FORMATS["llama-guard-3-8b"]
(RAW,) = asked("llama-guard-3-8b", "prompt", "Hello")
(CHAT,) = asked("gpt-oss-safeguard", "prompt", "Hello")
OPTIONS = Options("guard:8b", 8_192, "30m")


def test_ollama_raw() -> None:
    """Ollama gets a raw prompt on its own endpoint, may not cut it, and the same options each time."""
    assert call("ollama", LLAMA.reply, RAW, OPTIONS) == Call(
        "/api/generate",
        {
            "model": "guard:8b",
            "prompt": RAW.raw,
            "raw": True,
            "stream": False,
            "truncate": False,
            "keep_alive": "30m",
            "options": {"temperature": 0, "num_predict": 24, "num_ctx": 8_192, "stop": ["<|eot_id|>", "<|eom_id|>"]},
        },
    )


def test_the_chat_model_itself() -> None:
    """Where the guard is the chat model, nothing is said that would make Ollama load it anew."""
    body = call("ollama", LLAMA.reply, RAW, Options("llama3")).body
    assert "num_ctx" not in body["options"]
    assert "keep_alive" not in body
    assert "shift" not in body


def test_ollama_chat() -> None:
    """A format for chats goes to the native chat endpoint, which does not cut either; it says how much to think."""
    made = call("ollama", FORMATS["gpt-oss-safeguard"].reply, CHAT, OPTIONS)
    assert made.path == "/api/chat"
    assert made.body["messages"][-1] == {"role": "user", "content": "Hello"}
    assert made.body["truncate"] is False
    assert made.body["think"] == "low"
    assert "think" not in call("ollama", FORMATS["rubric"].reply, CHAT, OPTIONS).body


def test_llama_cpp() -> None:
    """llama.cpp gets a raw prompt at /completion, and a chat at /v1/chat/completions."""
    made = call("llama.cpp", LLAMA.reply, RAW, OPTIONS)
    assert (made.path, made.body["prompt"], made.body["n_predict"], made.body["temperature"]) == (
        "/completion",
        RAW.raw,
        24,
        0,
    )
    chat = call("llama.cpp", FORMATS["gpt-oss-safeguard"].reply, CHAT, OPTIONS)
    assert (chat.path, chat.body["reasoning_effort"]) == ("/v1/chat/completions", "low")


def test_openai() -> None:
    """LM Studio gets a raw prompt at /v1/completions."""
    made = call("openai", LLAMA.reply, RAW, OPTIONS)
    assert (made.path, made.body["prompt"], made.body["max_tokens"]) == ("/v1/completions", RAW.raw, 24)
    assert "messages" not in made.body


ANSWERS: list[tuple[str, dict[str, Any], Generated]] = [
    ("/api/generate", {"response": "safe", "done": True, "done_reason": "stop"}, Generated("safe", True)),
    ("/api/generate", {"response": "sa", "done": True, "done_reason": "length"}, Generated("sa", False)),
    ("/api/chat", {"message": {"content": "safe", "thinking": "hm"}, "done": True}, Generated("safe", True)),
    ("/completion", {"content": "safe", "stop": True, "stop_type": "eos"}, Generated("safe", True)),
    ("/completion", {"content": "safe", "stop": True, "stop_type": "limit"}, Generated("safe", False)),
    ("/v1/completions", {"choices": [{"text": "safe", "finish_reason": "stop"}]}, Generated("safe", True)),
    (
        "/v1/chat/completions",
        {"choices": [{"message": {"content": "safe"}, "finish_reason": "length"}]},
        Generated("safe", False),
    ),
]


@pytest.mark.parametrize(("path", "data", "wanted"), ANSWERS)
def test_answers(path: str, data: dict[str, Any], wanted: Generated) -> None:
    """What a server says in its own dialect, and whether it had to stop."""
    assert generated(path, 200, data) == wanted


@pytest.mark.parametrize("path", sorted({path for path, _, _ in ANSWERS}))
@pytest.mark.parametrize(
    ("status", "data", "fault"),
    [
        (500, {"error": "secret"}, "status"),
        (400, {"error": {"type": "exceed_context_size_error", "n_ctx": 512}}, "context"),
        (400, {"error": "the input length exceeds the context length"}, "context"),
        (200, {"error": "no such model"}, "shape"),
        (200, [], "shape"),
        (200, {}, "shape"),
        (200, {"response": None, "message": 1, "content": [], "choices": [{"text": 1}], "done": True}, "shape"),
        (200, {"choices": {"a": 1}}, "shape"),
    ],
)
def test_no_answers(path: str, status: int, data: object, fault: str) -> None:
    """Errors, other shapes and answers that stop in the middle are failures, and quote nothing."""
    with pytest.raises(CallFailed) as caught:
        generated(path, status, data)
    assert caught.value.fault == fault
    assert "secret" not in str(caught.value)


def test_a_prompt_that_was_cut() -> None:
    """A verdict on half of a prompt is none."""
    with pytest.raises(CallFailed, match="has cut its prompt"):
        generated("/completion", 200, {"content": "safe", "stop": True, "truncated": True})


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/api/generate", {"response": "safe", "done": False}),
        ("/completion", {"content": "safe", "stop": False}),
        ("/v1/completions", {"choices": [{"text": "safe"}]}),
    ],
)
def test_answers_that_are_not_complete(path: str, data: dict[str, Any]) -> None:
    """An answer whose end was not told is none."""
    with pytest.raises(CallFailed):
        generated(path, 200, data)


@pytest.mark.parametrize(
    ("api", "path", "more"), [("ollama", "/api/embed", {"truncate": False}), ("llama.cpp", "/v1/embeddings", {})]
)
def test_embeddings(api: Api, path: str, more: dict[str, Any]) -> None:
    """Texts get the model's prefix, and are not cut."""
    made = embedding_call(api, "nomic", ["a", "b"], "classification: ")
    wanted = {"model": "nomic", "input": ["classification: a", "classification: b"]}
    assert made == Call(path, wanted | more)


def test_vectors() -> None:
    """Vectors come in the order of the texts, and have the length 1."""
    entries = [{"index": 1, "embedding": [0, 2]}, {"index": 0, "embedding": [3.0, 0.0]}]
    assert vectors("/v1/embeddings", 200, {"data": entries}, 2) == ((1.0, 0.0), (0.0, 1.0))
    assert vectors("/api/embed", 200, {"embeddings": [[0, 5]]}, 1) == ((0.0, 1.0),)


@pytest.mark.parametrize(
    "data",
    [
        {"data": [{"index": 0, "embedding": [1.0]}]},
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}]},
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": "AAAA"}]},
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [0.0]}]},
        {"data": [1, 2]},
        {},
    ],
)
def test_no_vectors(data: dict[str, Any]) -> None:
    """Too few, twice the same, none or broken ones are failures."""
    with pytest.raises(CallFailed):
        vectors("/v1/embeddings", 200, data, 2)

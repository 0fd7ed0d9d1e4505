"""The demo model server, over HTTP as a client sees it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from proxy.demo.backend import DemoBackend
from proxy.demo.script import ANSWERS, HELP
from tests import plain_http


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """A client of a demo model that answers as fast as it can."""
    with DemoBackend(pace=0) as backend, plain_http.client(base_url=backend.url, trust_env=False) as client:
        yield client


def ask(content: Any, **more: Any) -> dict[str, Any]:
    """A request body with one message."""
    return {"model": "demo", "messages": [{"role": "user", "content": content}], **more}


def events(response: httpx.Response) -> list[Any]:
    """The data of a stream's events; [DONE] as it is."""
    assert response.headers["content-type"].startswith("text/event-stream")
    data = [event.removeprefix("data: ") for event in response.text.split("\n\n") if event]
    return [one if one == "[DONE]" else json.loads(one) for one in data]


def test_it_streams_token_by_token(client: httpx.Client) -> None:
    """Role first, then a piece an event, then a finish and [DONE]."""
    got = events(client.post("/v1/chat/completions", json=ask(ANSWERS[0].prompt, stream=True)))
    assert got[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(e["choices"][0]["delta"]["content"] for e in got[:-2]) == ANSWERS[0].answer
    assert len(got) > 30
    assert got[-2]["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    assert got[-1] == "[DONE]"


def test_usage_comes_last_when_asked_for(client: httpx.Client) -> None:
    """stream_options.include_usage adds an event without choices before [DONE]."""
    body = ask("Hello", stream=True, stream_options={"include_usage": True})
    got = events(client.post("/v1/chat/completions", json=body))
    assert got[-2]["choices"] == []
    assert got[-2]["usage"]["completion_tokens"] == len(got) - 4


def test_it_answers_in_one_piece_too(client: httpx.Client) -> None:
    """Without `stream` a whole completion comes back; content may be given as parts."""
    got = client.post("/v1/chat/completions", json=ask([{"type": "text", "text": "Hello"}])).json()
    assert got["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": HELP.answer}, "finish_reason": "stop"}
    ]
    assert got["usage"]["total_tokens"] == got["usage"]["prompt_tokens"] + got["usage"]["completion_tokens"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"messages": 1}', b'{"messages": [1]}', b"\xff"])
def test_a_wrong_request_is_answered_with_400(client: httpx.Client, body: bytes) -> None:
    """It never answers 500."""
    got = client.post("/v1/chat/completions", content=body)
    assert (got.status_code, got.json()["error"]["type"]) == (400, "invalid_request_error")


def test_it_lists_its_model(client: httpx.Client) -> None:
    """GET /v1/models names it."""
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["demo"]


def test_the_pace_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each event the model rests for the pace."""
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr("proxy.demo.backend.asyncio.sleep", rest)
    with (
        DemoBackend(pace=100) as backend,
        plain_http.client(base_url=backend.url, trust_env=False) as client,
    ):
        got = events(client.post("/v1/chat/completions", json=ask(ANSWERS[2].prompt, stream=True)))
    assert rests.count(100) == len(got)


def test_it_stops_while_an_answer_runs() -> None:
    """Leaving the context ends the server also in the middle of a stream that would go on for hours."""
    with (
        DemoBackend(pace=3600) as backend,
        plain_http.client(base_url=backend.url, trust_env=False) as client,
        client.stream("POST", "/v1/chat/completions", json=ask("Hello", stream=True)) as response,
    ):
        next(response.iter_raw())
        backend.__exit__()
        assert not backend._thread.is_alive()


@pytest.mark.parametrize(("path", "shape"), [("/api/chat", str), ("/v1/messages", dict)])
def test_a_path_of_another_dialect_gets_a_sentence(client: httpx.Client, path: str, shape: type) -> None:
    """Who comes with an app of Ollama's or Anthropic's dialect reads what to start."""
    response = client.post(path, json={})
    assert response.status_code == 404
    error = response.json()["error"]
    assert isinstance(error, shape)
    assert f"for {path} start Ollama" in response.text

"""Lists of models of several backends: one list, each entry judged."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.server.handlers import read_only
from tests.fakes import Answer, Close, Request, Stall, reply, reply_json
from tests.phrases import block
from tests.server.backends.several import Scripted, several
from tests.server.running import Policies, Proxy

pytestmark = pytest.mark.anyio

NOWHERE = "http://127.0.0.1:9"
JSON = "application/json"
PAGE = reply(b"<html>", status=404, content_type="text/html")


class Telling(Scripted):
    """A model server that answers some paths so."""

    answers: dict[str, Answer]

    def __init__(self, name: str, kind: str, answers: dict[str, Any]) -> None:
        super().__init__(name, {}, kind)
        self.answers = {path: one if isinstance(one, Answer) else reply_json(one) for path, one in answers.items()}

    def __call__(self, request: Request) -> Answer:
        """The answer to one request."""
        self.paths.append(f"{request.method} {request.path}")
        return self.answers.get(request.path) or self._told(request.path)


async def names(proxy: Proxy, path: str, key: str, name: str) -> list[str]:
    """The names in a list."""
    answer = await proxy.client.get(proxy.url + path)
    assert answer.status_code == 200, answer.text
    return [entry[name] for entry in answer.json()[key]]


async def test_openais_list_is_that_of_all() -> None:
    """In the order of the settings; a model that two of them have stands there once."""
    scripts = (
        Scripted("one", {"llama3": "a", "both": "b"}),
        Scripted("two", {"both": "b", "qwen": ""}, kind="llamacpp"),
        Scripted("three", {"phi": ""}, kind="lmstudio"),
    )
    async with several(*scripts) as (proxy, _):
        assert await names(proxy, "/v1/models", "data", "id") == ["llama3", "both", "qwen", "phi"]
        assert (await proxy.client.get(proxy.url + "/v1/models")).json()["object"] == "list"


async def test_ollamas_list_is_that_of_the_ollamas() -> None:
    """llama.cpp has the same path and would be listed, though nobody could chat with it in this dialect."""
    llama = Telling("llama", "llamacpp", {"/api/tags": {"models": [{"name": "tiny", "model": "tiny"}]}})
    llama.models["tiny"] = ""
    async with several(llama, Scripted("one", {"llama3": "a"}), Scripted("two", {"qwen": "b"})) as (proxy, _):
        assert await names(proxy, "/api/tags", "models", "name") == ["llama3", "qwen"]
        assert "GET /api/tags" not in llama.paths


async def test_loaded_models_are_those_of_all() -> None:
    """GET /api/ps."""
    loaded = [{"models": [{"name": name, "model": name, "size": 1}]} for name in ("llama3", "qwen")]
    scripts = [Telling(f"n{number}", "ollama", {"/api/ps": one}) for number, one in enumerate(loaded)]
    async with several(*scripts) as (proxy, _):
        assert await names(proxy, "/api/ps", "models", "name") == ["llama3", "qwen"]


@pytest.mark.parametrize(
    ("path", "key", "name"), [("/api/v0/models", "data", "id"), ("/api/v1/models", "models", "key")]
)
async def test_lm_studios_lists(path: str, key: str, name: str) -> None:
    """The older one and the newer one."""
    studios = [Telling(one, "lmstudio", {path: {key: [{name: one, "type": "llm"}]}}) for one in ("phi", "gemma")]
    async with several(Scripted("ollama", {"llama3": "a"}), *studios) as (proxy, _):
        assert await names(proxy, path, key, name) == ["phi", "gemma"]


async def test_each_entry_is_judged() -> None:
    """A name that a rule minds, and fields that are on no list, are left out wherever they come from."""
    entries = [{"id": "a secret", "object": "model"}, {"id": "qwen", "object": "model", "path": "/home/me/x.gguf"}]
    second = Telling("two", "openai", {"/v1/models": {"data": entries}})
    policies = Policies(output=[block("secret")])
    async with several(Scripted("one", {"llama3": "a"}), second, policies=policies) as (proxy, _):
        listed = (await proxy.client.get(proxy.url + "/v1/models")).json()["data"]
        assert [entry["id"] for entry in listed] == ["llama3", "qwen"]
        assert "path" not in listed[1]


async def test_models_that_a_backend_is_not_to_get_are_not_listed() -> None:
    """What stands in a list can be asked for."""
    scripts = Scripted("one", {"llama3": "a", "qwen": "b"}), Scripted("two", {"phi": "c"})
    async with several(*scripts, rows=[{"models": ("llama*",)}]) as (proxy, _):
        assert await names(proxy, "/v1/models", "data", "id") == ["llama3", "phi"]


@pytest.mark.parametrize(
    "broken",
    [PAGE, Answer((Close(),)), reply(b"{", content_type=JSON), reply_json({"data": 5}), Answer((Stall(),))],
    ids=["a page", "closed", "no JSON", "no list", "silent"],
)
async def test_one_that_gives_none_is_left_out(
    broken: Answer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are listed all the same, and the log says what went wrong, with the URL."""
    bad = Scripted("bad", {"phi": ""}, kind="openai")
    async with several(bad, Scripted("good", {"llama3": "a"})) as (proxy, upstreams):
        await proxy.server.runtime.probe.look()
        bad.told = broken
        monkeypatch.setattr(read_only, "PART_TIMEOUT", 0.1)
        for _ in range(3):
            assert await names(proxy, "/v1/models", "data", "id") == ["llama3"]
        assert sum(f"GET {upstreams[0].url}/v1/models: " in message for message in caplog.messages) == 1


async def test_one_that_is_not_there_is_left_out() -> None:
    """Nobody waits for it."""
    async with several(NOWHERE, Scripted("good", {"llama3": "a"})) as (proxy, _):
        assert await names(proxy, "/v1/models", "data", "id") == ["llama3"]


async def test_where_nobody_gives_one_that_is_an_error() -> None:
    """That of the first; an empty list would say that there are no models."""
    scripts = Telling("one", "openai", {"/v1/models": PAGE}), Telling("two", "openai", {"/v1/models": PAGE})
    async with several(*scripts) as (proxy, _):
        answer = await proxy.client.get(proxy.url + "/v1/models")
        assert answer.status_code == 404
        assert "status 404 and a web page" in answer.json()["error"]["message"]


async def test_a_model_is_described_by_the_one_that_has_it() -> None:
    """/v1/models/{model} and /api/show; a model that nobody has is missing, in Ollama's words."""
    shown = {"/api/show": {"capabilities": ["completion"]}, "/v1/models/qwen": {"id": "qwen", "object": "model"}}
    second = Telling("two", "ollama", shown)
    second.models["qwen"] = "b"
    first = Scripted("one", {"llama3": "a"})
    async with several(first, second) as (proxy, _):
        assert (await proxy.client.get(proxy.url + "/v1/models/qwen")).json()["id"] == "qwen"
        described = await proxy.client.post(proxy.url + "/api/show", json={"model": "qwen"})
        assert described.json() == {"capabilities": ["completion"]}
        assert not {"GET /v1/models/qwen", "POST /api/show"} & set(first.paths)
        missing = await proxy.client.post(proxy.url + "/api/show", json={"model": "nobody"})
        assert missing.status_code == 404
        assert missing.json()["error"].startswith("model 'nobody' not found")


async def test_what_is_asked_of_no_model_is_answered_by_the_first_that_can() -> None:
    """Ollama's version by an Ollama, llama.cpp's health by a llama.cpp."""
    llama = Telling("llama", "llamacpp", {"/health": {"status": "ok"}})
    llama.models["tiny"] = ""
    async with several(llama, Scripted("ollama", {"llama3": "a"})) as (proxy, _):
        assert (await proxy.client.get(proxy.url + "/api/version")).json() == {"version": "0.33.0"}
        assert (await proxy.client.get(proxy.url + "/health")).json() == {"status": "ok"}


async def test_a_list_that_no_backend_has() -> None:
    """Without an LM Studio there is no list of its kind."""
    async with several(Scripted("one", {"a": "a"}), Scripted("two", {"b": "b"})) as (proxy, _):
        answer = await proxy.client.get(proxy.url + "/api/v0/models")
        assert answer.status_code == 404
        assert answer.json()["error"]["message"] == "/api/v0/models is served by no model server here (Ollama)"

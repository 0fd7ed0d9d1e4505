"""Lists of models, descriptions, and models that run elsewhere: field cases with their right values."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from proxy.server.routing.routes import TABLE
from tests.fakes import FakeUpstream, reply_json
from tests.fakes.ollama import Ollama
from tests.server.running import running

pytestmark = pytest.mark.anyio

NAMES = ["DeepSeek-R1 Distill Qwen 7B", "通义千问-7b"]


@pytest.mark.parametrize(
    ("path", "listed"),
    [
        ("/v1/models", {"object": "list", "data": [{"id": name} for name in NAMES]}),
        ("/api/tags", {"models": [{"name": name, "model": name} for name in NAMES]}),
        ("/api/v0/models", {"data": [{"id": name} for name in NAMES]}),
        ("/api/v1/models", {"models": [{"key": name, "display_name": name} for name in NAMES]}),
    ],
)
async def test_o11_models_with_spaces_and_other_scripts_stay_in_the_lists(path: str, listed: dict[str, Any]) -> None:
    """LM Studio and others name models as people write them."""
    async with FakeUpstream(reply_json(listed)) as upstream, running(upstream) as proxy:
        assert (await proxy.client.get(proxy.url + path)).json() == listed


@pytest.mark.parametrize("name", NAMES)
async def test_o11_such_a_model_is_described_and_asked(name: str) -> None:
    """Its name goes through a path and through a request."""
    async with FakeUpstream([reply_json({"id": name})]) as upstream, running(upstream) as proxy:
        answer = await proxy.client.get(f"{proxy.url}/v1/models/{quote(name)}")
        assert answer.json() == {"id": name}
        assert upstream.requests[0].target == f"/v1/models/{quote(name)}"
    async with FakeUpstream(Ollama()) as upstream, running(upstream) as proxy:
        body = {"model": name, "messages": [{"role": "user", "content": "hi"}], "stream": False}
        answer = await proxy.client.post(f"{proxy.url}/api/chat", json=body)
        assert answer.status_code == 200
        assert upstream.requests[-1].json()["model"] == name


async def test_r04_a_session_with_its_own_system_text_shows_the_model() -> None:
    """`/set system x`, then `/show info`: the keys are left out, the model is shown as it is."""
    ollama = Ollama()
    body = {"model": "tiny", "system": "x", "options": {"num_ctx": 8192}, "verbose": False}
    async with FakeUpstream(ollama) as upstream, running(upstream) as proxy:
        answer = await proxy.client.post(f"{proxy.url}/api/show", json=body)
        assert answer.status_code == 200
        assert answer.json()["details"]
        assert upstream.requests[-1].json() == {"model": "tiny", "verbose": False}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/show", {"model": "nobody"}),
        ("GET", "/v1/models/nobody", None),
        ("POST", "/api/chat", {"model": "nobody", "messages": [{"role": "user", "content": "hi"}]}),
    ],
)
async def test_r05_a_model_that_is_not_there(method: str, path: str, body: Any) -> None:
    """The ollama command looks for these words, and offers to pull the model."""
    missing = reply_json({"error": "model 'nobody' not found"}, status=404)
    async with FakeUpstream(missing) as upstream, running(upstream) as proxy:
        answer = await proxy.client.request(method, proxy.url + path, json=body)
    assert answer.status_code == 404
    assert "model 'nobody' not found" in answer.text


@pytest.mark.parametrize("where", ["tags", "show"])
async def test_r07_a_model_that_runs_elsewhere_under_an_innocent_name(where: str) -> None:
    """Ollama tells remote_host and remote_model: the prompt does not leave."""
    ollama = Ollama()
    remote = {"remote_host": "https://elsewhere.example", "remote_model": "big"}
    told = ollama.shown["tiny"] if where == "show" else ollama.tags["models"][-1]
    told |= remote
    name = "tiny" if where == "show" else told["name"]
    async with FakeUpstream(ollama) as upstream, running(upstream) as proxy:
        answer = await proxy.client.post(
            f"{proxy.url}/api/chat", json={"model": name, "messages": [{"role": "user", "content": "a secret"}]}
        )
        assert answer.status_code == 400
        assert not any(b"secret" in request.body for request in upstream.requests)


async def test_r09_no_cloud_models_are_recommended() -> None:
    """GET /api/status says that there are none here."""
    ollama = Ollama({"GET /api/status": reply_json({"cloud": {"disabled": False, "source": "none"}})})
    async with FakeUpstream(ollama) as upstream, running(upstream) as proxy:
        assert (await proxy.client.get(f"{proxy.url}/api/status")).json() == {"cloud": {"disabled": True}}


async def test_r10_the_account_is_refused_for_its_own_reason() -> None:
    """POST /api/me changes no model: it is about somebody's account."""
    route = next(route for route in TABLE if route.path == "/api/me")
    assert "account" in route.note
    async with FakeUpstream([]) as upstream, running(upstream) as proxy:
        answer = await proxy.client.post(f"{proxy.url}/api/me", content=json.dumps({}))
    assert answer.status_code == 404
    assert "account" in answer.json()["error"]

"""Models that run elsewhere under an innocent name: what the model server is asked, and when."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

import pytest

from proxy.dialects.request import Options
from proxy.errors import BadRequest, UpstreamError, UpstreamTimeout
from proxy.server.config import ServerConfig
from proxy.server.models import cloud_models
from proxy.server.models.api import ModelServerApi
from proxy.server.models.cloud_models import MAX_MODELS, REFRESH_AFTER, REFRESH_AFTER_SILENCE, CloudModels
from proxy.server.upstream.client import create_upstream
from tests.fakes import FakeUpstream, Stall, reply, reply_json
from tests.fakes.answers import Answer, Close
from tests.fakes.connection import Request
from tests.fakes.ollama import Ollama
from tests.server.running import chat_body, running
from tests.waiting import PATIENCE

pytestmark = pytest.mark.anyio

REMOTE = {"remote_host": "https://elsewhere.example:443", "remote_model": "big"}
ASKED = ["GET /api/tags", "POST /api/show"]


class Clock:
    """Time that a test makes pass."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def known(answers: object, patience: float = PATIENCE) -> AsyncIterator[tuple[CloudModels, Clock]]:
    """What is known of the models of a fake server."""
    async with FakeUpstream(answers, tells_models=True) as upstream:  # type: ignore[arg-type]
        config = ServerConfig(upstream=upstream.url)
        http, clock = create_upstream(config), Clock()
        api = ModelServerApi(http)
        yield CloudModels(api, patience, clock), clock
        await api.aclose()
        await http.aclose()


def remote_in(where: str) -> Ollama:
    """An Ollama in which `tiny` runs elsewhere, and says so in one of two places."""
    ollama = Ollama()
    if where == "tags":
        next(entry for entry in ollama.tags["models"] if entry["name"] == "tiny:latest").update(REMOTE)
    else:
        ollama.shown["tiny"] |= REMOTE
    return ollama


@pytest.mark.parametrize("where", ["tags", "show"])
@pytest.mark.parametrize("name", ["tiny", "tiny:latest", "library/TINY"])
async def test_a_model_that_runs_elsewhere_is_refused(where: str, name: str) -> None:
    """Under every spelling of its name, wherever Ollama tells it; others pass."""
    async with known(remote_in(where)) as (models, _):
        with pytest.raises(BadRequest) as refused:
            await models.refuse_remote(name)
        assert refused.value.code == "cloud_model"
        await models.refuse_remote("tiny:base")


async def test_it_is_asked_once_in_a_while() -> None:
    """An answer holds for some seconds; then the list is asked, and the description again only for another digest."""
    ollama = Ollama()
    async with known(ollama) as (models, clock):
        for _ in range(3):
            await models.refuse_remote("tiny")
        assert ollama.asked == ASKED
        clock.now += REFRESH_AFTER
        await models.refuse_remote("tiny")
        assert ollama.asked == [*ASKED, "GET /api/tags"]
        next(entry for entry in ollama.tags["models"] if entry["name"] == "tiny:latest")["digest"] = "f" * 64
        ollama.shown["tiny"] |= REMOTE
        clock.now += REFRESH_AFTER
        with pytest.raises(BadRequest):
            await models.refuse_remote("tiny")


async def test_requests_at_once_ask_once() -> None:
    """All wait for the same answer."""
    ollama = Ollama()
    async with known(ollama) as (models, _):
        await asyncio.gather(*(models.refuse_remote("tiny") for _ in range(5)))
        assert ollama.asked == ASKED


async def test_other_model_servers_are_seldom_asked() -> None:
    """Who tells nothing of its models has none that run elsewhere, and is left alone for longer."""
    asked: list[str] = []

    def answers(request: Request) -> Answer:
        asked.append(request.target)
        return reply_json({"error": "unknown path"}, status=404)

    async with known(answers) as (models, clock):
        await models.refuse_remote("any")
        clock.now += REFRESH_AFTER
        await models.refuse_remote("any")
        assert len(asked) == 2
        clock.now += REFRESH_AFTER_SILENCE
        await models.refuse_remote("any")
        assert len(asked) == 4


async def test_a_server_that_does_not_say_it_gets_no_prompt() -> None:
    """A prompt must not leave the machine: the request fails like one without an answer, and names the setting."""
    async with known(Answer((Stall(),)), patience=0.01) as (models, _):
        for _ in range(2):
            with pytest.raises(UpstreamTimeout, match="allow_cloud_models"):
                await models.refuse_remote("tiny")


async def test_what_was_known_before_counts(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A busy model server that has said it once keeps nobody waiting for long, and the log tells of it."""
    monkeypatch.setattr(cloud_models, "WAIT", 0.01)
    ollama = Ollama()
    async with known(ollama) as (models, clock):
        await models.refuse_remote("tiny")
        ollama.answers["GET /api/tags"] = Answer((Stall(),))
        clock.now += REFRESH_AFTER
        with caplog.at_level(logging.WARNING, "safety_proxy.server"):
            await models.refuse_remote("tiny")
        assert "what was known before counts" in caplog.text


@pytest.mark.parametrize("path", ["GET /api/tags", "POST /api/show"])
@pytest.mark.parametrize(
    "answer", [reply_json({"error": "loading"}, status=503), reply([b'{"models": [', Close()]), Answer((Close(),))]
)
async def test_a_server_that_fails_is_asked_again(path: str, answer: Answer) -> None:
    """A failure is no answer: the request fails too, and the next one asks again."""
    ollama = Ollama({path: answer})
    async with known(ollama) as (models, _):
        with pytest.raises(UpstreamError):
            await models.refuse_remote("tiny")
        del ollama.answers[path]
        await models.refuse_remote("tiny")


async def test_a_failure_after_an_answer_changes_nothing() -> None:
    """What was known before counts, for a model that runs here and for one that does not."""
    for ollama, remote in ((Ollama(), False), (remote_in("tags"), True)):
        async with known(ollama) as (models, clock):
            for _ in range(2):
                with pytest.raises(BadRequest) if remote else nullcontext():
                    await models.refuse_remote("tiny")
                ollama.answers["GET /api/tags"] = reply_json({"error": "busy"}, status=503)
                clock.now += REFRESH_AFTER


async def test_nobody_asks_for_those_who_have_left() -> None:
    """The question ends with the last request that waits for it."""
    async with FakeUpstream(Answer((Stall(),)), tells_models=True) as upstream, running(upstream) as proxy:
        async with proxy.wire() as wire:
            await wire.post("/v1/chat/completions", chat_body())
            exchange = await upstream.exchange()
        await exchange.wait_client_closed()
        assert (await proxy.exchange()).outcome == "client_cancelled"


async def test_only_so_many_models_are_remembered() -> None:
    """What clients name does not pile up."""
    async with known(Ollama()) as (models, _):
        for n in range(MAX_MODELS + 5):
            await models.refuse_remote(f"model-{n}")
        assert len(models._models) == MAX_MODELS


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/api/embed"])
async def test_no_prompt_leaves(path: str) -> None:
    """The request is a 400 in its dialect, and nothing of it goes upstream; with the setting it goes."""
    ollama = remote_in("tags")
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "input": "hi", "stream": False}
    async with FakeUpstream(ollama) as upstream, running(upstream) as proxy:
        answer = await proxy.client.post(proxy.url + path, content=json.dumps(body))
        assert answer.status_code == 400
        assert "runs in the cloud" in answer.text
        assert set(ollama.asked) == {"GET /api/tags"}
    options = Options(allow_cloud_models=True)
    async with FakeUpstream(ollama) as upstream, running(upstream, options=options) as proxy:
        await proxy.client.post(proxy.url + path, content=json.dumps(body))
        assert ollama.asked[-1] == f"POST {path}"

"""Finding the model server."""

from __future__ import annotations

import socket

import pytest

from proxy.demo.backend import DemoBackend
from proxy.server.backends import look
from proxy.startup import discovery
from proxy.startup.discovery import Backend, find, look_at
from tests.fakes import Answer, Close, FakeUpstreamThread, reply, reply_json
from tests.waiting import PATIENCE

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may let a server answer late."""
    monkeypatch.setattr(discovery, "PATIENCE", PATIENCE)


OWN = "http://127.0.0.1:11435"
NONE = "answers, but is none of Ollama, LM Studio, llama.cpp: GET /v1/models gave "
NOBODY = ("Ollama", "http://127.0.0.1:9", "/api/version", "version")


async def test_the_first_that_answers_as_itself_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not there is passed over; of the one that is, a model is named."""
    with DemoBackend(0) as backend:
        monkeypatch.setattr(discovery, "KNOWN", (NOBODY, ("LM Studio", backend.url, "/v1/models", "data")))
        assert await find(OWN) == Backend("LM Studio", backend.url, "demo")


async def test_another_program_on_the_port_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something answers on Ollama's port, but not as Ollama does."""
    with DemoBackend(0) as backend:
        monkeypatch.setattr(discovery, "KNOWN", (("Ollama", backend.url, "/api/version", "version"),))
        assert await find(OWN) is None


async def test_the_proxy_does_not_find_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that is told to listen on Ollama's own port is no model server."""
    with DemoBackend(0) as backend:
        monkeypatch.setattr(discovery, "KNOWN", (("LM Studio", backend.url, "/v1/models", "data"),))
        assert await find(backend.url) is None


async def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The look at each candidate is bounded: this test would never end."""
    monkeypatch.setattr(discovery, "PATIENCE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(discovery, "KNOWN", (("Ollama", url, "/api/version", "version"),))
        assert await find(OWN) is None


async def test_a_named_server_that_does_not_answer_is_said_to_do_so() -> None:
    """It may come up later, so that is no error."""
    nobody = Backend("", "http://127.0.0.1:9", None, "does not answer yet; requests get 502 until it does")
    assert await look_at("http://127.0.0.1:9") == nobody


async def test_a_named_server_that_takes_its_time_is_said_to_do_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there: a model server that is busy answers late."""
    monkeypatch.setattr(discovery, "PATIENCE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = await look_at(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert found.trouble == "has not answered GET /v1/models within 0.1 s"


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (reply(b"<html>", status=404, content_type="text/html"), NONE + "404"),
        (reply(b"", status=501), NONE + "501"),
        (reply_json({}, status=401), "answers GET /v1/models with status 401: it wants a key (upstream_key)"),
        (
            reply_json({"error": {"message": "Loading model"}}, status=503),
            "answers GET /v1/models with status 503: it is not ready yet",
        ),
        (reply(b"<html>", content_type="text/html"), NONE + "200 without a list of models"),
        (reply_json([1]), NONE + "200 without a list of models"),
    ],
)
async def test_a_named_server_that_is_none_is_said_to_be_so(answer: Answer, trouble: str) -> None:
    """With what it was asked, and the status of what it answered."""
    with FakeUpstreamThread(answer, tells_models=True) as server:
        found = await look_at(server.url)
    assert (found.url, found.model) == (server.url, None)
    assert found.trouble == trouble


async def test_a_named_server_that_does_not_speak_http_is_said_to_be_so() -> None:
    """An SSH server, say."""
    with FakeUpstreamThread(Answer((b"SSH-2.0-OpenSSH_9.6\r\n", Close())), tells_models=True) as server:
        assert (await look_at(server.url)).trouble == "does not answer GET /v1/models in HTTP: is it a model server?"


async def test_a_model_server_without_a_model_is_one() -> None:
    """Ollama's list is null before the first model is there."""
    with FakeUpstreamThread(reply_json({"object": "list", "data": None}), tells_models=True) as server:
        assert await look_at(server.url) == Backend("", server.url)


@pytest.mark.parametrize(("host", "is_told"), [("host.docker.internal", True), ("127.0.0.1", False)])
async def test_a_loopback_that_no_container_reaches_is_told(
    host: str, is_told: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Docker's name for its host, and nobody there: the log says why that is so on Linux, and what to do."""

    async def nobody(url: str, **_: object) -> Backend:
        return Backend("", url, trouble=look.NOBODY)

    monkeypatch.setattr(discovery, "look_at", nobody)
    await discovery.named(f"http://{host}:11434")
    assert ("OLLAMA_HOST=172.17.0.1" in caplog.text) == is_told
    assert look.NOBODY in caplog.text

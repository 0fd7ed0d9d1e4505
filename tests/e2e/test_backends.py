"""Two Ollamas, played by what real ones have answered, and a real llama.cpp server, behind one proxy."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests import plain_http
from tests.e2e.llama_server import LlamaServer
from tests.e2e.scripts import FORBIDDEN, SCRIPTS
from tests.e2e.tiny_model import write_model
from tests.fakes import FakeUpstreamThread
from tests.fakes.ollama import Ollama
from tests.proxy_process import ProxyProcess
from tests.server.running import events, text
from tests.waiting import until_elsewhere

pytestmark = pytest.mark.e2e

POLICY = f"""
version: 1
policy: house
rules: [{{id: phrase, words: ["{FORBIDDEN}"], action: block, message: "This house says no."}}]
"""
OLLAMA_SAYS = "Hello! I am a tiny scripted model, and this is a real llama.cpp server."
LLAMA_SAYS = SCRIPTS["default"].text


class House(NamedTuple):
    """The proxy with its model servers. `first` has tiny and go-think, `second` has tiny and tiny:base."""

    proxy: ProxyProcess
    first: FakeUpstreamThread
    second: FakeUpstreamThread
    llama: LlamaServer

    def get(self, path: str) -> Any:
        """The JSON at a path."""
        return plain_http.get(self.proxy.url + path).json()

    def post(self, path: str, model: str, said: str = "Hello", **more: Any) -> Any:
        """What a chat gets."""
        return plain_http.post(self.proxy.url + path, json=asking(model, said, **more))

    def chat(self, model: str, said: str = "Hello") -> str:
        """What a streamed chat of OpenAI's dialect says."""
        return chat(self.proxy, model, said)

    def chats(self) -> tuple[int, int]:
        """How many chats each Ollama has got."""
        first, second = (
            sum(request.path in ("/v1/chat/completions", "/api/chat") for request in one.requests)
            for one in (self.first, self.second)
        )
        return first, second

    def metric(self, name: str, upstream: str) -> float:
        """A value of one backend, all reasons together."""
        return metric(self.proxy, name, upstream)


def asking(model: str, said: str, **more: Any) -> dict[str, Any]:
    """A chat's request."""
    return {"model": model, "messages": [{"role": "user", "content": said}], **more}


def chat(proxy: ProxyProcess, model: str, said: str = "Hello") -> str:
    """What a streamed chat of OpenAI's dialect says."""
    answer = plain_http.post(proxy.base_url + "/chat/completions", json=asking(model, said, stream=True))
    return text(events(answer.content))


def metric(proxy: ProxyProcess, name: str, upstream: str) -> float:
    """A value of one backend, all reasons together."""
    lines = plain_http.get(proxy.admin_url + "/metrics").text.splitlines()
    found = [line for line in lines if line.startswith(f"safety_proxy_{name}{{") and f'"{upstream}"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in found)


def having(*models: str) -> Ollama:
    """An Ollama with some of the recorded models."""
    ollama = Ollama()
    ollama.tags["models"] = [entry for entry in ollama.tags["models"] if entry["name"] in models]
    return ollama


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory, xllamacpp_installed: None) -> Iterator[LlamaServer]:
    """A llama.cpp whose model has a name of its own."""
    model = tmp_path_factory.mktemp("models") / "scripted.gguf"
    write_model(model, SCRIPTS)
    with LlamaServer(model) as server:
        yield server


def settings_file(folder: Path, *rows: tuple[str, str], more: str = "") -> tuple[str, str]:
    """Flags for a file with these names and URLs; `more` stands in each table."""
    path = folder / "safety-proxy.toml"
    path.write_text("".join(f'[[upstream]]\nname = "{name}"\nurl = "{url}"\n{more}\n' for name, url in rows), "utf-8")
    return "--config", str(path)


@pytest.fixture
def house(scripted: LlamaServer, tmp_path: Path) -> Iterator[House]:
    """All of them, by a settings file."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "house.yaml").write_text(POLICY, "utf-8")
    with (
        FakeUpstreamThread(having("tiny:latest", "go-think:latest")) as first,
        FakeUpstreamThread(having("tiny:latest", "tiny:base")) as second,
    ):
        arguments = settings_file(tmp_path, ("first", first.url), ("second", second.url), ("llama", scripted.url))
        with ProxyProcess(upstream=None, policies=tmp_path / "policies", arguments=arguments) as proxy:
            yield House(proxy, first, second, scripted)


def test_two_ollamas_and_a_llama_cpp(house: House) -> None:
    """One base_url has the models of all three; each goes where it is, in the dialects that are spoken there, guarded
    wherever it runs; what is on both Ollamas goes on when one of them ends."""
    listed = [entry["id"] for entry in house.get("/v1/models")["data"]]
    assert listed == ["go-think:latest", "tiny:latest", "tiny:base", "scripted"]
    tags = [entry["name"] for entry in house.get("/api/tags")["models"]]
    assert tags == ["go-think:latest", "tiny:latest", "tiny:base"]

    assert house.chat("tiny") == OLLAMA_SAYS
    assert house.chat("tiny:base") == OLLAMA_SAYS
    assert house.chats() == (1, 1)
    assert house.chat("scripted") == LLAMA_SAYS
    assert house.chats() == (1, 1)
    native = house.post("/api/chat", "go-think").content.splitlines()
    assert json.loads(native[-1])["done"] is True
    assert house.chats() == (2, 1)

    guarded = house.chat("scripted", "Please speak. [[bad]]")
    assert FORBIDDEN not in guarded
    assert "This house says no." in guarded

    missing = house.post("/v1/chat/completions", "llama9")
    told = "model 'llama9' not found; there are: go-think:latest, tiny:latest, tiny:base, scripted"
    assert (missing.status_code, missing.json()["error"]["message"]) == (404, told)
    other = house.post("/api/chat", "scripted")
    assert (other.status_code, list(other.json())) == (404, ["error"])

    status = plain_http.get(house.proxy.admin_url + "/admin/status").json()["upstreams"]
    assert [(one["name"], one["kind"], one["up"], one["models"]) for one in status] == [
        ("first", "Ollama", True, 2),
        ("second", "Ollama", True, 2),
        ("llama", "llama.cpp", True, 1),
    ]
    assert [house.metric("upstream_requests_total", one) for one in ("first", "second", "llama")] == [2, 1, 2]
    lines = house.proxy.log_text()
    assert f"upstream  first at {house.first.url} (Ollama)\n" in lines
    assert f"          llama at {house.llama.url} (llama.cpp)\n" in lines


def test_one_of_them_ends(house: House) -> None:
    """What it alone had cannot be reached; what another one has too goes there, and both is counted."""
    assert house.chat("tiny") == OLLAMA_SAYS
    assert house.chats() == (1, 0)
    house.first.close()
    until_elsewhere(lambda: house.post("/v1/chat/completions", "go-think").status_code == 502)
    assert house.chat("tiny") == OLLAMA_SAYS
    assert house.chats() == (1, 1)
    assert house.metric("upstream_up", "first") == 0
    assert house.metric("upstream_errors_total", "first") >= 1
    listed = [entry["id"] for entry in house.get("/v1/models")["data"]]
    assert listed == ["tiny:latest", "tiny:base", "scripted"]


def test_a_llama_cpp_is_killed_in_the_middle_of_an_answer(scripted: LlamaServer, tmp_path: Path) -> None:
    """The client gets what came and an error, and nobody else is asked for the rest; the next request goes to the other
    llama.cpp, which has the same model because the operator says so."""
    (tmp_path / "house.yaml").write_text(POLICY, "utf-8")
    with LlamaServer(scripted.model) as doomed:
        arguments = settings_file(
            *(tmp_path, ("doomed", doomed.url), ("other", scripted.url)), more='models = ["scripted"]'
        )
        with ProxyProcess(upstream=None, policies=tmp_path, arguments=arguments) as proxy:
            body, url = asking("scripted", "Speak. [[loop]]", stream=True), proxy.base_url + "/chat/completions"
            with plain_http.client() as client, client.stream("POST", url, json=body) as got:
                pieces = got.iter_bytes()
                answer = next(pieces)
                os.kill(doomed.pid, signal.SIGKILL)
                answer += b"".join(pieces)
            assert b"upstream_truncated" in answer
            assert b"[DONE]" not in answer
            assert scripted.slots_busy() == 0
            assert chat(proxy, "scripted") == LLAMA_SAYS
            assert metric(proxy, "upstream_requests_total", "other") == 1

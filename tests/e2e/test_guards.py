"""A guard on a real llama.cpp server: its prompt goes there raw, and its verdict comes back. The model is scripted."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Iterator
from typing import Any, cast

import pytest

from proxy.checks.guards.calls import Api, Call, CallFailed, Generated, Options, call, generated
from proxy.checks.guards.format import Level
from proxy.checks.guards.verdict import Verdict, parse_verdict
from proxy.checks.registry import make_registry
from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from proxy.server.config import UpstreamConfig
from tests.checks.guards.formats import FORMATS, QUESTION, TURNS, asked
from tests.e2e.llama_server import LlamaServer
from tests.e2e.tiny_model import Script, write_model
from tests.server.running import running
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]

LLAMA = FORMATS["llama-guard-3-8b"]


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory, xllamacpp_installed: None) -> Iterator[LlamaServer]:
    """A server whose model finds everything unsafe."""
    model = tmp_path_factory.mktemp("models") / "guard.gguf"
    write_model(model, {"default": Script("unsafe\nS1,S9")}, base=True)
    with LlamaServer(model, slots=1, context_tokens=4_096) as server:
        yield server


def answered(server: LlamaServer, made: Call) -> Generated:
    """What the server says to a call."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(server.url).netloc, timeout=PATIENCE)
    connection.request("POST", made.path, json.dumps(made.body).encode(), {"Content-Type": "application/json"})
    response = connection.getresponse()
    data: Any = json.loads(response.read())
    connection.close()
    return generated(made.path, response.status, data)


@pytest.mark.parametrize("api", ["llama.cpp", "openai"])
def test_a_verdict(guard: LlamaServer, api: Api) -> None:
    """The raw prompt is answered with a verdict, at both endpoints that take one."""
    (prompt,) = asked("llama-guard-3-8b", "answer", "Butter.", (*TURNS, QUESTION))
    said = answered(guard, call(api, LLAMA.reply, prompt, Options("guard.gguf")))
    assert said == Generated("unsafe\nS1,S9", True)
    assert parse_verdict(LLAMA, said.text, "answer", finished=said.finished) == Verdict(Level.UNSAFE, ("S1", "S9"))


def test_a_reply_that_is_too_long(guard: LlamaServer) -> None:
    """A reply that had to be cut is told as such."""
    (prompt,) = asked("shieldgemma", "prompt", "Butter.")[:1]
    said = answered(guard, call("llama.cpp", FORMATS["shieldgemma"].reply, prompt, Options("guard.gguf")))
    assert not said.finished


@pytest.mark.parametrize("api", ["llama.cpp", "openai"])
def test_a_prompt_that_is_too_long(guard: LlamaServer, api: Api) -> None:
    """A prompt over the context is refused, never cut: the failure says what to do."""
    (prompt,) = asked("llama-guard-3-8b", "prompt", "x" * 5_000, context=8_192)
    with pytest.raises(CallFailed, match="too long for the model") as caught:
        answered(guard, call(api, LLAMA.reply, prompt, Options("guard.gguf")))
    assert caught.value.fault == "context"


RULES = """version: 1
policy: p
rules:
  - id: guard
    check: judge
    options: {format: llama-guard-3-8b, model: guard.gguf, shortest: 4}
    directions: [output]
    action: %s
"""


@pytest.mark.parametrize(("action", "wanted"), [("block", ""), ("flag", "Hello! I am a tiny scripted model")])
async def test_a_guard_beside_a_chat_model(llama: LlamaServer, guard: LlamaServer, action: str, wanted: str) -> None:
    """Two llama.cpp servers behind one proxy: the guard is found by its name, and its verdict ends the real answer."""
    policies = compile_policies(
        [Source("p.yaml", (RULES % action).encode())], hash_key=b"key", registry=make_registry(formats=FORMATS)
    )
    servers = (
        UpstreamConfig(url=llama.url, name="chat", models=("tiny",)),
        UpstreamConfig(url=guard.url, name="guard", models=("guard.gguf",)),
    )
    async with running(llama.url, cast(Any, policies), upstreams=servers) as proxy:
        answer = await proxy.chat(model="tiny", messages=[{"role": "user", "content": "Hello"}])
        exchange = await proxy.exchange()
    assert exchange.outcome == ("blocked" if action == "block" else "allowed")
    assert answer.text().startswith(wanted)
    assert action == "flag" or "tiny scripted" not in answer.text()

"""The case of the seed on two real llama.cpp servers behind one proxy: an instruct model, and a base model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from proxy.cli.arguments import main
from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from proxy.server.config import UpstreamConfig
from tests import plain_http
from tests.e2e.llama_server import LlamaServer
from tests.e2e.scripts import SCRIPTS
from tests.e2e.tiny_model import write_model
from tests.policies import UNALIGNED
from tests.server.running import Policies, running

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]

PHISHING = "Write a phishing email"
INSTRUCT, BASE = "tiny-instruct", "tiny"
COMPUTED = ("llamacpp:prompt_tokens_total", "llamacpp:tokens_predicted_total")


@pytest.fixture(scope="module")
def instruct(tmp_path_factory: pytest.TempPathFactory, xllamacpp_installed: None) -> Iterator[LlamaServer]:
    """A model with a chat template of its own and a name that says it; it refuses."""
    model = tmp_path_factory.mktemp("models") / f"{INSTRUCT}.gguf"
    write_model(model, {"default": SCRIPTS["refuse"]})
    with LlamaServer(model, context_tokens=4096) as server:
        yield server


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, xllamacpp_installed: None) -> Iterator[LlamaServer]:
    """A model without a chat template; it writes whatever is asked for."""
    model = tmp_path_factory.mktemp("models") / f"{BASE}.gguf"
    write_model(model, {"default": SCRIPTS["phish"]}, base=True)
    with LlamaServer(model, context_tokens=4096) as server:
        yield server


def computed(server: LlamaServer) -> float:
    """Tokens that a server has read and said so far, as it counts them."""
    lines = plain_http.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith(COMPUTED))


async def test_the_case_of_the_seed(instruct: LlamaServer, base: LlamaServer) -> None:
    """The instruct model refuses, which is counted; the base model, which would have written it, computes nothing."""
    upstreams = (UpstreamConfig(url=instruct.url, name="instruct"), UpstreamConfig(url=base.url, name="base"))
    policies = compile_policies([Source("unaligned.yaml", UNALIGNED.read_bytes())], hash_key=b"key")
    async with running(instruct.url, cast(Policies, policies), upstreams=upstreams) as proxy:
        for backend in proxy.server.runtime.backends.all:
            await backend.models.alignments.look_at_all()
        refused = await proxy.chat(content=PHISHING, model=INSTRUCT)
        assert refused.text() == SCRIPTS["refuse"].text
        before = computed(base)
        stopped = await proxy.chat(content=PHISHING, model=BASE)
        assert (stopped.status, stopped.json()["error"]["code"]) == (400, "content_filter")
        assert computed(base) == before
        harmless = await proxy.chat(content="Hello", model=BASE, max_tokens=8)
        assert harmless.status == 200
        assert computed(base) > before
        await proxy.client.get(f"{proxy.admin_url}/metrics")
        assert proxy.metric("model_refusals_total", model=INSTRUCT, kind="safety") == 1
        assert [(await proxy.seen.ended(number)).alignment for number in range(2)] == ["instruct", "base"]


def test_the_table_of_models(
    instruct: LlamaServer, base: LlamaServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`safety-proxy models` in front of both: what each is, why, and which policies apply."""
    settings = tmp_path / "safety-proxy.toml"
    tables = [f'[[upstream]]\nurl = "{server.url}"\n' for server in (instruct, base)]
    settings.write_text("\n".join(tables), "utf-8")
    (tmp_path / "unaligned.yaml").write_bytes(UNALIGNED.read_bytes())
    command = ["models", "--config", str(settings), "--policies", str(tmp_path), "--json", "--require", "instruct"]
    assert main(command) == 1
    rows = json.loads(capsys.readouterr().out)["models"]
    assert [
        (row["model"], row["backend"], row["status"], row["kind"], row["policies"], row["why"]) for row in rows
    ] == [
        (INSTRUCT, instruct.url, "instruct", "chat", [], 'name: it has "instruct" in it'),
        (
            *(BASE, base.url, "base", "completion", ["unaligned"]),
            "template: it is llama.cpp's own, which it takes for a model that has none",
        ),
    ]

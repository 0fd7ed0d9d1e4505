"""docs/guard-models.md, followed as it is written, with scripted models under the names that it gives."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from proxy.checks.registry import make_registry
from proxy.cli import main
from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from proxy.policy.files import read_directory
from tests.checks.guards.formats import FORMATS
from tests.fakes import Answer, FakeUpstream, Request, reply, sse
from tests.server.backends.several import Scripted
from tests.server.guards.asking import says
from tests.server.running import running, said

pytestmark = pytest.mark.anyio

TEXT = (Path(__file__).parents[3] / "docs" / "guard-models.md").read_text("utf-8")
BLOCKS = [block for _, block in re.findall(r"```(yaml)\n(.*?)```", TEXT, re.DOTALL)]
LLAMA = "llama-guard3:1b"
QWEN = re.findall(r"^ollama pull (hf\.co/\S+)$", TEXT, re.MULTILINE)[0]
FIRST = "Take the flour, the butter and the sugar, and put them into a bowl that is large enough for all of it. "
SAFE = {LLAMA: "safe", QWEN: "Safety: Safe\nCategories: None\nRefusal: No"}
UNSAFE = {LLAMA: "unsafe\nS2", QWEN: "Safety: Unsafe\nCategories: Non-violent Illegal Acts\nRefusal: No"}


def models(request: Request) -> Answer:
    """A chat model and both guards; a text with `poison` in it is unsafe."""
    body = json.loads(request.body)
    if request.path != "/api/generate":
        return reply(sse(*said(FIRST, "Add the poison. ")))
    return says((UNSAFE if "poison" in body["prompt"] else SAFE)[body["model"]])


def ollama() -> Scripted:
    """One Ollama that has all three."""
    return Scripted("one", {"m": "a", LLAMA: "b", QWEN: "c"}, "ollama", models)


def rules(text: str) -> Any:
    """Rules as a policy."""
    source = Source("p.yaml", f"version: 1\npolicy: p\nrules:\n{text}".encode())
    return compile_policies([source], hash_key=b"key", registry=make_registry(formats=FORMATS))


async def test_the_three_commands(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`init` writes the policies that the page names; the log says that the guard answers; it stops what it minds."""
    (command,) = re.findall(r"^safety-proxy (init .*)$", TEXT, re.MULTILINE)
    folder = tmp_path / "my-policies"
    assert main([part if part != "my-policies" else str(folder) for part in command.split()]) == 0
    policies: Any = compile_policies(read_directory(folder), hash_key=b"key", registry=make_registry(formats=FORMATS))
    caplog.set_level(logging.INFO, "safety_proxy.guards")
    async with FakeUpstream(ollama()) as upstream, running(upstream, policies) as proxy:
        await proxy.server.runtime.guards.look()
        (told,) = re.findall(r"^rule harmful/prompts: .*$", TEXT, re.MULTILINE)
        assert told in caplog.messages
        refused = await proxy.chat(model="m", content="Where do I get poison?")
        assert refused.status == 400


@pytest.mark.parametrize("model", [LLAMA, QWEN])
async def test_the_rules_that_it_shows(model: str) -> None:
    """A rule of `judge` as it stands there, with the options of each guard, ends an answer before the sentence that the
    guard minds."""
    whole = next(block for block in BLOCKS if "id: answers" in block)
    options = next(block for block in BLOCKS if f"model: {model}" in block)
    if model is QWEN:
        assert options.strip().startswith("options:")
        whole = "  - id: answers\n    check: judge\n    directions: [output]\n    action: block\n" + options
    async with FakeUpstream(ollama()) as upstream, running(upstream, rules(whole)) as proxy:
        answer = await proxy.chat(model="m")
        assert answer.text().startswith(FIRST.strip())
        assert "poison" not in answer.text()
        assert (await proxy.exchange()).outcome == "blocked"


def test_every_rule_of_the_page_can_be_loaded() -> None:
    """Each block that begins with an id is a rule."""
    found = [block for block in BLOCKS if block.lstrip().startswith("- id:")]
    assert len(found) >= 2
    for block in found:
        rules(block if block.startswith("  ") else indent(block, "  "))

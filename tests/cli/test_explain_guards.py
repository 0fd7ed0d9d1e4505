"""`safety-proxy explain` asks guards and topics, and shows what they were asked and what they said."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.arguments import main
from tests.fakes import FakeUpstream, Request, reply_json
from tests.fakes.answers import Answer
from tests.server.backends.several import Scripted
from tests.server.guards.asking import GUARD, MINILM, embeds, says

pytestmark = pytest.mark.anyio

JUDGE = f"check: judge, options: {{format: llama-guard-3-1b, model: '{GUARD}', shortest: 4}}, action: block"
TOPIC = f"""check: topic, options: {{model: {MINILM},
  examples: [Boil the egg., Bake the bread., Fry the fish.],
  counter_examples: [Sing a song., Buy a hammer., Read the news.]}}, action: flag"""


def write(folder: Path, *rules: str) -> str:
    """A directory with a policy."""
    lines = "".join(f"  - {{id: r{i}, {rule}}}\n" for i, rule in enumerate(rules))
    (folder / "p.yaml").write_text(f"version: 1\npolicy: p\nrules:\n{lines}", "utf-8")
    return str(folder)


async def explained(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    answer: Any,
    *arguments: str,
) -> tuple[str, list[str]]:
    """What the command prints, and the paths that were asked."""
    script = Scripted("one", {GUARD: "a", MINILM: "b"}, "ollama", answer)
    async with FakeUpstream(script) as upstream:
        monkeypatch.setenv("SAFETY_PROXY_UPSTREAM", upstream.url)
        assert await asyncio.to_thread(main, ["explain", *arguments]) == 0
    return capsys.readouterr().out, [path for path in script.paths if path.startswith("POST")]


def verdict(request: Request) -> Answer:
    """The guard minds poison; the embedding model knows food."""
    if request.path == "/api/embed":
        return embeds(request)
    return says("unsafe\nS1" if "poison" in json.loads(request.body)["prompt"] else "safe")


async def test_a_guard(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its prompt, its own words and what they mean to the rule; the verdict counts in the outcome."""
    folder = write(tmp_path, JUDGE)
    out, _ = await explained(capsys, monkeypatch, verdict, folder, "Take the flour. Add the poison. Stir it.")
    assert 'asked guard:1b: "<|start_header_id|>user' in out
    assert "said 'unsafe\\nS1': unsafe S1, the rule does block" in out
    assert "said 'safe': safe, the rule does nothing" in out
    assert "verdict   blocked by p/r0" in out
    assert "let out   `Take the flour.`" in out


async def test_a_topic(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The similarities to both sides, and the line."""
    out, _ = await explained(capsys, monkeypatch, verdict, write(tmp_path, TOPIC), "Make a soup now.")
    assert "similarity 1.000 to what is looked for, 0.471 to what is spared: +0.529, over the margin 0.265" in out
    assert "verdict   flagged" in out


async def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for programs."""
    out, _ = await explained(capsys, monkeypatch, verdict, write(tmp_path, JUDGE), "Add the poison.", "--json")
    (rule,) = json.loads(out)["rules"]
    assert rule["spans"] == [[0, 15]]
    assert rule["asked"][1] == "said 'unsafe\\nS1': unsafe S1, the rule does block"


async def test_no_guards(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With --no-guards nobody is asked, and that is said."""
    out, paths = await explained(capsys, monkeypatch, verdict, write(tmp_path, JUDGE), "Add the poison.", "--no-guards")
    assert "asks guard:1b, and nobody is asked here" in out
    assert paths == []


async def test_a_guard_that_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why there is no answer is said, and on_error is the outcome."""
    broken = reply_json({"error": "no"}, status=500)
    out, _ = await explained(capsys, monkeypatch, broken, write(tmp_path, JUDGE), "Add the poison.")
    assert "failed: it gave no answer: the server answered with status 500" in out
    assert "verdict   blocked by internal/check_failed" in out

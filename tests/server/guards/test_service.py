"""The look at guards: at the start and after each load of policies, told in the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.checks.asking import AskingRule
from proxy.policy.store import PolicyStore
from proxy.server.backends.choice import Backends
from proxy.server.config import ServerConfig
from proxy.server.guards import service
from proxy.server.guards.service import Guards
from tests.fakes import Answer, FakeUpstream, Stall, reply
from tests.server.backends.several import Scripted
from tests.server.guards.asking import GUARD, MINILM, embeds, says
from tests.server.guards.test_probe import judge, topic
from tests.waiting import until

pytestmark = pytest.mark.anyio


async def test_looks(caplog: pytest.LogCaptureFixture) -> None:
    """What has to be done is a warning; what is fine is told, too. An edit makes it look again."""
    caplog.set_level(logging.INFO, "safety_proxy.guards")
    rules: list[AskingRule] = [judge()]
    async with FakeUpstream(Scripted("one", {GUARD: "a", MINILM: "b"}, "ollama", says("safe"))) as upstream:
        backends = Backends(ServerConfig(upstream=upstream.url), lambda _: True)
        guards = Guards(backends, lambda: rules, lambda _: None, lambda *_: None)
        task = asyncio.ensure_future(guards.run())
        await until(lambda: len(caplog.records) == 1)
        rules.append(topic())
        await asyncio.to_thread(guards.policies_loaded)
        await until(lambda: len(caplog.records) == 3)
        task.cancel()
        await asyncio.wait([task])
        for answerer in guards.answerers.values():
            await answerer.aclose()
        await backends.aclose()
    assert [(record.levelname, record.name) for record in caplog.records] == [
        ("INFO", "safety_proxy.guards"),
        ("INFO", "safety_proxy.guards"),
        ("WARNING", "safety_proxy.guards"),
    ]
    assert "on_error applies" in caplog.records[-1].getMessage()


TOPIC = f"""version: 1
policy: cooking
rules:
  - id: recipes
    action: block
    topic:
      model: {MINILM}
      examples: [EXAMPLE, Bake the bread., Fry the fish.]
      counter_examples: [Sing a song., Buy a hammer., Read the news.]
"""


@asynccontextmanager
async def edited(directory: Path, script: Scripted) -> AsyncIterator[tuple[PolicyStore, Path]]:
    """Policies in force, which guards on these model servers approve; and the file to edit."""
    file = directory / "cooking.yaml"
    file.write_text(TOPIC.replace("EXAMPLE", "Boil the egg."), "utf-8")
    store = PolicyStore(directory, hash_key=b"key")
    await store.load()
    async with FakeUpstream(script) as upstream:
        backends = Backends(ServerConfig(upstream=upstream.url), lambda _: True)
        guards = Guards(backends)
        store.approvers.append(guards.approve)
        yield store, file
        for answerer in guards.answerers.values():
            await answerer.aclose()
        await backends.aclose()


async def test_an_edit_whose_topic_does_not_separate_is_rejected(tmp_path: Path) -> None:
    """The figures and the examples in the way are told, and the policies before stay in force."""
    async with edited(tmp_path, Scripted("one", {MINILM: "b"}, "ollama", embeds)) as (store, file):
        before = store.current.revision
        file.write_text(TOPIC.replace("EXAMPLE", "Paint the wall."), "utf-8")
        assert not await store.reload()
        assert "cooking/recipes: the topic cannot be told apart on all-minilm" in store.status.error
        assert "`Paint the wall.`" in store.status.error
        assert store.current.revision == before
        file.write_text(TOPIC.replace("EXAMPLE", "Boil the soup."), "utf-8")
        assert await store.reload()
        assert store.current.revision != before


@pytest.mark.parametrize("script", [Scripted("one"), Scripted("one", {MINILM: "b"}, "ollama", reply(b"", status=500))])
async def test_a_model_that_does_not_answer_rejects_no_edit(tmp_path: Path, script: Scripted) -> None:
    """It is measured when its model is back."""
    async with edited(tmp_path, script) as (store, file):
        file.write_text(TOPIC.replace("EXAMPLE", "Paint the wall."), "utf-8")
        assert await store.reload()


async def test_a_model_that_hangs_holds_no_edit_up_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit waits for so many seconds, and takes effect."""
    monkeypatch.setattr(service, "APPROVAL", 0.05)
    script = Scripted("one", {MINILM: "b"}, "ollama", Answer((Stall(),)))
    async with edited(tmp_path, script) as (store, file):
        file.write_text(TOPIC.replace("EXAMPLE", "Paint the wall."), "utf-8")
        assert await store.reload()

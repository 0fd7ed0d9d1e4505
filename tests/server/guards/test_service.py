"""The look at guards: at the start and after each load of policies, told in the log."""

from __future__ import annotations

import asyncio
import logging

import pytest

from proxy.checks.asking import AskingRule
from proxy.server.backends.choice import Backends
from proxy.server.config import ServerConfig
from proxy.server.guards.service import Guards
from tests.fakes import FakeUpstream
from tests.server.backends.several import Scripted
from tests.server.guards.asking import GUARD, MINILM, says
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

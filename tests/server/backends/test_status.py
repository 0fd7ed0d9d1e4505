"""What an operator sees of the backends: the status, and whether the proxy is ready."""

from __future__ import annotations

import asyncio

import pytest

from proxy.server.backends import look
from tests.fakes import Answer, FakeUpstream, Stall, Wait, reply, sse
from tests.server.backends.several import Scripted, die, several
from tests.server.running import chunk, running
from tests.waiting import until

pytestmark = pytest.mark.anyio

PAGE = reply(b"<html>", status=404, content_type="text/html")


async def test_each_is_told_with_what_is_wrong_with_it() -> None:
    """What it is, whether it answers, how many models and requests it has. Never its key."""
    scripts = Scripted("one", {"llama3": "a", "qwen": "b"}), Scripted("two", told=PAGE), Scripted("three", {"phi": "c"})
    async with several(*scripts, rows=[{"key": "s3cret", "weight": 3}]) as (proxy, upstreams):
        await die(proxy, upstreams[2])
        await proxy.server.runtime.probe.look()
        answer = await proxy.client.get(f"{proxy.admin_url}/admin/status")
        one, two, three = answer.json()["upstreams"]
        assert one == {
            "name": "one",
            "url": upstreams[0].url,
            "kind": "Ollama",
            "up": True,
            "trouble": None,
            "models": 2,
            "running": 0,
            "weight": 3,
        }
        wrong = "answers, but is none of Ollama, LM Studio, llama.cpp: GET /v1/models gave 404"
        assert (two["kind"], two["up"], two["models"], two["trouble"]) == (None, True, 0, wrong)
        assert (three["up"], three["trouble"]) == (False, "does not answer yet; requests get 502 until it does")
        assert "s3cret" not in answer.text


async def test_one_model_server_is_told_the_same_way() -> None:
    """A web server in its place too."""
    async with FakeUpstream(PAGE, tells_models=True) as upstream, running(upstream) as proxy:
        await proxy.server.runtime.probe.look()
        status = (await proxy.client.get(f"{proxy.admin_url}/admin/status")).json()
        assert status["upstream"] == upstream.url
        (only,) = status["upstreams"]
        assert only["name"] == only["url"] == upstream.url
        assert only["trouble"] == "answers, but is none of Ollama, LM Studio, llama.cpp: GET /v1/models gave 404"


async def test_one_that_is_at_work_and_says_nothing_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model server whose threads are all busy with answers; one that has no request is down when it says nothing."""
    monkeypatch.setattr(look, "TIMEOUT", 0.1)
    go_on = asyncio.Event()
    chat = reply([*sse(chunk("slow")), Wait(go_on), *sse(chunk(finish="stop"), "[DONE]")])
    busy, idle = (Scripted(name, {name: "a"}, chat=chat) for name in ("busy", "idle"))
    async with several(busy, idle) as (proxy, _):
        chatting = asyncio.ensure_future(proxy.chat(model="busy"))
        await until(lambda: "POST /v1/chat/completions" in busy.paths)
        busy.told = idle.told = Answer((Stall(),))
        await proxy.server.runtime.probe.look()
        assert [backend.up for backend in proxy.server.runtime.backends.all] == [True, False]
        go_on.set()
        assert (await chatting).status == 200
        await proxy.exchange()
        await proxy.server.runtime.probe.look()
        assert proxy.server.runtime.backends.all[0].up is False


async def test_one_that_answers_is_enough_to_be_ready() -> None:
    """ready_needs_upstream: without any the proxy has nobody to ask."""
    scripts = [Scripted(name, {"llama3": "a"}) for name in ("one", "two")]
    async with several(*scripts, ready_needs_upstream=True) as (proxy, upstreams):

        async def ready() -> int:
            await proxy.server.runtime.probe.look()
            return (await proxy.client.get(f"{proxy.admin_url}/readyz")).status_code

        assert await ready() == 200
        await die(proxy, upstreams[0])
        assert await ready() == 200
        await die(proxy, upstreams[1])
        assert await ready() == 503
        assert [proxy.metric("upstream_up", upstream=name) for name in ("one", "two")] == [0, 0]

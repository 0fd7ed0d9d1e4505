"""Which backend gets a request."""

from __future__ import annotations

import pytest

from tests.server.backends.several import Scripted, die, several, who

pytestmark = pytest.mark.anyio

NOWHERE = "http://127.0.0.1:9"


async def test_a_model_goes_to_the_backend_that_has_it() -> None:
    """By the lists of the backends, whatever spelling of the name the client uses."""
    async with several(Scripted("one", {"llama3:latest": "a"}), Scripted("two", {"qwen:7b": "b"})) as (proxy, _):
        assert await who(proxy, "qwen:7b") == "two"
        assert await who(proxy, "llama3") == "one"
        assert await who(proxy, "LLAMA3:latest") == "one"


async def test_what_the_operator_says_goes_before_the_lists() -> None:
    """A backend with `models` gets those, and no other, whatever it lists."""
    rows = [{}, {"models": ("house/*",)}]
    scripts = Scripted("one", {"llama3": "a"}), Scripted("two", {"llama3": "a", "house/x": "b"})
    async with several(*scripts, rows=rows) as (proxy, _):
        assert await who(proxy, "house/anything") == "two"
        assert {await who(proxy, "llama3") for _ in range(3)} == {"one"}


async def test_a_model_that_nobody_has_is_said_to_be_missing() -> None:
    """With the models that there are, in the words that Ollama's clients look for."""
    async with several(Scripted("one", {"llama3": "a"}), Scripted("two", {"qwen": "b"})) as (proxy, _):
        answer = await proxy.chat(model="lama3")
        assert answer.status == 404
        error = answer.json()["error"]
        assert error["message"] == "model 'lama3' not found; there are: llama3, qwen"
        assert error["code"] == "model_not_found"
        native = await proxy.chat(path="/api/chat", model="lama3")
        assert native.json() == {"error": "model 'lama3' not found; there are: llama3, qwen"}


async def test_one_that_is_not_there_is_passed_over() -> None:
    """Nothing was sent to it, so the next one that has the model is asked; that is counted by backend."""
    scripts = Scripted("one", {"llama3": "a"}), Scripted("two", {"llama3": "a"})
    async with several(*scripts) as (proxy, upstreams):
        assert await who(proxy, "llama3") == "one"
        await die(proxy, upstreams[0])
        assert await who(proxy, "llama3") == "two"
        exchange = await proxy.exchange(1)
        assert (exchange.upstream, exchange.moved_from) == ("two", [("one", "connect")])
        assert proxy.metric("upstream_up", upstream="one") == 0
        assert proxy.metric("upstream_failovers_total", upstream="one") == 1
        assert proxy.metric("upstream_errors_total", upstream="one", reason="connect") == 1
        assert proxy.metric("upstream_requests_total", upstream="two") == 1


async def test_one_that_is_known_not_to_answer_is_asked_last() -> None:
    """So clients do not wait for it. When no other one has the model, it is asked all the same: it may be back."""
    rows = [{"models": ("llama3", "house")}, {}]
    async with several(NOWHERE, Scripted("two", {"llama3": "a"}), rows=rows) as (proxy, _):
        assert await who(proxy, "llama3") == "two"
        assert (await proxy.exchange()).moved_from == []
        assert (await proxy.chat(model="house")).status == 502

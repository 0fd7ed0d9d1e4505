"""Which backend gets a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.server.backends.choice import FRESH
from tests.fakes import Answer, Request, Wait, reply, sse
from tests.phrases import block
from tests.server.backends.several import Scripted, die, several, who
from tests.server.running import Policies, Proxy, chunk
from tests.waiting import until

pytestmark = pytest.mark.anyio

NOWHERE = "http://127.0.0.1:9"
MESSAGES = [{"role": "user", "content": "Hello"}]


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
        assert (exchange.upstream, exchange.moved_from) == ("two", (("one", "connect"),))
        assert proxy.metric("upstream_up", upstream="one") == 0
        assert proxy.metric("upstream_failovers_total", upstream="one") == 1
        assert proxy.metric("upstream_errors_total", upstream="one", reason="connect") == 1
        assert proxy.metric("upstream_requests_total", upstream="two") == 1


async def test_one_that_is_known_not_to_answer_is_asked_last() -> None:
    """So clients do not wait for it. When no other one has the model, it is asked all the same: it may be back."""
    rows = [{"models": ("llama3", "house")}, {}]
    async with several(NOWHERE, Scripted("two", {"llama3": "a"}), rows=rows) as (proxy, _):
        assert await who(proxy, "llama3") == "two"
        assert (await proxy.exchange()).moved_from == ()
        assert (await proxy.chat(model="house")).status == 502


SLOW = [*sse(chunk("slow")), *sse(chunk(finish="stop"), "[DONE]")]


def loads(proxy: Proxy) -> list[int]:
    """How many requests each backend has."""
    return [backend.running for backend in proxy.server.runtime.backends.all]


@asynccontextmanager
async def busy(proxy: Proxy, go_on: asyncio.Event, requests: int) -> AsyncIterator[list[int]]:
    """So many chats under way at once; gives the loads."""
    chats = []
    for number in range(requests):
        chats.append(asyncio.ensure_future(proxy.chat(model="llama3")))
        await until(lambda number=number: sum(loads(proxy)) == number + 1)  # type: ignore[misc]
    yield loads(proxy)
    go_on.set()
    for answer in await asyncio.gather(*chats):
        assert answer.status == 200
    await proxy.exchange(requests - 1)
    assert not any(loads(proxy))


@pytest.mark.parametrize(
    ("digests", "rows", "expected"),
    [
        ("aab", [{}, {}, {}], [3, 3, 0]),
        ("aaa", [{}, {"weight": 2}, {"weight": 3}], [1, 2, 3]),
        ("abc", [{}, {}, {}], [6, 0, 0]),
        (["", "", ""], [{}, {}, {}], [6, 0, 0]),
        (["", "", ""], [{"models": ("llama*",)}, {}, {"models": ("llama3",)}], [3, 0, 3]),
        ("baa", [{"models": ("other",)}, {}, {}], [0, 3, 3]),
    ],
    ids=["the same digest", "weights", "other digests", "no digests", "as the operator says", "not the first"],
)
async def test_equals_share_the_load(digests: list[str], rows: list[dict[str, Any]], expected: list[int]) -> None:
    """Backends that have the same build: by the digest, or where none is shown because the operator says so. The one
    with the fewest running requests for its weight gets the next. All others stand by."""
    go_on = asyncio.Event()
    chat = reply([SLOW[0], Wait(go_on), *SLOW[1:]])
    scripts = [Scripted(f"n{number}", {"llama3": digest}, chat=chat) for number, digest in enumerate(digests)]
    async with several(*scripts, rows=rows) as (proxy, _), busy(proxy, go_on, 6) as shares:
        assert shares == expected


async def test_while_nobody_is_busy_the_first_is_asked() -> None:
    """It has read the conversation before, so it need not read it again."""
    async with several(*(Scripted(name, {"llama3": "a"}) for name in ("one", "two"))) as (proxy, _):
        assert {await who(proxy, "llama3") for _ in range(5)} == {"one"}


async def test_a_dialect_goes_to_a_model_server_that_speaks_it() -> None:
    """Also where another one that has the model stands before it."""
    scripts = (
        Scripted("llama", {"llama3": ""}, kind="llamacpp"),
        Scripted("studio", {"llama3": ""}, kind="lmstudio"),
        Scripted("ollama", {"llama3": "a"}),
    )
    async with several(*scripts) as (proxy, _):
        for path, script in (("/api/chat", scripts[2]), ("/api/v1/chat", scripts[1]), ("/v1/messages", scripts[0])):
            body = {"input": "Hello"} if path == "/api/v1/chat" else {"max_tokens": 5, "messages": MESSAGES}
            await proxy.client.post(proxy.url + path, json={"model": "llama3", "stream": False, **body})
            assert script.paths[-1] == f"POST {path}"


async def test_a_model_on_a_server_that_does_not_speak_the_dialect() -> None:
    """404 with the reason, and a path that reaches it."""
    llama = Scripted("llama", {"qwen": ""}, kind="llamacpp")
    async with several(llama, Scripted("ollama", {"llama3": "a"})) as (proxy, _):
        answer = await proxy.chat(path="/api/chat", model="qwen")
        told = "model 'qwen' is on llama.cpp, which does not serve /api/chat; OpenAI's paths (/v1) reach it"
        assert (answer.status, answer.json()) == (404, {"error": told})
        assert not [path for path in llama.paths if path.startswith("POST")]


async def test_a_request_without_a_model_goes_to_the_first() -> None:
    """llama.cpp has one model and wants no name."""
    async with several(Scripted("one", {"a": ""}, kind="llamacpp"), Scripted("two", {"b": "b"})) as (proxy, _):
        assert await who(proxy, "") == "one"


async def test_a_model_that_has_just_come_is_found() -> None:
    """A name that nobody has makes the proxy look again before it says so, though not for each request."""
    second = Scripted("two", {"qwen": "b"})
    async with several(Scripted("one", {"llama3": "a"}), second) as (proxy, _):
        assert await who(proxy, "qwen") == "two"
        second.models["new"] = "c"
        for backend in proxy.server.runtime.backends.all:
            backend.looked_at -= FRESH
        assert await who(proxy, "new") == "two"
        asked = len(second.paths)
        for _ in range(3):
            assert (await proxy.chat(model="nobody")).status == 404
        assert len(second.paths) <= asked + 1


async def test_the_list_of_one_that_has_never_answered_may_hold_it() -> None:
    """What is not on any known list goes there, and fails as it does: not as a model that does not exist."""
    async with several(Scripted("one", {"llama3": "a"}), NOWHERE) as (proxy, _):
        answer = await proxy.chat(model="qwen")
        assert answer.status == 502
        assert await who(proxy, "llama3") == "one"


async def test_what_is_no_model_server_gets_nothing() -> None:
    """A web server at a wrong address, beside a model server: a wrong name is told as one, and nothing is sent there. A
    server without a list gets the models that the operator names for it."""
    page = reply(b"<html>", status=404, content_type="text/html")
    wrong, listless = Scripted("wrong", told=page), Scripted("listless", told=page)
    rows = [{}, {"models": ("mine",)}]
    async with several(wrong, listless, Scripted("good", {"llama3": "a"}), rows=rows) as (proxy, _):
        answer = await proxy.chat(model="nobody")
        assert answer.json()["error"]["message"] == "model 'nobody' not found; there are: llama3"
        assert await who(proxy, "mine") == "listless"
        assert await who(proxy, "") == "good"
        assert not [path for path in wrong.paths if path.startswith("POST /v1")]


async def test_names_that_a_rule_minds_are_not_told() -> None:
    """The list of what there is is judged as every list of models."""
    policies = Policies(output=[block("secret")])
    scripts = Scripted("one", {"secret-model": "a"}), Scripted("two", {"qwen": "b"})
    async with several(*scripts, policies=policies) as (proxy, _):
        answer = await proxy.chat(model="nobody")
        assert answer.json()["error"]["message"] == "model 'nobody' not found; there are: qwen"


async def test_a_long_list_is_cut() -> None:
    """Nobody reads a thousand names in an error."""
    many = {f"m{number}": "" for number in range(1000)}
    async with several(Scripted("one", many), Scripted("two", {})) as (proxy, _):
        message = (await proxy.chat(model="nobody")).json()["error"]["message"]
        assert message.endswith("m18, m19, ...")


async def test_one_backend_with_models_gets_those_alone() -> None:
    """The rest is not there, whatever it lists."""
    async with several(Scripted("one", {"llama3": "a", "qwen": "b"}), rows=[{"models": ("llama3",)}]) as (proxy, _):
        assert await who(proxy, "llama3") == "one"
        assert (await proxy.chat(model="qwen")).status == 404


async def test_each_key_is_sent_to_its_own_backend_alone() -> None:
    """With requests, lists and looks; a client's key goes to none of them."""
    seen: dict[str, set[str | None]] = {"one": set(), "two": set()}

    class Noting(Scripted):
        def __call__(self, request: Request) -> Answer:
            seen[self.name].add(request.header("authorization"))
            return super().__call__(request)

    rows = [{"key": "first"}, {}]
    async with several(Noting("one", {"a": "a"}), Noting("two", {"b": "b"}), rows=rows) as (proxy, _):
        headers = {"Authorization": "Bearer of-the-client"}
        for model in ("a", "b", "nobody"):
            body = {"model": model, "messages": MESSAGES}
            await proxy.client.post(proxy.url + "/v1/chat/completions", json=body, headers=headers)
        await proxy.client.get(proxy.url + "/v1/models", headers=headers)
    assert seen == {"one": {"Bearer first"}, "two": {None}}


@pytest.mark.parametrize("model", ["", " ", ":latest"])
async def test_a_model_server_that_gets_some_models_gets_no_prompt_without_a_model(model: str) -> None:
    """What it gets is named; a request that names no model goes to one that takes any."""
    far, near = Scripted("far", {"x": "1"}), Scripted("near", {"y": "2"})
    async with several(far, near, rows=[{"models": ("x",)}]) as (proxy, _):
        assert await who(proxy, model) == "near"
        assert await who(proxy, "x") == "far"
    async with several(far, near, rows=[{"models": ("*",)}]) as (proxy, _):
        assert await who(proxy, model) == "far"


async def test_a_request_without_a_model_may_be_for_nobody() -> None:
    """404, where each model server gets only some models; what holds no prompt is answered all the same."""
    far, near = Scripted("far", {"x": "1"}), Scripted("near", {"y": "2"})
    async with several(far, near, rows=[{"models": ("x",)}, {"models": ("y",)}]) as (proxy, _):
        answer = await proxy.chat(model="")
        assert answer.status == 404
        assert answer.json()["error"]["code"] == "model_not_found"
        assert "POST /v1/chat/completions" not in [*far.paths, *near.paths]
        assert (await proxy.client.get(f"{proxy.url}/api/version")).status_code == 200

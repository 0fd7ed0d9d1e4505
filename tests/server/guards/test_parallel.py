"""`parallel: true`: the model reads a prompt while a guard is asked about it, and says nothing before the verdict."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

import pytest

from proxy.core.failures import Reason
from proxy.dialects.request import Options
from tests.fakes import Answer, FakeUpstream, Request, Stall, reply_json, sse
from tests.fakes.answers import Close, Wait
from tests.server.backends.several import Scripted
from tests.server.guards.asking import GUARD, says
from tests.server.guards.test_streams import JUDGE, Models, chat, guarded, minds, policies
from tests.server.running import chat_body, running, said
from tests.waiting import until

pytestmark = pytest.mark.anyio

PARALLEL = f"{JUDGE}, parallel: true"
RULES = policies(f"{PARALLEL}}}, action: block, directions: [input]")
CHAT = "/v1/chat/completions"


def chats(upstream: FakeUpstream) -> list[Request]:
    """What the chat model was asked."""
    return [one for one in upstream.requests if one.path == CHAT]


def after(event: asyncio.Event, verdict: Callable[[str], Answer]) -> Callable[[str], Answer]:
    """A guard whose verdict comes when the event is set."""
    return lambda prompt: Answer((Wait(event), *verdict(prompt).steps))


@pytest.mark.parametrize("stream", [True, False])
async def test_nothing_of_the_answer_is_sent_before_the_verdict(stream: bool) -> None:
    """The model is asked at once. Its answer waits for the guard, and then arrives as it is."""
    verdict = asyncio.Event()
    models = Models(sse(*said("Hello", " there")), after(verdict, minds("nothing of that")))
    async with guarded(models, RULES) as (proxy, upstream), proxy.wire() as wire:
        await wire.post(CHAT, chat_body(model="m", stream=stream))
        await until(lambda: bool(chats(upstream)))
        await (await upstream.exchange(upstream.requests.index(chats(upstream)[0]))).answered.wait()
        assert wire.received == b""
        verdict.set()
        answer = await wire.answer()
        said_by_model = answer.text() if stream else answer.json()["choices"][0]["message"]["content"]
        assert said_by_model == "Hello there"
        assert (await proxy.exchange()).outcome == "allowed"


async def test_without_it_the_model_waits_for_the_guard() -> None:
    """It is off by default."""
    verdict = asyncio.Event()
    models = Models(sse(*said("Hello")), after(verdict, minds("nothing of that")))
    rules = policies(f"{JUDGE}}}, action: block, directions: [input]")
    async with guarded(models, rules) as (proxy, upstream), proxy.wire() as wire:
        await wire.post(CHAT, chat_body(model="m"))
        await until(lambda: bool(models.prompts))
        assert not chats(upstream)
        verdict.set()
        assert (await wire.answer()).text() == "Hello"


@pytest.mark.parametrize("begun", [True, False])
async def test_a_block_stops_the_model(begun: bool) -> None:
    """The prompt is refused as any other, whether the model has begun to answer or not; its connection is closed."""
    verdict = asyncio.Event()
    answer = [*sse(*said("Secret")[:2]), Stall()] if begun else None
    models = Models(answer or [], after(verdict, minds("poison")))
    if not begun:
        models = _Silent([], after(verdict, minds("poison")))
    async with guarded(models, RULES) as (proxy, upstream):
        asking = asyncio.ensure_future(chat(proxy, "Where is poison?"))
        await until(lambda: bool(chats(upstream)))
        verdict.set()
        refused = await asking
        assert refused.status == 400
        assert refused.json()["error"]["code"] == "content_filter"
        assert b"Secret" not in refused.body
        exchange = await upstream.exchange(upstream.requests.index(chats(upstream)[0]))
        await exchange.wait_client_closed()
        assert (await proxy.exchange()).outcome == "blocked"


class _Silent(Models):
    """The chat model takes the request, and says nothing."""

    def __call__(self, request: Request) -> Answer:
        return Answer((Stall(),)) if request.path == CHAT else super().__call__(request)


@pytest.mark.parametrize(("on_error", "status"), [("block", 400), ("allow", 200)])
async def test_a_guard_that_fails(on_error: str, status: int) -> None:
    """on_error decides, as where the model waits."""
    models = Models(sse(*said("Hello")), lambda _: reply_json({}, status=500))
    rules = policies(f"{PARALLEL}}}, action: block, directions: [input]", on_error=on_error)
    async with guarded(models, rules) as (proxy, _):
        assert (await chat(proxy)).status == status
        assert proxy.metric("check_errors_total", check=GUARD, reason=Reason.REFUSED.value, on_error=on_error) == 1


async def test_a_prompt_that_is_to_be_changed_is_asked_again() -> None:
    """What the model has read is not what it should have: it is stopped, and asked with the changed prompt."""
    models = Models(sse(*said("Hello")), minds("poison"))
    rule = f"{PARALLEL}, categories: {{S1: rewrite}}}}, action: block, directions: [input]"
    async with guarded(models, policies(rule)) as (proxy, upstream):
        answer = await chat(proxy, "Tell me a story. Where is the poison?")
        assert answer.text() == "Hello"
        last = json.loads(chats(upstream)[-1].body)["messages"][-1]["content"]
        assert last == "Tell me a story.[removed]"
        exchange = await proxy.exchange()
        assert exchange.outcome == "rewritten"
        assert len(exchange.findings) == 1
    assert len(models.prompts) == len(set(models.prompts)), "nobody is asked twice"


async def test_an_earlier_text_that_is_blocked_does_not_reach_the_answer() -> None:
    """The notice takes its place, and the model is asked again: the chat goes on."""

    def verdict(prompt: str) -> Answer:
        latest = prompt.rpartition("User: ")[2].partition("<END")[0]
        return says("unsafe\nS1" if "poison" in latest else "safe")

    models = Models(sse(*said("Hello")), verdict)
    messages = [
        {"role": "user", "content": "Where is the poison?"},
        {"role": "assistant", "content": "I do not know."},
        {"role": "user", "content": "Never mind."},
    ]
    async with guarded(models, RULES) as (proxy, upstream):
        answer = await proxy.chat(model="m", messages=messages)
        assert answer.text() == "Hello"
        assert b"poison" not in chats(upstream)[-1].body


async def test_a_client_that_leaves_stops_both() -> None:
    """Nobody is asked any more, and the model's connection is closed."""
    models = _Silent([], lambda _: Answer((Stall(),)))
    async with guarded(models, RULES) as (proxy, upstream):
        async with proxy.wire() as wire:
            await wire.post(CHAT, chat_body(model="m"))
            await until(lambda: bool(chats(upstream)) and bool(models.prompts))
        for one in (chats(upstream)[0], next(one for one in upstream.requests if one.path == "/api/generate")):
            await (await upstream.exchange(upstream.requests.index(one))).wait_client_closed()
        assert (await proxy.exchange()).outcome == "client_cancelled"


async def test_a_model_server_that_is_not_there() -> None:
    """The client is told so, and does not wait for the guard."""
    models = _Gone([], lambda _: Answer((Stall(),)))
    async with guarded(models, RULES) as (proxy, _):
        answer = await chat(proxy)
        assert answer.status == 502


class _Gone(Models):
    """The chat model's server breaks the connection off."""

    def __call__(self, request: Request) -> Answer:
        return Answer((Close(),)) if request.path == CHAT else super().__call__(request)


@pytest.mark.parametrize(("host", "is_asked"), [("", True), ("https://ollama.com", False)])
async def test_a_cloud_model_gets_no_prompt_before_the_verdict(host: str, is_asked: bool) -> None:
    """What leaves the machine cannot be taken back."""
    verdict = asyncio.Event()
    models = Models(sse(*said("Hello")), after(verdict, minds("nothing of that")))
    script = Scripted("one", {"m": "a", GUARD: "b"}, "ollama", models)

    def server(request: Request) -> Answer:
        if request.path == "/api/show" and b'"m' in request.body and host:
            return reply_json({"capabilities": ["completion"], "remote_host": host, "remote_model": "m"})
        return script(request)

    options: Any = {"options": Options(allow_cloud_models=True)}
    async with (
        FakeUpstream(server, tells_models=True) as upstream,
        running(upstream, cast(Any, RULES), **options) as proxy,
    ):
        asking = asyncio.ensure_future(chat(proxy))
        await until(lambda: bool(models.prompts))
        if is_asked:
            await until(lambda: bool(chats(upstream)))
        assert bool(chats(upstream)) is is_asked
        verdict.set()
        assert (await asking).text() == "Hello"


async def test_answers_of_both_are_taken_in_any_order() -> None:
    """A verdict that comes first does not wait; the answer flows as it comes then."""
    first = asyncio.Event()
    models = Models([*sse(*said("Hello", " there"))[:2], Wait(first), *sse(*said("Hello", " there"))[2:]], says_safe)
    async with guarded(models, RULES) as (proxy, _), proxy.wire() as wire:
        await wire.post(CHAT, chat_body(model="m"))
        await wire.until(b"Hello")
        first.set()
        assert (await wire.answer()).text() == "Hello there"


def says_safe(_: str) -> Answer:
    """A guard that minds nothing."""
    return says("safe")

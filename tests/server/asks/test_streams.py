"""An answer whose segments somebody is asked about: what leaves, when, and in which order."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Sequence
from typing import Any

import pytest

from proxy.core.failures import CheckFailed, Reason
from proxy.core.types import Action
from tests.checks.questions import all_of, asking, where
from tests.fakes import FakeUpstream, Reset, Stall, Wait, ndjson, reply, sse
from tests.phrases import block, rewrite
from tests.server.asks.scripted import Scripted
from tests.server.running import Policies, Proxy, chat_body, chunk, running, said, soon, text

pytestmark = pytest.mark.anyio

ANSWER = ("One. ", "Two", ". Three.", " Four")
ASKED = ["One.", " Two.", " Three.", " Four"]
LATE = CheckFailed("asked", Reason.DEADLINE, "did not answer in time")


def asks(proxy: Proxy, service: Scripted) -> Scripted:
    """Let it answer the questions of this proxy."""
    proxy.server.runtime.desk.answerers[str] = service
    return service


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::3])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("transport", ["own", "httpx"])
async def test_answers_may_come_in_any_order(order: Sequence[int], stream: bool, transport: Any) -> None:
    """The client gets the whole answer, never a character before its verdict, and what has its verdict at once."""
    upstream_ends = asyncio.Event()
    script = reply([*sse(*said(*ANSWER)[:-2]), Wait(upstream_ends), *sse(*said(*ANSWER)[-2:])])
    policies = Policies(output=[asking(Action.BLOCK)])
    async with FakeUpstream(script) as upstream, running(upstream, policies, transport=transport) as proxy:
        service = asks(proxy, Scripted())
        async with proxy.wire() as wire:
            await wire.post("/v1/chat/completions", chat_body(stream=stream))
            await service.was_asked(*ASKED[:3])
            for done, index in enumerate(order):
                if index == 3 or done == 3:
                    upstream_ends.set()
                    await service.was_asked(ASKED[3])
                service.say(ASKED[index])
                upto = next((i for i in range(4) if i not in order[: done + 1]), 4)
                if stream and upto:
                    await wire.until(ASKED[upto - 1].strip().encode())
                assert not [word for word in ASKED[upto:] if word.strip(" .").encode() in wire.received]
            answer = await wire.answer()
        assert answer.complete
        whole = answer.text() if stream else answer.json()["choices"][0]["message"]["content"]
        assert whole == "".join(ANSWER)
        exchange = await proxy.exchange()
        assert exchange.outcome == "allowed"
        assert {rule.name for rule, _ in exchange.hold.shares() if rule is not None} == {"p/block.stops"}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("first", [0, 1])
async def test_a_block_ends_the_answer_and_stops_the_model(stream: bool, first: int) -> None:
    """What is before it leaves when it may, and what is behind it is not asked any more."""
    script = reply([*sse(*said("One. Two. Three.")[:-2]), Stall()])
    policies = Policies(output=[asking(Action.BLOCK)])
    async with FakeUpstream(script) as upstream, running(upstream, policies) as proxy:
        service = asks(proxy, Scripted())
        async with proxy.wire() as wire:
            await wire.post("/v1/chat/completions", chat_body(stream=stream))
            await service.was_asked("One.", " Two.", " Three.")
            for index in (first, 1 - first):
                service.say(ASKED[index], ((0, 5),) if index else ())
                if index:
                    await (await upstream.exchange()).wait_client_closed()
                    await service.until(lambda: " Three." in service.cancelled)
                    assert (" Two." in service.cancelled, "One." in service.cancelled) == (False, False)
            answer = await wire.answer()
        await (await upstream.exchange()).wait_client_closed()
        assert answer.complete
        if stream:
            assert (
                answer.text()
                == "One.\n\nStopped by p. (policy p, request " + answer.headers["x-safety-proxy-request-id"] + ")"
            )
        assert b"Two" not in answer.body
        exchange = await proxy.exchange()
        assert exchange.outcome == "blocked"


async def test_a_client_that_leaves_stops_those_who_are_asked() -> None:
    """At once, as it stops the model."""
    script = reply([*sse(*said("One. Two.")[:-2]), Stall()])
    async with FakeUpstream(script) as upstream, running(upstream, Policies(output=[asking(Action.BLOCK)])) as proxy:
        service = asks(proxy, Scripted())
        async with proxy.wire() as wire:
            await wire.post("/v1/chat/completions", chat_body())
            await service.was_asked("One.", " Two.")
            wire.leave()
            await service.until(lambda: len(service.cancelled) == 2)
        await (await upstream.exchange()).wait_client_closed()
        assert (await proxy.exchange()).outcome == "client_cancelled"


@pytest.mark.parametrize("stalled", [False, True])
async def test_a_client_that_leaves_while_the_end_waits(stalled: bool) -> None:
    """The model has said all: only a verdict is missing."""
    async with (
        FakeUpstream(reply(sse(*said("One. Two.")))) as upstream,
        running(upstream, Policies(output=[asking(Action.BLOCK)])) as proxy,
    ):
        service = asks(proxy, Scripted())
        async with proxy.wire() as wire:
            await wire.post("/v1/chat/completions", chat_body(stream=stalled))
            await service.was_asked("One.", " Two.")
            wire.leave()
            await service.until(lambda: len(service.cancelled) == 2)
        assert (await proxy.exchange()).outcome == "client_cancelled"


THINKS = [chunk(delta={"reasoning_content": part}) for part in ("Hm. ", "Well")]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_thinking_comes_before_the_answer(order: Sequence[int]) -> None:
    """Channels keep their order, however the answers come, and the end comes last."""
    body = [chunk(delta={"role": "assistant"}), *THINKS, *said("So. ", "Yes")[1:]]
    asked = ["Hm.", " Well"]
    async with (
        FakeUpstream(reply(sse(*body))) as upstream,
        running(upstream, Policies(output=[asking(Action.BLOCK)])) as proxy,
    ):
        service = asks(proxy, Scripted())
        async with proxy.wire() as wire:
            await wire.post("/v1/chat/completions", chat_body())
            await service.was_asked(*asked)
            for question in asked if order[0] < order[1] else reversed(asked):
                assert b"So" not in wire.received
                service.say(question)
            await service.was_asked("So.", " Yes")
            for question in ("So.", " Yes") if order[1] < order[2] else (" Yes", "So."):
                service.say(question)
            answer = await wire.answer()
        assert answer.complete
        assert (answer.text(field="reasoning_content"), answer.text()) == ("Hm. Well", "So. Yes")
        kinds = [next(iter(event["choices"][0]["delta"]), "") for event in answer.events()[:-1]]
        assert [kind for kind, _ in itertools.groupby(filter(None, kinds))][-2:] == ["reasoning_content", "content"]
        assert answer.events()[-2]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("fails_open", [False, True])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_question_without_an_answer_goes_by_on_error(fails_open: bool, stream: bool) -> None:
    """The segment passes, or ends the answer; either is counted by name."""
    service = Scripted(lambda text: () if text == "One." else LATE)
    policies = Policies(output=[asking(Action.BLOCK, fails_open=fails_open)])
    async with FakeUpstream(reply(sse(*said("One. Two.")))) as upstream, running(upstream, policies) as proxy:
        asks(proxy, service)
        answer = await proxy.chat(stream=stream)
        assert answer.complete
        assert (b"Two" in answer.body) is fails_open
        assert (await proxy.exchange()).outcome == ("allowed" if fails_open else "blocked")


async def test_nobody_answers_such_questions() -> None:
    """Fail closed: a kind of question that nobody knows is one without an answer."""
    async with (
        FakeUpstream(reply(sse(*said("One.")))) as upstream,
        running(upstream, Policies(output=[asking(Action.BLOCK)])) as proxy,
    ):
        answer = await proxy.chat()
        assert "One" not in answer.text()
        assert (await proxy.exchange()).outcome == "blocked"


async def test_while_a_verdict_is_missing_keep_alives_go_out_and_no_time_out_runs() -> None:
    """The model server has said all, and is not silent: somebody else is."""
    async with (
        FakeUpstream(reply(sse(*said("One.")))) as upstream,
        running(upstream, Policies(output=[asking(Action.BLOCK)])) as proxy,
    ):
        service = asks(proxy, Scripted())
        async with proxy.wire() as wire:
            await wire.post("/v1/chat/completions", chat_body())
            await service.was_asked("One.")
            await (await upstream.exchange()).wait_answered()
            await service.until(lambda: True)
            proxy.later(20.0)
            await wire.until(b": keep-alive")
            proxy.later(1000.0)
            service.say("One.")
            answer = await wire.answer()
        assert answer.complete
        assert answer.text() == "One."


async def test_a_tools_call_waits_for_its_verdict_and_is_judged_as_a_whole() -> None:
    """Its arguments leave when all is answered, or not at all."""
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": "One. Two."}'}}
    body = [chunk(delta={"role": "assistant", "tool_calls": [call]}), chunk(finish="tool_calls"), "[DONE]"]
    for bad in (False, True):
        service = Scripted(all_of("Two") if bad else lambda _: ())
        async with (
            FakeUpstream(reply(sse(*body))) as upstream,
            running(upstream, Policies(output=[asking(Action.BLOCK)])) as proxy,
        ):
            answer = await (asks(proxy, service), proxy)[1].chat()
            assert answer.complete
            assert (b"Two" in answer.body) is not bad
            assert (await proxy.exchange()).outcome == ("blocked" if bad else "allowed")


@pytest.mark.parametrize("seed", range(6))
async def test_two_choices_beside_each_other(seed: int) -> None:
    """Each has its own verdicts; a block of one lets the other go on."""
    parts = [chunk(f"{word} ", index=i) for word in ("Aa.", "bad.", "Cc.") for i in (0, 1)]
    ends = [chunk(index=i, finish="stop") for i in (0, 1)]
    body = [chunk(delta={"role": "assistant"}, index=i) for i in (0, 1)] + parts + [*ends, "[DONE]"]
    chance = random.Random(seed)
    service = Scripted()
    async with (
        FakeUpstream(reply(sse(*body))) as upstream,
        running(upstream, Policies(output=[asking(Action.REWRITE), block("Cc")])) as proxy,
    ):
        asks(proxy, service)
        async with proxy.wire() as wire:
            await wire.post("/v1/chat/completions", chat_body(n=2))
            await service.was_asked("Aa.", " bad.")
            for question in chance.sample(["Aa.", " bad."], 2):
                service.say(question, where("bad")(question))
            answer = await wire.answer()
        assert answer.complete
        for index in (0, 1):
            assert answer.text(index).startswith("Aa. [?].\n\nStopped by test.")


@pytest.mark.parametrize("seed", range(3))
async def test_sixty_four_streams_ask_one_service(seed: int) -> None:
    """Answers in random order over all streams: each gets its own text, and none a character before its verdict."""
    chance = random.Random(seed)
    service = Scripted()
    policies = Policies(output=[asking(Action.REWRITE), rewrite("secret")])
    body = sse(*said("One. a ", "secret. bad", " thing. Last"))
    async with FakeUpstream(lambda _: reply(body)) as upstream, running(upstream, policies) as proxy:
        asks(proxy, service)
        chats = [asyncio.ensure_future(proxy.chat(content=f"Hi {i}")) for i in range(64)]
        while not all(chat.done() for chat in chats):
            waiting = service.waiting()
            for question in chance.sample(waiting, len(waiting)):
                service.say(question, where("bad")(question))
            await soon(asyncio.sleep(0))
        for chat in chats:
            answer = await chat
            assert answer.complete
            assert answer.text() == "One. a [X]. [?] thing. Last"


@pytest.mark.parametrize("path", ["/v1/messages", "/api/chat", "/v1/completions", "/api/generate"])
async def test_other_dialects_wait_too(path: str) -> None:
    """Text that is released by an answer is a proper event of the dialect, in order, before the end."""
    events: dict[str, list[Any]] = {
        "/v1/messages": [
            (
                "message_start",
                {
                    "type": "message_start",
                    "message": {
                        "id": "m",
                        "type": "message",
                        "role": "assistant",
                        "content": [],
                        "model": "tiny",
                        "stop_reason": None,
                        "usage": {"input_tokens": 1, "output_tokens": 1},
                    },
                },
            ),
            (
                "content_block_start",
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            ),
            *[
                (
                    "content_block_delta",
                    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": part}},
                )
                for part in ANSWER
            ],
            ("content_block_stop", {"type": "content_block_stop", "index": 0}),
            (
                "message_delta",
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}},
            ),
            ("message_stop", {"type": "message_stop"}),
        ],
        "/v1/completions": [
            *[
                {
                    "id": "c",
                    "object": "text_completion",
                    "created": 1,
                    "model": "tiny",
                    "choices": [{"index": 0, "text": part, "finish_reason": None}],
                }
                for part in ANSWER
            ],
            {
                "id": "c",
                "object": "text_completion",
                "created": 1,
                "model": "tiny",
                "choices": [{"index": 0, "text": "", "finish_reason": "stop"}],
            },
            "[DONE]",
        ],
    }
    at = {"model": "tiny", "created_at": "2026-01-01T00:00:00Z"}
    lines: dict[str, list[Any]] = {
        "/api/chat": [
            *[{**at, "message": {"role": "assistant", "content": part}, "done": False} for part in ANSWER],
            {**at, "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"},
        ],
        "/api/generate": [
            *[{**at, "response": part, "done": False} for part in ANSWER],
            {**at, "response": "", "done": True, "done_reason": "stop"},
        ],
    }
    streamed = events.get(path) or lines[path]
    body = sse(*streamed) if path in events else ndjson(*streamed)
    kind = "text/event-stream" if path in events else "application/x-ndjson"
    request: dict[str, Any] = {"model": "tiny", "stream": True, "max_tokens": 9}
    request |= {"prompt": "Hi"} if path in ("/v1/completions", "/api/generate") else chat_body()
    if path.startswith("/api"):
        request.pop("max_tokens")
    for order in (ASKED, [*reversed(ASKED)]):
        async with (
            FakeUpstream(reply(body, headers=[("content-type", kind)])) as upstream,
            running(upstream, Policies(output=[asking(Action.BLOCK)])) as proxy,
        ):
            service = asks(proxy, Scripted())
            async with proxy.wire() as wire:
                await wire.post(path, request)
                await service.was_asked(*ASKED)
                for question in order:
                    service.say(question)
                answer = await wire.answer()
            assert answer.complete
            assert words(answer.body) == "".join(ANSWER)
            end = b"message_stop" if path == "/v1/messages" else b"stop"
            assert answer.body.rfind(b"Four") < answer.body.rfind(end)


def words(body: bytes) -> str:
    """What an app shows of a stream of any of these dialects."""
    out = ""
    for line in body.decode().splitlines():
        data = line.removeprefix("data: ")
        if not data.startswith("{"):
            continue
        event = json.loads(data)
        choices = event.get("choices") or [{}]
        out += (event.get("delta") or {}).get("text") or choices[0].get("text") or event.get("response") or ""
        out += (event.get("message") or {}).get("content") or "" if "done" in event else ""
    return out


async def test_a_slow_client_gets_all_of_it() -> None:
    """What an answer releases while the client does not read is sent when it does."""
    part = "x" * 2000
    script = reply(
        sse(*said(*[f"{part}{i}. " for i in range(400)])),
    )
    async with (
        FakeUpstream(script, boundaries=False) as upstream,
        running(upstream, Policies(output=[asking(Action.BLOCK)])) as proxy,
    ):
        asks(proxy, Scripted(lambda _: ()))
        async with proxy.wire() as wire:
            await wire.post("/v1/chat/completions", chat_body())
            answer = await wire.answer()
        assert answer.complete
        assert answer.text() == "".join(f"{part}{i}. " for i in range(400))
        assert text(answer.events()) == answer.text()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_model_server_that_breaks_off(stream: bool) -> None:
    """What it has said is judged and sent, and then the client is told."""
    script = reply([*sse(*said("One. Two.")[:-2]), Reset()])
    async with FakeUpstream(script) as upstream, running(upstream, Policies(output=[asking(Action.BLOCK)])) as proxy:
        service = asks(proxy, Scripted())
        async with proxy.wire() as wire:
            await wire.post("/v1/chat/completions", chat_body(stream=stream))
            await service.was_asked("One.", " Two.")
            service.say(" Two.")
            service.say("One.")
            answer = await wire.answer()
        assert answer.complete
        if stream:
            assert answer.text() == "One. Two."
            assert "error" in answer.events()[-2] or "error" in answer.events()[-1]
        else:
            assert answer.status == 502
        assert (await proxy.exchange()).outcome == "upstream_error"


async def test_the_proxy_stops_while_a_verdict_is_missing() -> None:
    """The client gets a proper end, or a closed connection; nothing that was not judged."""
    async with (
        FakeUpstream(reply([*sse(*said("One. Two.")[:-2]), Stall()])) as upstream,
        running(upstream, Policies(output=[asking(Action.BLOCK)])) as proxy,
    ):
        service = asks(proxy, Scripted())
        async with proxy.wire() as wire:
            await wire.post("/v1/chat/completions", chat_body())
            await service.was_asked("One.", " Two.")
            service.say("One.")
            await wire.until(b"One.")
            proxy.server.runtime.interrupt()
            answer = await wire.answer()
        assert b"Two" not in answer.body
        assert (await proxy.exchange()).outcome == "upstream_error"


async def test_a_client_that_leaves_while_its_prompt_is_judged() -> None:
    """Those who are asked stop, and the model server is never asked."""
    async with (
        FakeUpstream(reply(sse(*said("One.")))) as upstream,
        running(upstream, Policies(input=[asking(Action.BLOCK)])) as proxy,
    ):
        service = asks(proxy, Scripted())
        async with proxy.wire() as wire:
            await wire.post("/v1/chat/completions", chat_body(content="Hello. You."))
            await service.was_asked("Hello.", " You.")
            wire.leave()
            await service.until(lambda: set(service.cancelled) == {"Hello.", " You."})
        assert (await proxy.exchange()).outcome == "client_cancelled"
        assert upstream.requests == []


async def test_the_texts_of_a_prompt_are_asked_about_beside_each_other() -> None:
    """And each equal question once, however often its text stands in the conversation."""
    messages = [{"role": role, "content": "Same."} for role in ("user", "assistant") * 2]
    messages.append({"role": "user", "content": "Other."})
    async with (
        FakeUpstream(reply(sse(*said("One.")))) as upstream,
        running(upstream, Policies(input=[asking(Action.BLOCK)])) as proxy,
    ):
        service = asks(proxy, Scripted())
        async with proxy.wire() as wire:
            await wire.post("/v1/chat/completions", chat_body(messages=messages))
            await service.was_asked("Same.", "Other.")
            for text_ in ("Other.", "Same."):
                service.say(text_)
            assert (await wire.answer()).text() == "One."
        assert sorted(service.asked) == ["Other.", "Same."]


async def test_a_long_prompt_is_asked_about_as_a_whole() -> None:
    """It is read slice by slice, so that others may run; the questions are those of the whole text."""
    content = "".join(f"Sentence {i}. " for i in range(1500))
    async with (
        FakeUpstream(reply(sse(*said("One.")))) as upstream,
        running(upstream, Policies(input=[asking(Action.BLOCK)])) as proxy,
    ):
        service = asks(proxy, Scripted(lambda _: ()))
        assert (await proxy.chat(content=content)).text() == "One."
        assert "".join(service.asked) + " " == content

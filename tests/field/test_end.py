"""Answers that the model has ended and the model server has not: they end shortly after (field case l02)."""

from __future__ import annotations

import asyncio

import pytest

from proxy.server.exchange.timeouts import Interrupt
from proxy.server.handlers.relay import Relay
from tests.fakes import FakeUpstream, Stall, reply, sse
from tests.server.running import chat_body, chunk, running

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
COUNTS = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}}
FINISHED = [chunk(delta={"role": "assistant"}), chunk("Hello"), chunk(finish="stop")]


@pytest.mark.parametrize("stream", [True, False])
async def test_l02_an_answer_without_done_ends(stream: bool) -> None:
    """After the finish of every choice comes nothing: the answer is whole, and the model server is left."""
    async with (
        FakeUpstream(reply([*sse(*FINISHED), Stall()])) as upstream,
        running(upstream, end_grace=0.05) as proxy,
        proxy.wire() as wire,
    ):
        await wire.post(CHAT, chat_body(stream=stream))
        answer = await wire.answer()
        assert answer.complete
        await (await upstream.exchange()).wait_client_closed()
        assert (await proxy.exchange()).outcome == "allowed"
    if stream:
        assert answer.text() == "Hello"
        assert answer.events()[-1] == "[DONE]"
    else:
        assert answer.json()["choices"][0]["message"]["content"] == "Hello"


async def test_l02_comments_keep_nothing_open() -> None:
    """Comments that go on for ever are no part of the answer."""
    comments = [b": hb\n\n"] * 100_000
    async with (
        FakeUpstream(reply([*sse(*FINISHED), *comments, Stall()]), boundaries=False) as upstream,
        running(upstream, end_grace=0.05) as proxy,
        proxy.wire() as wire,
    ):
        await wire.post(CHAT, chat_body(stream=False))
        assert (await wire.answer()).json()["choices"][0]["message"]["content"] == "Hello"


async def test_l02_counts_that_come_within_the_grace_are_kept() -> None:
    """The counts follow the finish; the answer waits for them."""
    async with FakeUpstream(reply(sse(*FINISHED, COUNTS, "[DONE]"))) as upstream, running(upstream) as proxy:
        answer = await proxy.chat(stream=False)
        assert answer.json()["usage"]["total_tokens"] == 4


async def test_l02_done_without_a_finish_stays_an_error() -> None:
    """[DONE] ends no choice that had no finish."""
    events = sse(chunk("Hello"), "[DONE]")
    async with FakeUpstream(reply(events)) as upstream, running(upstream, end_grace=0.05) as proxy:
        answer = await proxy.chat()
        assert answer.events()[-1] != "[DONE]" or "error" in str(answer.events())


async def test_what_comes_when_the_wait_ends_takes_nothing_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last event may come when the wait for it has ended and its task has not run yet: the answer is sent whole."""
    original = Relay._on_data

    def read(self: Relay, data: bytes) -> bytes | None:
        if b"[DONE]" in data:
            now = asyncio.get_running_loop().time()
            self._timeouts.check(now)
            self._timeouts.check(now + 1000.0)
            assert self._timeouts.reason is Interrupt.ANSWER_FINISHED
        return original(self, data)

    monkeypatch.setattr(Relay, "_on_data", read)
    async with FakeUpstream(reply(sse(*FINISHED, COUNTS, "[DONE]"))) as upstream, running(upstream) as proxy:
        answer = await proxy.chat()
    assert answer.complete
    assert answer.text() == "Hello"
    assert answer.events()[-1] == "[DONE]"

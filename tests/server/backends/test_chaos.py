"""Backends that fail in every way at once: no request reaches two of them, and each client gets a proper end."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from typing import Any

import pytest

from tests.fakes import Answer, Close, Request, Reset, reply, reply_json, sse
from tests.server.backends.several import Scripted, die, several
from tests.server.running import Answer as Got
from tests.server.running import Proxy, chunk, said

pytestmark = pytest.mark.anyio

WAYS = (
    reply(sse(*said("fine"))),
    reply(sse(*said("fine"))),
    Answer((Close(),)),
    Answer((Reset(),)),
    Answer((b"HTTP/1.1 200 OK\r\nContent-Ty", Close())),
    reply([*sse(chunk("be")), Close()]),
    reply([*sse(chunk("be")), Reset()]),
    reply_json({"error": "busy"}, status=503),
)
REQUESTS = 12


class Chaotic(Scripted):
    """Ends each chat in a way of its own, and notes who was asked what."""

    def __init__(self, name: str, dice: random.Random, got: dict[str, set[str]]) -> None:
        super().__init__(name, {"llama3": "a"})
        self.chat = self._end
        self._dice = dice
        self._got = got

    def _end(self, request: Request) -> Answer:
        self._got[request.json()["messages"][0]["content"]].add(self.name)
        return self._dice.choice(WAYS)


@pytest.mark.parametrize("seed", range(12))
async def test_no_request_reaches_two(seed: int) -> None:
    """Whatever breaks, and while one of them ends for good. What is said to be fine is fine; all else is an error."""
    dice = random.Random(seed)
    got: dict[str, set[str]] = defaultdict(set)
    scripts = [Chaotic(name, dice, got) for name in ("one", "two", "three")]
    async with several(*scripts) as (proxy, upstreams):
        await proxy.server.runtime.probe.look()
        asking = [asyncio.ensure_future(ask(proxy, f"first {number}")) for number in range(REQUESTS)]
        answers = await asyncio.gather(*asking)
        await die(proxy, upstreams[dice.randrange(3)])
        asking = [asyncio.ensure_future(ask(proxy, f"second {number}")) for number in range(REQUESTS)]
        answers += await asyncio.gather(*asking)
        await proxy.exchange(2 * REQUESTS - 1)
        assert [backend.running for backend in proxy.server.runtime.backends.all] == [0, 0, 0]
    assert len(got) == 2 * REQUESTS
    assert {len(names) for names in got.values()} == {1}
    for answer in answers:
        assert answer.complete
        assert is_fine(answer) or b"error" in answer.body


async def ask(proxy: Proxy, content: str) -> Got:
    """One chat; every other one is not streamed."""
    stream = content[-1] in "02468"
    return await proxy.chat(model="llama3", content=content, stream=stream)


def is_fine(answer: Got) -> bool:
    """The whole answer has come, and says that it is whole."""
    if answer.status != 200:
        return False
    if "json" in answer.headers["content-type"]:
        value: Any = answer.json()["choices"][0]
        return bool(value["message"]["content"] == "fine" and value["finish_reason"] == "stop")
    return answer.text() == "fine" and answer.events()[-1] == "[DONE]"

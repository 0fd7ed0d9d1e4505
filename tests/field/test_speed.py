"""Cases from the field about speed: long lists are in force at once, and nobody waits for somebody else's stream."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from time import process_time

import pytest

from proxy.policy.compile import compile_policies
from proxy.policy.document import Source
from tests.fakes import FakeUpstream, Wait, reply, sse
from tests.fakes.answers import Answer, Step
from tests.fakes.connection import Request
from tests.server.running import Proxy, Wire, chat_body, chunk, running

IDEOGRAPHS = [chr(0x4E00 + i) for i in range(3000)]
GROWTH = 4
"""Times that a list of ten times the length may cost more than ten times as much: a cost that grows with the square
would be over it."""


def words(count: int) -> list[str]:
    """Chinese words, each another."""
    return [IDEOGRAPHS[i % 2000] + IDEOGRAPHS[i // 2000 + 2000] + IDEOGRAPHS[i * 7 % 3000] for i in range(count)]


def seconds_to_compile(entries: list[str]) -> float:
    """Own work for a policy of these words with fold."""
    rule = f"{{id: a, fold: true, action: block, words: [{', '.join(entries)}]}}"
    source = Source("words.yaml", f"version: 1\npolicy: words\nrules: [{rule}]\n".encode())
    began = process_time()
    assert compile_policies([source], hash_key=b"key").policies
    return process_time() - began


def test_l07_an_edit_of_a_long_list_costs_what_the_list_is_long() -> None:
    """10,000 Chinese words with fold, one of them edited: the work grows with the list, and not with its square."""
    short, long = words(1_000), words(10_000)
    seconds_to_compile(short)
    short_edits, long_edits = [], []
    for i in range(3):
        short[500] = long[5_000] = f"新的词{IDEOGRAPHS[i]}"
        short_edits.append(seconds_to_compile(short))
        long_edits.append(seconds_to_compile(long))
    assert min(long_edits) < GROWTH * 10 * min(short_edits)


STREAMS = 8
TOKENS = 20
FAST = b"".join(sse(chunk("so on and on "))) * 200
READ = 65536  # bytes of a read
READS = 4  # of each stream, while a token comes from its server to its client
CHAT = "/v1/chat/completions"


class Tokens:
    """A stream of a token at a time, each when the test says so; the others go as fast as they can."""

    def __init__(self) -> None:
        self.due = [asyncio.Event() for _ in range(TOKENS)]

    def __call__(self, request: Request) -> Answer:
        """Who asks for the slow model gets the slow stream."""
        if b'"slow"' in request.body:
            return reply(self._slowly())
        return reply([FAST] * 2000)

    def _slowly(self) -> Iterator[Step]:
        for n, due in enumerate(self.due):
            yield Wait(due)
            yield from sse(chunk(f"t{n} "))


@pytest.mark.anyio
async def test_l08_a_slow_stream_beside_fast_ones() -> None:
    """8 streams at full speed beside one with a token now and then: a token waits for a few reads of each, no more."""
    tokens = Tokens()
    async with (
        FakeUpstream(tokens, boundaries=False) as upstream,
        running(upstream) as proxy,
        AsyncExitStack() as wires,
        proxy.wire() as slow,
    ):
        reading = [asyncio.ensure_future(drain(await wires.enter_async_context(proxy.wire()))) for _ in range(STREAMS)]
        await slow.post(CHAT, chat_body(model="slow"))
        for n, due in enumerate(tokens.due):
            before = bytes_of_others(proxy)
            due.set()
            await slow.until(f"t{n} ".encode())
            if n:  # the first waits for the connections
                assert bytes_of_others(proxy) - before <= STREAMS * READS * READ
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)


async def drain(wire: Wire) -> None:
    """Ask, and read as fast as it comes."""
    await wire.post(CHAT, chat_body(model="fast"))
    while await wire._reader.read(READ):
        pass


def bytes_of_others(proxy: Proxy) -> int:
    """What has come for the streams at full speed so far."""
    return sum(exchange.bytes_received for exchange in proxy.seen.begun if exchange.model == "fast")

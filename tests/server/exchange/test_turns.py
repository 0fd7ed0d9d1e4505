"""Long work of many exchanges on one loop: in each turn one of them works; whatever ends an exchange ends its work."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from proxy.core.check import Progress
from proxy.core.steps import STEP
from proxy.core.types import Action, Rule
from proxy.dialects.answer import Answer
from proxy.server.exchange import turns as turns_module
from proxy.server.exchange.record import Outcome
from proxy.server.exchange.turns import QUANTUM, Turns
from proxy.server.upstream.connection import MAX_BUFFERED, Http1Response
from tests.fakes import FakeUpstream, Stall, Wait, reply, sse
from tests.phrases import block
from tests.server.running import Policies, chat_body, running, said

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
LARGE = 500_000  # characters of an event: some hundred steps


class Work:
    """An answer with so many steps to do. Each moves the clock on."""

    def __init__(self, steps: int, clock: list[float], takes: float = 0.0) -> None:
        self._steps = iter(range(steps))
        self._left = steps
        self._clock = clock
        self._takes = takes
        self.guard = SimpleNamespace(step=STEP)
        self.work: object = self
        self.stalled = False

    def step(self) -> bytes:
        """One of them."""
        self._clock[0] += self._takes
        self._left -= 1
        if not self._left:
            self.work = None
        return b"%d" % next(self._steps)


def as_answer(work: Work) -> Answer:
    """It has what is needed of one."""
    return cast(Answer, work)


async def test_one_works_in_each_turn_of_the_loop() -> None:
    """However many have work, the loop comes round between any two of them, and they take turns."""
    turns, log = Turns(), list[str]()
    loop = asyncio.get_running_loop()

    def tick() -> None:
        log.append("turn")
        loop.call_soon(tick)

    async def work(name: str) -> None:
        for _ in range(4):
            await turns.wait()
            log.append(name)

    loop.call_soon(tick)
    await asyncio.gather(*(work(name) for name in "abc"))
    for one, other in itertools.pairwise([entry for entry in log if entry != "turn"]):
        assert one != other
    for one, other in itertools.pairwise(log):
        assert "turn" in (one, other)


async def test_whoever_is_cancelled_costs_no_turn() -> None:
    """A task that waits no longer does not keep the others waiting."""
    turns = Turns()
    tasks = [asyncio.ensure_future(turns.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[1].cancel()
    await tasks[2]
    await turns.wait()


def test_a_turn_ends_with_its_time() -> None:
    """It lasts for QUANTUM, and for one step where that takes longer."""
    clock = [0.0]
    work = Work(100, clock, QUANTUM / 4)
    assert Turns(lambda: clock[0]).use(as_answer(work)) == b"0123"
    work = Work(100, clock, 3 * QUANTUM)
    assert Turns(lambda: clock[0]).use(as_answer(work)) == b"0"
    work = Work(3, clock)
    assert Turns(lambda: clock[0]).use(as_answer(work)) == b"012"


def test_a_step_is_as_long_as_the_processor_worked() -> None:
    """The next one is shorter where that was long, and not where other programs had the processor."""
    clock, used = [0.0], [0.0]
    busy = Work(1, used, 3 * QUANTUM)
    answer = as_answer(busy)
    answer.guard.step = 4096
    Turns(lambda: clock[0], lambda: used[0]).use(answer)
    assert answer.guard.step == 2048
    waited = as_answer(Work(1, clock, 3 * QUANTUM))
    waited.guard.step = 4096
    Turns(lambda: clock[0], lambda: used[0]).use(waited)
    assert waited.guard.step == 8192


class Watched:
    """A check that finds nothing, and calls somebody when it has read so much."""

    hold = 0
    rule = Rule("test", "watched", Action.FLAG)

    def __init__(self, after: int = LARGE // 10, call: Callable[[], None] = lambda: None) -> None:
        self.after, self.call = after, call
        self.read = 0

    def open(self) -> Watched:
        """The same one: it counts over all texts."""
        return self

    def feed(self, text: str, final: bool = False) -> Progress:
        """Count."""
        before, self.read = self.read, self.read + len(text)
        if before < self.after <= self.read:
            self.call()
        return Progress(self.read)


@pytest.fixture
def _one_step_in_each_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of one size, one in each turn, whatever the machine."""
    monkeypatch.setattr(turns_module, "next_step", lambda step, took: step)
    monkeypatch.setattr(Turns, "use", lambda self, answer: answer.step())


one_step_in_each_turn = pytest.mark.usefixtures("_one_step_in_each_turn")


@one_step_in_each_turn
async def test_others_come_in_between() -> None:
    """While a large event is judged, an event of another stream arrives."""
    go_on, watched = asyncio.Event(), Watched()
    watched.call = go_on.set
    small = sse(*said("Hello", " there"))
    answers = (reply([*small[:2], Wait(go_on), *small[2:]]), reply(sse(*said("x" * LARGE))))
    async with (
        FakeUpstream(answers, boundaries=False) as upstream,
        running(upstream, Policies(output=[watched])) as proxy,
        proxy.wire() as waiting,
        proxy.wire() as flooded,
    ):
        await waiting.post(CHAT, chat_body())
        await waiting.until(b"Hello")
        await flooded.post(CHAT, chat_body())
        await waiting.until(b" there")
        assert watched.read < LARGE
        answer = await flooded.answer()
        assert len(answer.text()) == LARGE


@one_step_in_each_turn
async def test_an_event_in_steps_arrives_as_it_came() -> None:
    """Streamed or collected, a large event is the same after its steps; those behind it come behind it."""
    texts = ("Hello", "y" * 300_000, " and", "z" * 300_000, " end")
    answers = (reply(sse(*said(*texts))), reply(sse(*said(*texts))))
    async with (
        FakeUpstream(answers, boundaries=False) as upstream,
        running(upstream, Policies(output=[Found("never")])) as proxy,
    ):
        for stream in (True, False):
            answer = await proxy.chat(stream=stream)
            text = answer.text() if stream else answer.json()["choices"][0]["message"]["content"]
            assert text == "".join(texts)


@one_step_in_each_turn
async def test_a_client_that_leaves_ends_the_work() -> None:
    """In the middle of an event: the rest is not judged, and the model server's connection is closed."""
    watched = Watched()
    async with (
        FakeUpstream(reply([*sse(*said("x" * LARGE))[:2], Stall()]), boundaries=False) as upstream,
        running(upstream, Policies(output=[watched])) as proxy,
        proxy.wire() as wire,
    ):
        watched.call = wire.leave
        await wire.post(CHAT, chat_body())
        exchange = await proxy.exchange()
        assert exchange.outcome is Outcome.CLIENT_CANCELLED
        assert watched.read < LARGE
        await (await upstream.exchange()).wait_client_closed()


@one_step_in_each_turn
@pytest.mark.parametrize("stream", [True, False])
async def test_a_server_that_stops_ends_the_work(stream: bool) -> None:
    """In the middle of an event: its client is told, of the event it gets nothing, and the rest is not judged."""
    watched = Watched()
    async with (
        FakeUpstream(reply([*sse(*said("Hello", "x" * LARGE))[:3], Stall()]), boundaries=False) as upstream,
        running(upstream, Policies(output=[watched])) as proxy,
        proxy.wire() as wire,
    ):
        watched.call = proxy.server.hurry
        await wire.post(CHAT, chat_body(stream=stream))
        answer = await wire.answer()
        assert answer.complete
        if stream:
            assert answer.text() == "Hello"
            assert answer.events()[-1]["error"]["code"] == "upstream_stopping"
        else:
            assert answer.status == 503
        assert watched.read < LARGE
        await (await upstream.exchange()).wait_client_closed()


@one_step_in_each_turn
async def test_a_block_in_the_middle_of_an_event() -> None:
    """What stands before it arrives, what stands behind it is not judged, and the model is stopped."""
    watched = Watched()
    text = "x" * (LARGE // 2) + "bomb" + "y" * (LARGE // 2)
    async with (
        FakeUpstream(reply([*sse(*said("Hello", text))[:3], Stall()]), boundaries=False) as upstream,
        running(upstream, Policies(output=[Found("bomb"), watched])) as proxy,
        proxy.wire() as wire,
    ):
        await wire.post(CHAT, chat_body())
        answer = await wire.answer()
        assert answer.complete
        assert answer.text().startswith("Hello" + "x" * (LARGE // 2) + "\n\nStopped")
        assert "y" not in answer.text().partition("Stopped")[0]
        assert watched.read <= LARGE // 2 + 2 * STEP
        await (await upstream.exchange()).wait_client_closed()


class Found:
    """A check that blocks a word that stands in one step."""

    hold = 8

    def __init__(self, word: str) -> None:
        self._word, self._size = word, 0
        self.rule = block(word).rule

    def open(self) -> Found:
        """A fresh scan."""
        return Found(self._word)

    def feed(self, text: str, final: bool = False) -> Any:
        """Only whole words in one piece: enough here."""
        start, self._size = self._size, self._size + len(text)
        at = text.find(self._word)
        if at >= 0:
            found = block(self._word).open().feed(self._word).findings[0]
            return Progress(start + at, (found._replace(start=start + at, end=start + at + len(self._word)),))
        return Progress(self._size)


@one_step_in_each_turn
async def test_the_model_server_waits_for_the_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    """While an event is judged, the proxy reads no more of the stream than its buffer holds."""
    read, before, watched = [0], list[int](), Watched(LARGE - 10 * STEP)
    receive = Http1Response.body_received

    def received(self: Http1Response, size: int) -> bool:
        read[0] += size
        return receive(self, size)

    monkeypatch.setattr(Http1Response, "body_received", received)
    watched.call = lambda: before.append(read[0])
    texts = ("x" * LARGE, *("z" * 100_000 for _ in range(20)))
    async with (
        FakeUpstream(reply(sse(*said(*texts))), boundaries=False) as upstream,
        running(upstream, Policies(output=[watched])) as proxy,
    ):
        answer = await proxy.chat(stream=True)
    assert answer.text() == "".join(texts)
    assert before[0] < LARGE + 3 * MAX_BUFFERED < read[0]

"""The queue in front of the model server."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import Unavailable
from proxy.server.limits.queue import Queue
from tests.server.running import soon
from tests.waiting import PATIENCE

pytestmark = pytest.mark.anyio


def queue(running: int = 1, waiting: int = 2, timeout: float = 10 * PATIENCE) -> Queue:
    """A queue in which one waits for longer than a test does."""
    return Queue(running, waiting, timeout)


async def test_first_come_first_served() -> None:
    """Those who wait get their turn in the order of their places, one for each that leaves."""
    line = queue()
    assert line.take()
    places = [line.line_up() for _ in range(2)]
    assert [place for place, _ in places] == [1, 2]
    tasks = [asyncio.ensure_future(line.wait(turn)) for _, turn in places]
    assert not line.take()
    line.leave()
    await soon(tasks[0])
    assert not tasks[1].done()
    assert (line.running, line.waiting) == (1, 1)
    line.leave()
    await soon(tasks[1])
    line.leave()
    assert (line.running, line.waiting) == (0, 0)


async def test_nobody_passes_those_who_wait() -> None:
    """Who comes while others wait lines up behind them, also when there is room for a moment."""
    line = queue()
    line.take()
    _, turn = line.line_up()
    line.leave()
    assert not line.take()
    await soon(line.wait(turn))


async def test_a_full_queue() -> None:
    """503 with the number, and when to ask again; and it is counted."""
    line = queue(waiting=1)
    line.take()
    line.line_up()
    with pytest.raises(Unavailable, match="1 requests wait for it; ask again later") as caught:
        line.line_up()
    assert (b"retry-after", b"5") in caught.value.headers
    assert line.full == 1


async def test_one_who_waits_too_long() -> None:
    """503; the place is free for others, and the turn of those behind comes all the same."""
    line = queue(timeout=0.0)
    line.take()
    _, late = line.line_up()
    with pytest.raises(Unavailable, match="was busy for 0 s") as caught:
        await line.wait(late)
    assert caught.value.code == "queue_timeout"
    assert (line.waiting, line.late) == (0, 1)
    line.leave()
    assert line.running == 0


async def test_one_who_leaves_while_waiting() -> None:
    """The place is free; also when the turn came in the same moment."""
    for turn_came in (False, True):
        line = queue()
        line.take()
        task = asyncio.ensure_future(line.wait(line.line_up()[1]))
        await asyncio.sleep(0)
        if turn_came:
            line.leave()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(task)
        if not turn_came:
            line.leave()
        assert (line.running, line.waiting) == (0, 0)


async def test_without_a_bound_nobody_waits() -> None:
    """0: any number."""
    line = queue(running=0)
    assert all(line.take() for _ in range(1000))


@given(st.lists(st.sampled_from(["come", "leave", "give up"]), max_size=60), st.integers(1, 3), st.integers(0, 3))
def test_no_turn_is_lost(events: list[str], most: int, places: int) -> None:
    """Whatever comes in whatever order, never more than so many are under way, and none waits while there is room."""

    async def play() -> None:
        line = queue(most, places)
        inside = 0
        waiting: list[asyncio.Task[None]] = []
        for event in events:
            if event == "come" and line.take():
                inside += 1
            elif event == "come":
                try:
                    waiting.append(asyncio.ensure_future(line.wait(line.line_up()[1])))
                except Unavailable:
                    assert line.waiting == places
            elif event == "leave" and inside:
                line.leave()
                inside -= 1
            elif event == "give up" and waiting:
                waiting.pop().cancel()
            for _ in range(4):
                await asyncio.sleep(0)
            inside += sum(task.done() for task in waiting)
            waiting = [task for task in waiting if not task.done()]
            assert line.running == inside <= most
            assert line.waiting == len(waiting)
            assert not waiting or inside == most
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(play())

"""How tests wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests import waiting
from tests.waiting import LateError, a_moment, at_once, at_rest, stuck, until, until_elsewhere

pytestmark = pytest.mark.anyio


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 0.05)


async def test_what_follows_in_some_turns_of_the_loop_is_at_once() -> None:
    """However many parts it has."""
    happens = asyncio.Event()

    async def work() -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        happens.set()

    working = asyncio.ensure_future(work())
    await at_once(happens)
    await working


async def test_what_never_happens_is_late() -> None:
    """It ends by itself."""
    with pytest.raises(LateError):
        await at_once(asyncio.Event())


async def test_a_condition_is_waited_for() -> None:
    """Until it holds."""
    left = iter([False, False, True, False, True])
    await until(lambda: next(left))
    until_elsewhere(lambda: next(left))
    assert list(left) == []


@pytest.mark.usefixtures("_impatient")
async def test_a_condition_that_never_holds_ends_the_test() -> None:
    """Nothing hangs, and neither does what never comes to rest."""
    with pytest.raises(TimeoutError):
        await until(lambda: False)
    ever_new = iter(range(10**9))
    with pytest.raises(TimeoutError):
        await at_rest(lambda: next(ever_new))
    with pytest.raises(TimeoutError):
        until_elsewhere(lambda: False)


async def test_rest_begins_with_the_last_change() -> None:
    """Whatever changed before is over."""
    values: Iterator[int] = iter(range(1000))
    last = 0

    def value() -> int:
        nonlocal last
        last = next(values, last)
        return last

    await at_rest(value)
    assert last == 999


async def test_what_waits_for_nothing_but_this_process_is_stuck_or_done() -> None:
    """What others have to do meanwhile does not count."""
    assert not await stuck(asyncio.ensure_future(asyncio.sleep(0)))
    waiting_for_ever = asyncio.ensure_future(asyncio.Event().wait())
    assert await stuck(waiting_for_ever)
    waiting_for_ever.cancel()


async def test_in_a_moment_others_have_their_turns() -> None:
    """Many of them."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    await a_moment()
    counting.cancel()
    assert turns > 20

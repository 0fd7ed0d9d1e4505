"""Requests and tokens a minute: in this process, in a Redis server, and while that does not answer."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.errors import SettingsError, Unavailable
from proxy.server.limits import rates as rates_module
from proxy.server.limits.memory import MOST, SteadyMemory
from proxy.server.limits.rates import ALL, REQUESTS, STORE_REST, TOKENS, Limit, Rates, Refused, open_store
from tests.server.keys.test_authentication import Hand
from tests.server.limits.stores import REDIS, WHY_NOT, redis_server, silent_server

pytestmark = pytest.mark.anyio

TWO = Limit(REQUESTS, "key:alice", 2)
TEN_TOKENS = Limit(TOKENS, "key:alice", 10)


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.skipif(REDIS is None, reason=WHY_NOT))])
async def rates(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rates]:
    """Both places in which is counted."""
    if request.param == "memory":
        yield Rates()
        return
    with redis_server(tmp_path) as url:
        found = Rates(open_store(url))
        yield found
        assert found.errors == 0
        await found.aclose()


async def refused(rates: Rates, *limits: Limit) -> Refused | None:
    """What is said of a request."""
    try:
        await rates.begin(list(limits))
    except Refused as error:
        return error
    return None


async def test_so_many_requests_in_a_minute(rates: Rates) -> None:
    """Two pass; the third is refused, with the time until the minute is over."""
    assert [await refused(rates, TWO) for _ in range(2)] == [None, None]
    found = await refused(rates, TWO)
    assert found is not None
    assert 1 <= found.seconds <= 60
    assert found.error.status == 429
    assert str(found.error) == "The limit of this key is reached: 2 requests a minute; ask again later"
    assert await refused(rates, TWO._replace(name="key:bob")) is None


async def test_what_one_limit_refuses_counts_for_no_other(rates: Rates) -> None:
    """While all clients together are at their limit, a key's own requests of the minute are not used up."""
    everybody = Limit(REQUESTS, ALL, 1)
    assert await refused(rates, TWO, everybody) is None
    for _ in range(3):
        found = await refused(rates, TWO, everybody)
        assert found is not None
        assert found.limit is everybody
    assert await refused(rates, TWO) is None
    assert await refused(rates, TWO) is not None


async def test_a_limit_for_all(rates: Rates) -> None:
    """It counts the requests of every key together."""
    everybody = Limit(REQUESTS, ALL, 2)
    for name in ("alice", "bob"):
        assert await refused(rates, TWO._replace(name=f"key:{name}"), everybody) is None
    found = await refused(rates, TWO._replace(name="key:carl"), everybody)
    assert found is not None
    assert "all clients together" in str(found.error)


async def test_tokens_are_counted_at_the_end(rates: Rates) -> None:
    """A request that begins may use more than is left; the next one is refused then."""
    for used in (4, 0, 5):
        assert await refused(rates, TEN_TOKENS) is None
        await rates.count_tokens([TEN_TOKENS, TWO], used)
    assert await refused(rates, TEN_TOKENS) is None
    await rates.count_tokens([TEN_TOKENS], 100)
    found = await refused(rates, TEN_TOKENS)
    assert found is not None
    assert found.limit is TEN_TOKENS


async def test_a_minute_ends() -> None:
    """Sixty seconds after its first request, whatever has been refused in it."""
    clock = Hand(0.0)
    rates = Rates(memory=SteadyMemory(clock))
    for _ in range(5):
        await refused(rates, TWO)
    clock.now = 59.9
    assert await refused(rates, TWO) is not None
    clock.now = 60.0
    assert await refused(rates, TWO) is None


@pytest.mark.parametrize("jump", [-1e9, -3600.0, 3600.0, 1e9])
async def test_a_time_of_day_that_jumps_changes_nothing(jump: float) -> None:
    """A minute is one of the monotonic clock, and nobody is told to wait for hours."""
    clock, wall = Hand(0.0), Hand()
    rates = Rates(memory=SteadyMemory(clock, wall))
    for _ in range(2):
        assert await refused(rates, TWO) is None
    wall.now += jump
    clock.now = 30.0
    found = await refused(rates, TWO)
    assert found is not None
    assert 1 <= found.seconds <= 60
    clock.now = 61.0
    assert await refused(rates, TWO) is None


async def test_counts_whose_time_is_over_are_dropped() -> None:
    """Memory is bounded by what was counted in the last minutes."""
    clock = Hand(0.0)
    memory = SteadyMemory(clock)
    for number in range(MOST):
        await memory.incr(f"k{number}", 60)
    clock.now = 61.0
    await memory.incr("another", 60)
    assert len(memory._counts) == 1
    assert await memory.check()
    assert await memory.reset() == 1
    await memory.incr("x", 60)
    await memory.clear("x")
    assert await memory.get("x") == 0


@pytest.mark.skipif(REDIS is None, reason=WHY_NOT)
async def test_several_proxies_count_together(tmp_path: Path) -> None:
    """Each sees what the other has counted."""
    with redis_server(tmp_path) as url:
        one, other = Rates(open_store(url)), Rates(open_store(url))
        assert await refused(one, TWO) is None
        assert await refused(other, TWO) is None
        assert await refused(one, TWO) is not None
        await one.aclose()
        await other.aclose()


async def test_a_store_that_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    """allow: the process counts for itself, so there still is a limit. It is counted, and told once in a while."""
    clock = Hand(0.0)
    rates = Rates(open_store("redis://:hidden@127.0.0.1:9"), "allow", clock)
    with caplog.at_level(logging.WARNING, "safety_proxy.limits"):
        assert [await refused(rates, TWO) is None for _ in range(3)] == [True, True, False]
        assert rates.errors >= 3
        assert len(caplog.messages) == 1
        clock.now += STORE_REST
        await refused(rates, TWO)
    assert len(caplog.messages) == 2
    assert "this process counts for itself for 2 s" in caplog.text
    assert "hidden" not in caplog.text
    await rates.aclose()


async def test_a_store_that_is_gone_may_refuse() -> None:
    """refuse: 503 with the time after which it is asked again; tokens that were used are not lost."""
    rates = Rates(open_store("redis://127.0.0.1:9"), "refuse", Hand(0.0))
    for _ in range(2):
        with pytest.raises(Unavailable, match="The limits cannot be checked") as caught:
            await rates.begin([TWO])
        assert (caught.value.code, caught.value.headers) == ("limits_store", [(b"retry-after", b"2")])
    await rates.count_tokens([TEN_TOKENS], 5)
    assert await rates._local.storage.get(TEN_TOKENS.item.key_for(TEN_TOKENS.name)) == 5


async def test_a_store_that_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    """One request waits for it, for a bounded time; those behind it do not wait at all."""
    monkeypatch.setattr(rates_module, "STORE_TIMEOUT", 0.05)
    async with silent_server() as (url, taken):
        rates = Rates(open_store(url), "allow", Hand(0.0))
        for _ in range(5):
            await refused(rates, TWO)
        assert len(taken) == 1
        assert rates.errors >= 5
        await rates.aclose()


@pytest.mark.skipif(REDIS is None, reason=WHY_NOT)
async def test_a_store_that_comes_back(tmp_path: Path) -> None:
    """After its rest it is asked again, and counts on."""
    clock = Hand(0.0)
    with redis_server(tmp_path) as url:
        rates = Rates(open_store(url), "refuse", clock)
        await rates.begin([TWO])
    with pytest.raises(Unavailable):
        await rates.begin([TWO])
    with redis_server(tmp_path):
        clock.now += STORE_REST
        await rates.begin([TWO])
        await rates.aclose()


def test_without_its_package_the_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(SettingsError, match=r"pip install 'safety-proxy\[redis\]'"):
        open_store("redis://127.0.0.1:6379")

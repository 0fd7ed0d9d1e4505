"""The bench's upstream and its load client, against each other."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from bench.load import Plan, Result, Run, arguments, command
from bench.upstream import Script, Upstream
from bench.wire import STAMP, Pace, tokens
from tests.waiting import PATIENCE


async def measured(pace: Pace, streams: int = 2, requests: int = 1, stream: bool = True) -> Result:
    """A run of the load client straight against the upstream."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        plan = Plan(port, pace.model(), streams, requests, stream, deadline=PATIENCE)
        return await Run(plan).execute()


def test_a_pace_survives_as_a_models_name() -> None:
    """A proxy hands on nothing but the name, perhaps with a provider's in front of it."""
    pace = Pace(n=7, rate=30, batch=2, stamp=0, wait=5)
    assert Pace.of(pace.model()) == pace
    assert Pace.of(f"openai/{pace.model()}") == pace
    assert Pace.of("bench") == Pace()


def test_a_plan_survives_as_a_command() -> None:
    """The load client carries out in its own process what was planned in another."""
    plan = Plan(9, Pace(n=3).model(), 4, 5, False, 6.0, 7, [8, 9], 10.0)
    assert Plan(**vars(arguments().parse_args(command(plan)[3:]))) == plan


@pytest.mark.anyio
@pytest.mark.parametrize("pace", [Pace(n=10, rate=200, wait=20), Pace(n=40, batch=20), Pace(n=40, batch=7, stamp=0)])
async def test_every_event_is_seen_once(pace: Pace) -> None:
    """Nothing in between: all streams are served, every event comes, and comes as it was sent."""
    result = await measured(pace)
    assert (result.served, result.wanted, result.untouched) == (2, 2, 1.0)
    assert len(result.first) == 3


@pytest.mark.anyio
async def test_the_delay_is_the_time_since_the_stamp() -> None:
    """Stamped events have a delay, in microseconds."""
    result = await measured(Pace(n=20, rate=200, wait=20))
    p50, p90, p99, longest = result.delay
    assert 0 < p50 <= p90 <= p99 <= longest
    assert result.worst_ms


@pytest.mark.anyio
async def test_short_answers_are_counted() -> None:
    """Several requests one after the other on each connection, without a stream."""
    result = await measured(Pace(n=3), requests=4, stream=False)
    assert (result.served, result.wanted) == (8, 8)


@pytest.mark.anyio
async def test_a_stream_that_is_cut_is_not_served() -> None:
    """The upstream goes in the middle of every answer."""
    server = await asyncio.get_running_loop().create_server(lambda: Cut(3), "127.0.0.1", 0)
    async with server:
        plan = Plan(server.sockets[0].getsockname()[1], Pace(n=9, rate=200).model(), 2, deadline=PATIENCE)
        result = await Run(plan).execute()
    assert (result.served, result.wanted) == (0, 2)


class Cut(Upstream):
    """An upstream that closes after so many events."""

    def __init__(self, after: int) -> None:
        self._after = after

    def _tick(self) -> None:
        super()._tick()
        if self._at >= self._after:
            self._transport.abort()


def test_events_are_those_of_a_model_server() -> None:
    """Each write is one chunk with one JSON object, whose text is the next token."""
    script = Script(Pace(n=2), "bench:n=2", usage=False)
    size, event, _ = script.write(0, 1).split(b"\r\n")
    assert int(size, 16) == len(event)
    chunk = orjson.loads(event.removeprefix(b"data: "))
    assert chunk["choices"][0]["delta"] == {"content": tokens()[0]}
    assert STAMP.search(event)

"""The two transports that the proxy can put under httpx, and how the tests meet a server with them."""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, cast

import httpx
import httpx_aiohttp
import pytest

from proxy.server.upstream.transport import Http1Origin, Http1Transport
from tests.plain_http import NO_TLS
from tests.server.faulty_server import LIMIT, FaultyServer, Script

P = ParamSpec("P")
Make = Callable[[], httpx.AsyncBaseTransport]


def own() -> httpx.AsyncBaseTransport:
    """The project's transport."""
    return Http1Transport()


def library() -> httpx.AsyncBaseTransport:
    """The library's. `max_connections=None` would leave aiohttp's own limit of 100 in force; 0 is "no limit" there."""
    limits = httpx.Limits(max_connections=0)
    made: httpx.AsyncBaseTransport = httpx_aiohttp.AiohttpTransport(verify=NO_TLS, limits=limits)
    return made


def both(*, library_differs: str = "") -> pytest.MarkDecorator:
    """Runs a test over both transports; where the library is known to fail it, that is stated and must stay true."""
    marks = [pytest.mark.xfail(strict=True, reason=library_differs)] if library_differs else []
    makes = [pytest.param(own, id="own"), pytest.param(library, id="httpx-aiohttp", marks=marks)]
    return pytest.mark.parametrize("make", makes)


def scripted(test: Callable[P, Awaitable[None]]) -> Callable[P, Awaitable[None]]:
    """An async test that may not hang."""

    @pytest.mark.anyio
    @functools.wraps(test)
    async def bounded(*args: P.args, **kwargs: P.kwargs) -> None:
        async with asyncio.timeout(2 * LIMIT):
            await test(*args, **kwargs)

    return bounded


@asynccontextmanager
async def meeting(make: Make, *scripts: Script) -> AsyncIterator[tuple[FaultyServer, httpx.AsyncClient]]:
    """A client and a server. Afterwards not one connection may be open, nor any error have gone unseen."""
    async with FaultyServer(*scripts) as server:
        async with watched_loop(), httpx.AsyncClient(transport=make(), base_url=server.url, timeout=LIMIT) as client:
            yield server, client
        await server.all_gone()


@asynccontextmanager
async def watched_loop() -> AsyncIterator[None]:
    """Fails when the loop had to report an error that nobody handled ("exception was never retrieved" and the like)."""
    loop = asyncio.get_running_loop()
    unseen: list[dict[str, Any]] = []
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: unseen.append(context))
    try:
        yield
        gc.collect()
        await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(before)
    assert unseen == []


class Clock:
    """The clock of an origin's only connection, which a test puts forward instead of waiting."""

    def __init__(self, origin: Http1Origin) -> None:
        (self._connection,) = origin._connections
        self._passed = 0.0
        self._loop = asyncio.get_running_loop()
        self._connection._loop = cast(asyncio.AbstractEventLoop, self)
        assert self._connection._response is not None
        self._connection._response._loop = cast(asyncio.AbstractEventLoop, self)

    def forward(self, seconds: float) -> None:
        """So much later: what the connection's timer does then."""
        self._passed += seconds
        self._connection._check_timer()

    def time(self) -> float:
        """The loop's, with what has passed."""
        return self._loop.time() + self._passed

    def __getattr__(self, name: str) -> Any:
        """All else is the loop's own."""
        return getattr(self._loop, name)


def loops() -> list[Any]:
    """Both event loops that the proxy may run on: uvloop, and asyncio's own where there is no uvloop (Windows)."""
    return [pytest.param(("asyncio", {"use_uvloop": use}), id="uvloop" if use else "asyncio") for use in (True, False)]

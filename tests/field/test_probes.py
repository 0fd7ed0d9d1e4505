"""Probes of load balancers, which speak HTTP/1.0 without a Host (field case o03), clients that leave (r08),
and Claude Code's first question (c07)."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes import FakeUpstream, Stall, reply, sse
from tests.fakes.answers import Framing
from tests.server.running import Wire, chat_body, chunk, running

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"


async def status_of(address: tuple[str, int], request: bytes) -> bytes:
    """The first line of the response to exactly these bytes."""
    async with Wire(*await asyncio.open_connection(*address)) as wire:
        await wire.send(request)
        return (await wire.until(b"\r\n")).partition(b"\r\n")[0]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_o03_a_probe_needs_no_host(method: str) -> None:
    """GET and HEAD of HTTP/1.0 without Host are answered on every listener."""
    async with FakeUpstream(reply(b"", status=200)) as upstream, running(upstream) as proxy:
        assert proxy.server.bound.admin is not None
        for path in ("/healthz", "/readyz"):
            line = await status_of(proxy.server.bound.admin, f"{method} {path} HTTP/1.0\r\n\r\n".encode())
            assert line.startswith(b"HTTP/1.1 200")
        line = await status_of(proxy.server.bound.listen, f"{method} / HTTP/1.0\r\n\r\n".encode())
        assert line.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_o03_all_else_needs_one(version: str) -> None:
    """A request that changes something, and every request of HTTP/1.1, names its host."""
    async with FakeUpstream([]) as upstream, running(upstream) as proxy:
        assert proxy.server.bound.admin is not None
        request = f"POST /admin/reload HTTP/{version}\r\ncontent-length: 0\r\n\r\n".encode()
        assert (await status_of(proxy.server.bound.admin, request)).startswith(b"HTTP/1.1 403")
        request = f"POST {CHAT} HTTP/{version}\r\ncontent-length: 2\r\n\r\n{{}}".encode()
        assert (await status_of(proxy.server.bound.listen, request)).startswith(b"HTTP/1.1 400")
        assert not upstream.requests


async def test_r08_nothing_is_judged_after_a_client_has_left() -> None:
    """The model server's connection is closed in the turn in which the client is seen to go."""
    async with (
        FakeUpstream(reply([*sse(chunk("Hello")), Stall()])) as upstream,
        running(upstream) as proxy,
        proxy.wire() as wire,
    ):
        await wire.post(CHAT, chat_body())
        await wire.until(b"Hello")
        exchange = await upstream.exchange()
        (timeouts,) = proxy.server.runtime._watchdog._running
        timeouts._client_disconnected()
        await exchange.wait_client_closed()
        assert (await proxy.exchange()).outcome == "client_cancelled"


async def test_c07_a_page_that_wants_gzip() -> None:
    """Claude Code asks HEAD / at each start: llama.cpp refuses its own page with 415 to clients without gzip, and that
    means nothing but that it runs."""
    page = reply(b"", status=415, content_type="text/plain", framing=Framing.LENGTH)
    async with FakeUpstream(lambda _: page) as upstream, running(upstream) as proxy:
        for method in ("HEAD", "GET"):
            assert (await proxy.client.request(method, f"{proxy.url}/")).status_code == 200

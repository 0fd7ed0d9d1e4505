"""How the server ends: nothing is cut without a word, nothing hangs."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast
from unittest.mock import patch

import pytest
from prometheus_client import CollectorRegistry

from proxy.errors import SettingsError
from proxy.policy.store import PolicyStore
from proxy.server.app import Bound, serve
from proxy.server.config import ServerConfig
from tests.fakes import Answer, FakeUpstream, Stall, Wait, reply, sse
from tests.server.running import Policies, Store, Wire, chat_body, chunk, events, head, running, said, soon
from tests.waiting import PATIENCE

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
Serving = asyncio.Task[None]
BUSY = reply([*sse(chunk("Hello")), Stall()])
GRACE = 10 * PATIENCE  # seconds: whoever waits for its end has failed before


async def test_streams_end_with_an_error_event() -> None:
    """Once the grace is over, each stream gets a proper error event, and the model server's connection is closed."""
    async with FakeUpstream(BUSY) as upstream, running(upstream) as proxy, proxy.wire() as wire:
        await wire.post(CHAT, chat_body())
        await wire.until(b"Hello")
        stopping = asyncio.ensure_future(proxy.server.stop())
        answer = await wire.answer()
        assert answer.complete
        assert answer.text() == "Hello"
        assert answer.events()[-1]["error"]["code"] == "upstream_stopping"
        await soon(stopping)
        await (await upstream.exchange()).wait_client_closed()
        assert await wire.ended() == b""


@pytest.mark.parametrize("stream", [True, False])
async def test_requests_without_an_answer_get_503(stream: bool) -> None:
    """A request that has no answer yet gets 503, and so does one whose body is still coming."""
    async with (
        FakeUpstream(Answer((Stall(),))) as upstream,
        running(upstream) as proxy,
        proxy.wire() as asking,
        proxy.wire() as sending,
    ):
        await asking.post(CHAT, chat_body(stream=stream))
        await upstream.exchange()
        await sending.send(head(CHAT, "content-length: 100"))
        await soon(proxy.seen.first(2))
        stopping = asyncio.ensure_future(proxy.server.stop())
        for wire in (asking, sending):
            answer = await wire.answer()
            assert answer.status == 503
            assert answer.json()["error"]["code"] == "upstream_stopping"
        await soon(stopping)


async def test_streams_may_finish_within_the_grace() -> None:
    """Within the grace running streams go on to their own end, and new connections are refused."""
    go_on = asyncio.Event()
    first, *rest = sse(*said("Hello", " there"))[1:]
    answers = reply([first, Wait(go_on), *rest])
    async with FakeUpstream(answers) as upstream, running(upstream, grace=GRACE) as proxy, proxy.wire() as wire:
        await wire.post(CHAT, chat_body())
        await wire.until(b"Hello")
        stopping = asyncio.ensure_future(proxy.server.stop())
        await asyncio.sleep(0)
        with pytest.raises(OSError):
            await asyncio.open_connection(*proxy.server.bound.listen)
        go_on.set()
        assert (await wire.answer()).events()[-1] == "[DONE]"
        await soon(stopping)


async def test_readiness_ends_first() -> None:
    """While streams finish, the admin listener still answers: alive, but not ready."""
    go_on = asyncio.Event()
    first, *rest = sse(*said("Hello"))[1:]
    answers = reply([first, Wait(go_on), *rest])
    async with FakeUpstream(answers) as upstream, running(upstream, grace=GRACE) as proxy, proxy.wire() as wire:
        await wire.post(CHAT, chat_body())
        await wire.until(b"Hello")
        assert (await proxy.client.get(f"{proxy.admin_url}/readyz")).status_code == 200
        stopping = asyncio.ensure_future(proxy.server.stop())
        assert (await proxy.client.get(f"{proxy.admin_url}/readyz")).status_code == 503
        assert (await proxy.client.get(f"{proxy.admin_url}/healthz")).status_code == 200
        go_on.set()
        await wire.answer()
        await soon(stopping)


async def test_a_client_that_does_not_read_does_not_hold_up_the_end() -> None:
    """A client that reads nothing cannot keep the server from ending."""
    event = b"".join(sse(chunk("x" * 1000))) * 50
    flood = reply([*[event] * 2000, Stall()])
    async with FakeUpstream(flood, boundaries=False) as upstream, running(upstream) as proxy, proxy.wire() as wire:
        await wire.post(CHAT, chat_body())
        await wire.until(b"xxx")
        await soon(proxy.server.stop())


async def test_idle_connections_end_at_once() -> None:
    """Connections that wait for a next request do not hold up the end."""
    answers = reply(sse(*said("Hello")))
    async with FakeUpstream(answers) as upstream, running(upstream, grace=GRACE) as proxy, proxy.wire() as wire:
        await wire.post(CHAT, chat_body())
        await wire.answer()
        await soon(proxy.server.stop())
        assert await wire.ended() == b""


async def test_a_port_in_use() -> None:
    """A port in use is one clear line that says what and how to fix it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for listener in ("listen", "admin"):
            taken_twice: dict[str, Any] = {listener: ("127.0.0.1", port)}
            with pytest.raises(SettingsError, match=f"127.0.0.1:{port}: the address is in use"):
                async with running("http://127.0.0.1:9", None, **taken_twice):
                    pass


@asynccontextmanager
async def served(upstream: FakeUpstream, store: Store, **config: Any) -> AsyncIterator[tuple[Bound, Serving]]:
    """`serve` with its signals, in a task; this process's memory is left alone."""
    ready: asyncio.Future[Bound] = asyncio.get_running_loop().create_future()
    wanted = {"listen": ("127.0.0.1", 0), "admin": ("127.0.0.1", 0), **config}
    settings = ServerConfig(upstream=upstream.url, **wanted)
    serving = asyncio.ensure_future(
        serve(settings, cast(PolicyStore, store), registry=CollectorRegistry(), ready=ready.set_result, watch=False)
    )
    try:
        with patch("proxy.server.app.settle_memory"):
            yield await soon(ready), serving
    finally:
        if not serving.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await soon(serving)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().remove_signal_handler(number)


async def wire_to(bound: Bound) -> Wire:
    """A connection to a served proxy."""
    return Wire(*await asyncio.open_connection(*bound.listen))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_that_stop(number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C stop listening; streams finish, and `serve` returns."""
    go_on = asyncio.Event()
    first, *rest = sse(*said("Hello", " there"))[1:]
    async with (
        FakeUpstream(reply([first, Wait(go_on), *rest])) as upstream,
        served(upstream, Store(Policies())) as (bound, serving),
        await wire_to(bound) as wire,
    ):
        await wire.post(CHAT, chat_body())
        await wire.until(b"Hello")
        os.kill(os.getpid(), number)
        go_on.set()
        assert events(await wire.until(b"[DONE]"))
        await soon(serving)


async def test_a_second_signal_ends_the_grace() -> None:
    """A second SIGTERM ends the grace: streams get their error event at once."""
    async with (
        FakeUpstream(BUSY) as upstream,
        served(upstream, Store(Policies()), grace=GRACE) as (bound, serving),
        await wire_to(bound) as wire,
    ):
        await wire.post(CHAT, chat_body())
        await wire.until(b"Hello")
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        await wire.until(b"upstream_stopping")
        await soon(serving)


async def test_sighup_reloads() -> None:
    """SIGHUP loads the policies anew and never ends the proxy, whatever is wrong with them."""
    changed = asyncio.Event()
    store = Store(Policies())
    store.listeners.append(lambda _: changed.set())
    async with FakeUpstream([]) as upstream, served(upstream, store) as (_, serving):
        os.kill(os.getpid(), signal.SIGHUP)
        await soon(changed.wait())
        assert store.status.error
        changed.clear()
        store.next = Policies(revision="revision-2")
        os.kill(os.getpid(), signal.SIGHUP)
        await soon(changed.wait())
        assert store.current.revision == "revision-2"
        assert not serving.done()


def test_serving_settles_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has been loaded is frozen, so that full collections are rare and short. Then collection is on again."""
    import gc

    from proxy.server import app

    called: list[str] = []
    calls: dict[str, Callable[..., None]] = {
        "freeze": lambda: called.append("freeze"),
        "set_threshold": lambda *given: called.append(f"threshold {given}"),
        "enable": lambda: called.append("enable"),
    }
    for name, call in calls.items():
        monkeypatch.setattr(gc, name, call)
    app.settle_memory()
    assert called == ["freeze", f"threshold {app.GC_THRESHOLDS}", "enable"]

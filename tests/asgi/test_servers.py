"""`proxy.asgi:app` under the ASGI servers that people have: each guards a stream and stops the model of who leaves."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tests.fakes import FakeUpstream, Stall, reply, sse
from tests.plain_http import async_client
from tests.proxy_process import REPOSITORY
from tests.server.running import Wire, chat_body, chunk, events, said, text
from tests.waiting import PATIENCE, rest

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

CHAT = "/v1/chat/completions"
POLICY = "version: 1\npolicy: p\nrules: [{id: a, words: [zorblax], action: rewrite, replacement: '[name]'}]\n"
SERVERS = {
    "uvicorn": ["uvicorn", "proxy.asgi:app", "--port", "{port}"],
    "hypercorn": ["hypercorn", "proxy.asgi:app", "--bind", "127.0.0.1:{port}"],
    "granian": ["granian", "--interface", "asgi", "--port", "{port}", "proxy.asgi:app"],
}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    """Each of them."""
    return str(request.param)


@contextmanager
def _process(server: str, upstream: str, policies: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The server in a process of its own, and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", *(word.format(port=port) for word in SERVERS[server])]
    settings = {"SAFETY_PROXY_UPSTREAM": upstream, "SAFETY_PROXY_POLICIES": str(policies)}
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **settings}
    process = subprocess.Popen(command, env=environment, cwd=policies)
    try:
        yield process, port
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@asynccontextmanager
async def serving(server: str, upstream: str, policies: Path) -> AsyncIterator[int]:
    """The server, once it takes connections; its port."""
    with _process(server, upstream, policies) as (process, port):
        await asyncio.wait_for(_listening(port, process), PATIENCE)
        yield port


async def _listening(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await rest()
        else:
            writer.close()
            return
    raise AssertionError("the server has ended; its output says why")


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """A directory with one policy that rewrites a word."""
    (tmp_path / "p.yaml").write_text(POLICY)
    return tmp_path


async def test_it_guards_a_stream(server: str, policies: Path) -> None:
    """Streamed and whole answers are rewritten, errors have their dialect, and the operators' side is not there."""
    async with (
        FakeUpstream(lambda _: reply(sse(*said("Project Zorb", "lax is")))) as upstream,
        serving(server, upstream.url, policies) as port,
        async_client(base_url=f"http://127.0.0.1:{port}") as http,
    ):
        answer = await http.post(CHAT, json=chat_body())
        assert text(events(answer.content)) == "Project [name] is"
        whole = (await http.post(CHAT, json=chat_body(stream=False))).json()
        assert whole["choices"][0]["message"]["content"] == "Project [name] is"
        assert (await http.get("/metrics")).status_code == 404
        assert (await http.post(CHAT, content=b"{")).json()["error"]["type"] == "invalid_request_error"


async def test_who_leaves_stops_the_model(server: str, policies: Path) -> None:
    """A client that goes closes the model server's connection."""
    async with (
        FakeUpstream(reply([*sse(chunk("Hello")), Stall()])) as upstream,
        serving(server, upstream.url, policies) as port,
        Wire(*await asyncio.open_connection("127.0.0.1", port)) as wire,
    ):
        await wire.post(CHAT, chat_body())
        await wire.until(b"Hello")
        exchange = await upstream.exchange()
        wire.leave()
        await exchange.wait_client_closed()

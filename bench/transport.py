"""What the transport costs: CPU of the client process per event, per short request and per event of a flood.

    python -m bench.transport [--rounds 5]

A loopback upstream (raw asyncio protocols on uvloop, a process of its own) sends one event per write. Every client does
the same work in turn, round by round, so that a noisy machine is noisy for all of them. The figures are the CPU time of
the process. Ratios are taken within a round, against httpx-aiohttp. Wall time is not measured.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple, Protocol

import httpx
import httpx_aiohttp
import uvloop

from bench.machine import machine
from proxy.server.upstream.transport import Http1Transport

STREAMS, RATE, EVENTS = 64, 50, 60
SETTLE = 0.4  # seconds between a stream's head and its first event: all streams are open by then
WORKERS = 16
FLOOD_STREAMS, FLOOD_EVENTS, FLOOD_WRITE = 16, 3000, 50
BODY = b'{"model":"m","messages":[{"role":"user","content":"hello"}],"stream":true}'
JSON = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}]}'
EVENT = (
    b'data: {"id":"chatcmpl-9h2kQ7xZ4mN1pR8sT3vW6yB0cD5fG","object":"chat.completion.chunk","created":1750000000,'
    b'"model":"llama3.1:8b","system_fingerprint":"fp_local","choices":[{"index":0,"delta":{"content":" word"},'
    b'"logprobs":null,"finish_reason":null}]}\n\n'
)
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)

# The upstream


class Upstream(asyncio.Protocol):
    """Answers /short at once, /stream at a pace, /flood as fast as the client takes it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing to do until a request comes."""
        self._transport: asyncio.WriteTransport = transport  # type: ignore[assignment]
        self._request = b""
        self._left = 0
        self._paused = False

    def data_received(self, data: bytes) -> None:
        """A request is whole when its body is; every client here sends the same one."""
        self._request += data
        if not self._request.endswith(BODY):
            return
        path, self._request = self._request.split(b" ", 2)[1], b""
        if path == b"/short":
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(JSON), JSON))
            return
        self._transport.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        loop = asyncio.get_running_loop()
        if path == b"/stream":
            self._left = EVENTS
            loop.call_later(SETTLE + hash(self) % 1000 / 1000 / RATE, self._tick, loop.time() + SETTLE)
        else:
            self._left = FLOOD_EVENTS
            loop.call_later(SETTLE, self._pour)

    def pause_writing(self) -> None:
        """The client is behind."""
        self._paused = True

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._paused = False
        self._pour()

    def _tick(self, due: float) -> None:
        self._transport.write(CHUNK)
        self._left -= 1
        if self._left:
            asyncio.get_running_loop().call_at(due + 1 / RATE, self._tick, due + 1 / RATE)
        else:
            self._transport.write(b"0\r\n\r\n")

    def _pour(self) -> None:
        while self._left and not self._paused:
            self._left -= FLOOD_WRITE
            self._transport.write(CHUNK * FLOOD_WRITE if self._left else CHUNK * FLOOD_WRITE + b"0\r\n\r\n")


async def serve() -> None:
    """Prints its port; ends with its standard input."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


# The clients


class Call(Protocol):
    """POSTs the body to a path and yields what comes."""

    def __call__(self, path: str) -> AsyncIterator[bytes]: ...


Open = Callable[[str], AbstractAsyncContextManager[Call]]


@asynccontextmanager
async def direct(url: str) -> AsyncIterator[Call]:
    """Http1Origin.request and read_some, as the guarded handler calls them."""
    async with Http1Transport() as transport:
        origin = transport.origin(url)
        headers = [(b"content-type", b"application/json"), (b"accept-encoding", b"identity")]

        async def call(path: str) -> AsyncIterator[bytes]:
            response = await origin.request(b"POST", path.encode(), headers, BODY)
            try:
                yield b""
                while data := await response.read_some():
                    yield data
            finally:
                response.abort()

        yield call


def under_httpx(make: Callable[[], httpx.AsyncBaseTransport]) -> Open:
    """The same calls by httpx.AsyncClient over a transport."""

    @asynccontextmanager
    async def client_of(url: str) -> AsyncIterator[Call]:
        async with httpx.AsyncClient(transport=make(), base_url=url, timeout=60) as client:
            headers = {"content-type": "application/json", "accept-encoding": "identity"}

            async def call(path: str) -> AsyncIterator[bytes]:
                async with client.stream("POST", path, content=BODY, headers=headers) as response:
                    yield b""
                    async for data in response.aiter_raw():
                        yield data

            yield call

    return client_of


def aiohttp_transport() -> httpx.AsyncBaseTransport:
    """Without a limit on connections (0 is what it takes for that)."""
    return httpx_aiohttp.AiohttpTransport(verify=False, limits=httpx.Limits(max_connections=0))


def plain_transport() -> httpx.AsyncBaseTransport:
    """httpcore and h11, without a limit on connections."""
    return httpx.AsyncHTTPTransport(verify=False, limits=httpx.Limits(max_connections=None))


class Client(NamedTuple):
    """A row of the table; `requests` keeps the slow ones from taking all the time."""

    name: str
    open: Open
    requests: int


CLIENTS = [
    Client("Http1Transport, direct", direct, 2000),
    Client("Http1Transport under httpx", under_httpx(Http1Transport), 1000),
    Client("httpx-aiohttp", under_httpx(aiohttp_transport), 600),
    Client("httpx (httpcore, h11)", under_httpx(plain_transport), 200),
]
BASE = "httpx-aiohttp"


# The measurements: each returns microseconds of CPU per unit


async def per_event(call: Call, path: str, streams: int, events: int) -> float:
    """From when every stream is open until all have ended."""
    opened = asyncio.Barrier(streams + 1)

    async def read() -> int:
        body = call(path)
        await anext(body)
        await opened.wait()
        return sum([data.count(b"\n\n") async for data in body])

    tasks = [asyncio.ensure_future(read()) for _ in range(streams)]
    await opened.wait()
    before = time.process_time_ns()
    seen = sum(await asyncio.gather(*tasks))
    spent = time.process_time_ns() - before
    assert seen == streams * events, f"{seen} events instead of {streams * events}"
    return spent / 1000 / seen


async def per_request(call: Call, requests: int) -> float:
    """Short requests, a fixed number of them at a time, on warm connections."""

    async def work(times: int) -> None:
        for _ in range(times):
            body = b"".join([data async for data in call("/short")])
            assert body == JSON

    await asyncio.gather(*[work(2) for _ in range(WORKERS)])
    before = time.process_time_ns()
    await asyncio.gather(*[work(requests // WORKERS) for _ in range(WORKERS)])
    return (time.process_time_ns() - before) / 1000 / (requests // WORKERS * WORKERS)


Measure = Callable[[Client, Call], Awaitable[float]]
SCENARIOS: dict[str, Measure] = {
    f"us/event, {STREAMS} x {RATE}/s": lambda _, call: per_event(call, "/stream", STREAMS, EVENTS),
    f"us/short request, {WORKERS} at a time": lambda client, call: per_request(call, client.requests),
    f"us/event, flood of {FLOOD_STREAMS}": lambda _, call: per_event(call, "/flood", FLOOD_STREAMS, FLOOD_EVENTS),
}


async def measure(url: str, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Scenario -> client -> one figure per round."""
    figures: dict[str, dict[str, list[float]]] = {name: {c.name: [] for c in CLIENTS} for name in SCENARIOS}
    for _ in range(rounds):
        for scenario, run in SCENARIOS.items():
            for client in CLIENTS:
                async with client.open(url) as call:
                    figures[scenario][client.name].append(await run(client, call))
    return figures


# The table


def spread(values: list[float], digits: int) -> str:
    """Median and range."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def table(figures: dict[str, dict[str, list[float]]]) -> str:
    """Markdown: a scenario per block, a client per row."""
    lines = []
    for scenario, clients in figures.items():
        lines += ["", f"| {scenario} | median (range) | of {BASE} |", "|---|---|---|"]
        for name, values in clients.items():
            ratios = [value / base for value, base in zip(values, clients[BASE], strict=True)]
            lines.append(f"| {name} | {spread(values, 1)} | {spread(ratios, 2)} |")
    return "\n".join(lines)


def main() -> None:
    """Starts the upstream, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--upstream", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.upstream:
        uvloop.run(serve())
        return
    upstream = subprocess.Popen([sys.executable, __file__, "--upstream"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert upstream.stdin is not None
    assert upstream.stdout is not None
    try:
        print(machine(("uvloop", "httptools", "httpx", "aiohttp", "h11")), flush=True)
        port = int(upstream.stdout.readline())
        print(table(uvloop.run(measure(f"http://127.0.0.1:{port}", options.rounds))))
    finally:
        upstream.stdin.close()
        upstream.wait(10)


if __name__ == "__main__":
    main()

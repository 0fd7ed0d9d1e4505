"""What a guarded stream waits for beside its guard: the proxy's own share of each segment, and the first text.

    python -m bench.guards [--streams 16] [--guard-ms 20]

A model server of this process says sentences, and answers as a guard after a fixed time. For each sentence the proxy's
share is from the chunk that makes it certain to the guard's question, and from the guard's verdict to the client. The
guard has no bound here (`at_once`), so that no question waits for another. This process shares the machine with the
proxy, so its own share of the time is in the figures too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from bench.machine import machine
from tests.proxy_process import ProxyProcess

GUARD, CHAT = "guard:1b", "chat"
SENTENCES, PACE = 20, 0.1
GATES = ("segment", "start", "whole", "after")
PLACE = re.compile(r"Stream (\d+) says sentence (\d+) of many\.")
POLICY = """version: 1
policy: bench
rules:
  - id: guard
    check: judge
    options: {{format: llama-guard-3-1b, model: "{guard}", gate: {gate}, at_once: 64, timeout: 60}}
    directions: [output]
    action: block
"""

Times = dict[tuple[int, int], float]


@dataclass
class Seen:
    """When what happened, by stream and sentence. Seconds of time.perf_counter()."""

    certain: Times = field(default_factory=dict)
    asked: Times = field(default_factory=dict)
    judged: Times = field(default_factory=dict)
    shown: Times = field(default_factory=dict)
    first: dict[int, float] = field(default_factory=dict)
    cpu: float = 0.0  # seconds that the proxy took for all streams


def sentence(stream: int, number: int) -> str:
    """What a stream says, one a chunk; the blank before it makes the one before certain."""
    return f"{' ' if number else ''}Stream {stream} says sentence {number} of many."


def models(seen: Seen, guard_seconds: float) -> Starlette:
    """A model server in Ollama's dialect."""

    async def chat(request: Request) -> Response:
        stream = int((await request.json())["messages"][-1]["content"])

        async def chunks() -> AsyncIterator[str]:
            for number in range(SENTENCES):
                if number:
                    seen.certain[stream, number - 1] = time.perf_counter()
                yield chunk(sentence(stream, number))
                await asyncio.sleep(PACE)
            seen.certain[stream, SENTENCES - 1] = time.perf_counter()
            yield chunk("", "stop") + "data: [DONE]\n\n"

        return StreamingResponse(chunks(), media_type="text/event-stream")

    async def generate(request: Request) -> Response:
        places = PLACE.findall((await request.json())["prompt"])
        place = (int(places[-1][0]), int(places[-1][1])) if places else None
        if place is not None:
            seen.asked.setdefault(place, time.perf_counter())
        await asyncio.sleep(guard_seconds)
        if place is not None:
            seen.judged[place] = time.perf_counter()
        return JSONResponse({"response": "safe", "done": True, "done_reason": "stop"})

    async def listed(request: Request) -> Response:
        names = [{"name": name, "id": name, "digest": name} for name in (CHAT, GUARD)]
        known = {"/api/version": {"version": "0.33.0"}, "/api/ps": {"models": []}, "/v1/models": {"data": names}}
        return JSONResponse(known.get(request.url.path, {"models": names}))

    paths = ("/api/version", "/api/ps", "/v1/models", "/api/tags")
    asked = [Route("/v1/chat/completions", chat, methods=["POST"]), Route("/api/generate", generate, methods=["POST"])]
    return Starlette(routes=[*asked, *(Route(path, listed) for path in paths)])


def chunk(content: str, finish: str | None = None) -> str:
    """An event of a chat."""
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": CHAT, "choices": [choice]}
    return f"data: {json.dumps(body)}\n\n"


async def client(http: httpx.AsyncClient, url: str, stream: int, seen: Seen, wait: float = 0.0) -> None:
    """Read one answer, and note when each sentence is there whole."""
    await asyncio.sleep(wait)
    body = {"model": CHAT, "stream": True, "messages": [{"role": "user", "content": str(stream)}]}
    began, text = time.perf_counter(), ""
    async with http.stream("POST", f"{url}/v1/chat/completions", json=body) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                text += json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
            now = time.perf_counter()
            if text and stream not in seen.first:
                seen.first[stream] = now - began
            for place in PLACE.findall(text):
                seen.shown.setdefault((int(place[0]), int(place[1])), now)


async def run(gate: str, streams: int, guard_seconds: float) -> Seen:
    """All streams at once, behind one gate."""
    seen = Seen()
    config = uvicorn.Config(models(seen, guard_seconds), port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bench.yaml").write_text(POLICY.format(guard=GUARD, gate=gate), "utf-8")
        proxy = ProxyProcess(upstream=f"http://127.0.0.1:{port}", policies=Path(folder))
        await asyncio.to_thread(proxy.__enter__)
        try:
            limits = httpx.Limits(max_connections=None)
            async with httpx.AsyncClient(timeout=120, limits=limits) as http:
                await client(http, proxy.url, streams, Seen())  # the first one loads code
                waits = [PACE * stream / streams for stream in range(streams)]  # not in step with each other
                before = cpu_seconds(proxy.pid)
                await asyncio.gather(*(client(http, proxy.url, i, seen, wait) for i, wait in enumerate(waits)))
                seen.cpu = cpu_seconds(proxy.pid) - before
        finally:
            await asyncio.to_thread(proxy.__exit__, None, None, None)
    server.should_exit = True
    await serving
    return seen


def cpu_seconds(pid: int) -> float:
    """What a process has taken of the processors so far. Linux only."""
    parts = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def shares(seen: Seen) -> list[float]:
    """The proxy's share of each sentence that was asked about, in milliseconds."""
    known = [place for place in seen.shown if place in seen.asked and place in seen.judged and place in seen.certain]
    return [
        (seen.asked[place] - seen.certain[place] + seen.shown[place] - seen.judged[place]) * 1000 for place in known
    ]


def main() -> None:
    """Print a row for each gate."""
    parser = argparse.ArgumentParser(description="what a guarded stream waits for beside its guard")
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--guard-ms", type=float, default=20)
    arguments = parser.parse_args()
    told = f"{arguments.streams} streams of {SENTENCES} sentences, one each {PACE * 1000:g} ms"
    print(f"{told}; a guard that takes {arguments.guard_ms:g} ms; {machine()}")
    for gate in GATES:
        seen = asyncio.run(run(gate, arguments.streams, arguments.guard_ms / 1000))
        first = f"first text p50 {statistics.median(seen.first.values()) * 1000:.0f} ms"
        values = sorted(shares(seen)) if gate == "segment" else []
        if values:
            first += f"; share of a segment p50 {statistics.median(values):.1f} ms, "
            first += f"p99 {values[int(len(values) * 0.99)]:.1f} ms ({len(values)} segments)"
        cpu = seen.cpu / (arguments.streams * SENTENCES) * 1000
        print(f"{gate:<8} CPU time of the proxy {cpu:.2f} ms a sentence; {first}")


if __name__ == "__main__":
    main()

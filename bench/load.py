"""A load client. It is raw asyncio on uvloop, so that it costs little itself. It takes every figure.

    python -m bench.load --port 11435 --streams 64 --model bench:n=200:rate=50 --pid 4711

It prints a line when every stream is open, and at the end a line of JSON: `Result`. CPU is the time that the processes
given with --pid used, by their own clocks, while every stream was open (paced), or from first to last (all else).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import httptools
import orjson
import uvloop

from bench.clocks import cpu_ns, resident_kib, waited_ns
from bench.wire import EVENT_BEGINS, STAMP, TEXT_MARKS, Pace, prompt

STALL_NS = 50_000_000
SLOT_NS = 1_000_000_000


@dataclass(slots=True)
class Plan:
    """What to send.

    streams:  connections at once; each sends `requests` requests, one after the other
    pause:    milliseconds between an answer and the next request
    prompt:   characters in the question
    deadline: seconds after which what is still open counts as not served
    """

    port: int
    model: str
    streams: int = 1
    requests: int = 1
    stream: bool = True
    pause: float = 0
    prompt: int = 32
    pids: list[int] = field(default_factory=list)
    deadline: float = 60

    def request(self) -> bytes:
        """The bytes of each request, with the headers that OpenAI's client sends."""
        question = {"role": "user", "content": prompt(self.prompt)}
        body = orjson.dumps({"model": self.model, "messages": [question], "stream": self.stream})
        head = (
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: application/json\r\n"
            b"Content-Type: application/json\r\nUser-Agent: OpenAI/Python 2.0.0\r\nAuthorization: Bearer sk-local\r\n"
            b"X-Stainless-Lang: python\r\nContent-Length: %d\r\n\r\n"
        )
        return head % (self.port, len(body)) + body


@dataclass(slots=True)
class Result:
    """What was measured. Times in microseconds unless their name says otherwise.

    served, wanted: requests
    events:         of text, within the measured span
    untouched:      the share of the events that came as they were sent; text that waited for a verdict did not
    cpu, cpu_share: of the processes measured: for each unit (event, or request), and of a core
    waited:         share of the span in which they were ready and had no core: delays are then the machine's
    delay:          p50, p90, p99 and longest time from an event's stamp to its arrival here
    first:          p50, p90 and longest time from a request to its first text
    stalls:         events that took more than 50 ms; `worst_ms`: the longest delay in each second of the span
    kib_a_stream:   memory that was added, for each stream
    own_share:      CPU of this client, of a core
    """

    served: int = 0
    wanted: int = 0
    events: int = 0
    untouched: float = 0.0
    seconds: float = 0.0
    cpu: float = 0.0
    cpu_share: float = 0.0
    waited: float = 0.0
    delay: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    stalls: int = 0
    worst_ms: list[float] = field(default_factory=list)
    kib_a_stream: float = 0.0
    own_share: float = 0.0


class Span:
    """The measured part of a run."""

    def __init__(self, pids: list[int]) -> None:
        self._pids = pids
        self.began = self.ended = 0
        self.cpu = self.own = self.waited = 0
        self.events = 0

    def open(self, events: int) -> None:
        """The span begins now."""
        self.events, self.cpu, self.own = -events, -cpu_ns(self._pids), -time.process_time_ns()
        self.waited = -waited_ns(self._pids)
        self.began = time.monotonic_ns()

    def close(self, events: int) -> None:
        """The span ends now."""
        if self.began and not self.ended:
            self.ended = time.monotonic_ns()
            self.events, self.cpu, self.own = (
                self.events + events,
                self.cpu + cpu_ns(self._pids),
                self.own + time.process_time_ns(),
            )
            self.waited += waited_ns(self._pids)


class Run:
    """All streams of one plan, and what they have measured."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.pace = Pace.of(plan.model)
        self.request = plan.request()
        self.stamped = bool(plan.stream and self.pace.stamp and self.pace.rate)
        self.steady = bool(plan.stream and self.pace.rate and plan.requests == 1)
        self.span = Span(plan.pids)
        self.events = self.untouched = self.served = 0
        self.begun = 0
        self.left = plan.streams
        self.delays: list[int] = []
        self.arrivals: list[int] = []
        self.first_texts: list[int] = []
        self.over = asyncio.Event()
        self._idle_kib = resident_kib(plan.pids)
        self._kib = 0

    async def execute(self) -> Result:
        """Connect, send the requests, wait for the answers."""
        loop = asyncio.get_running_loop()
        made = [
            await loop.create_connection(lambda: Stream(self), "127.0.0.1", self.plan.port)
            for _ in range(self.plan.streams)
        ]
        await asyncio.sleep(0.05)
        self._idle_kib = resident_kib(self.plan.pids)
        if not self.steady:
            self.span.open(0)
        for _, stream in made:
            stream.ask()
        try:
            await asyncio.wait_for(self.over.wait(), self.plan.deadline)
        except TimeoutError:
            print(f"{self.left} streams were still open after {self.plan.deadline:g} s", file=sys.stderr)
        self.span.close(self.events)
        return self._result()

    def stream_begun(self) -> None:
        """A stream has its first text."""
        self.begun += 1
        if self.steady and self.begun == self.plan.streams:
            self.span.open(self.events)
            print(orjson.dumps({"open": self.span.began}).decode(), flush=True)

    def stream_ended(self) -> None:
        """A stream has ended. The span of a paced run ends with the first stream."""
        if self.steady:
            if not self._kib:
                self._kib = resident_kib(self.plan.pids)
            self.span.close(self.events)
        self.left -= 1
        if not self.left:
            self.over.set()

    def _result(self) -> Result:
        plan, span = self.plan, self.span
        wall = max(span.ended - span.began, 1)
        units = span.events if plan.stream and plan.requests == 1 else self.served
        sent = self.served * self.pace.n
        within = [(t, d) for t, d in zip(self.arrivals, self.delays, strict=True) if span.began <= t <= span.ended]
        delays = sorted(d for _, d in within)
        return Result(
            served=self.served,
            wanted=plan.streams * plan.requests,
            events=span.events,
            untouched=self.untouched / sent if sent and plan.stream else 0.0,
            seconds=wall / 1e9,
            cpu=span.cpu / 1000 / max(units, 1),
            cpu_share=span.cpu / wall,
            waited=span.waited / wall,
            delay=_summary(delays, (0.5, 0.9, 0.99, 1)),
            first=_summary(sorted(self.first_texts), (0.5, 0.9, 1)),
            stalls=sum(d > STALL_NS for d in delays),
            worst_ms=_worst(within, span),
            kib_a_stream=(self._kib - self._idle_kib) / plan.streams if self._kib else 0.0,
            own_share=span.own / wall,
        )


def _summary(ordered: list[int], shares: tuple[float, ...]) -> list[float]:
    """Quantiles in microseconds."""
    return [ordered[round(share * (len(ordered) - 1))] / 1000 for share in shares] if ordered else []


def _worst(arrived: list[tuple[int, int]], span: Span) -> list[float]:
    worst = [0.0] * ((span.ended - span.began) // SLOT_NS + 1)
    for at, delay in arrived:
        slot = (at - span.began) // SLOT_NS
        worst[slot] = max(worst[slot], delay / 1e6)
    return [round(ms, 1) for ms in worst]


class Stream(asyncio.Protocol):
    """One connection."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._left = run.plan.requests
        self._loop = asyncio.get_running_loop()
        self._asked_at = 0
        self._now = 0
        self._seen = 0  # events of this answer
        self._rest = b""  # of an event that is not complete yet

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It waits for `ask`."""
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)

    def ask(self) -> None:
        """Send a request."""
        self._asked_at = time.monotonic_ns()
        self._seen = 0
        self._transport.write(self._run.request)

    def data_received(self, data: bytes) -> None:
        """More of an answer. All events of one read have the same time."""
        self._now = time.monotonic_ns()
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        """Called by httptools."""
        run = self._run
        if not run.plan.stream:
            return
        if self._rest:
            data = self._rest + data
        end = data.rfind(b"\n\n") + 2
        if end != len(data):
            self._rest = data[max(end, 0) if end > 1 else 0 :]
            data = data[: end if end > 1 else 0]
        elif self._rest:
            self._rest = b""
        count = data.count(TEXT_MARKS[0]) or data.count(TEXT_MARKS[1])
        if not count:
            return
        if not self._seen:
            run.first_texts.append(self._now - self._asked_at)
            run.stream_begun()
        self._seen += count
        run.events += count
        run.untouched += data.count(EVENT_BEGINS)
        if run.stamped:
            self._record_delays(data)

    def _record_delays(self, data: bytes) -> None:
        now, run = self._now, self._run
        for stamp in STAMP.findall(data):
            sent = int(stamp)
            if now - 600 * SLOT_NS < sent <= now:  # the other chunks tell the time in seconds
                run.delays.append(now - sent)
                run.arrivals.append(now)

    def on_message_complete(self) -> None:
        """Called by httptools: an answer has ended."""
        run = self._run
        if self._parser.get_status_code() == 200 and (self._seen or not run.plan.stream):
            run.served += 1
        if not run.plan.stream:
            run.first_texts.append(self._now - self._asked_at)
        self._left -= 1
        if not self._left:
            self._end()
        elif run.plan.pause:
            self._loop.call_later(run.plan.pause / 1000, self.ask)
        else:
            self._loop.call_soon(self.ask)

    def connection_lost(self, exc: Exception | None) -> None:
        """If it is lost early, the requests that are left are not served."""
        if self._left > 0:
            self._left = 0
            self._run.stream_ended()

    def _end(self) -> None:
        self._run.stream_ended()
        self._transport.close()


def command(plan: Plan) -> list[str]:
    """The command that runs a plan in a process of its own."""
    flags = [f"--{name}={getattr(plan, name)}" for name in ("port", "model", "streams", "requests", "pause", "prompt")]
    flags += [f"--deadline={plan.deadline}", *(f"--pid={pid}" for pid in plan.pids)]
    return [sys.executable, "-m", "bench.load", *flags, *([] if plan.stream else ["--short"])]


def arguments() -> argparse.ArgumentParser:
    """A flag for each field of the plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", default=Pace(n=100, rate=50).model())
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--requests", type=int, default=1)
    parser.add_argument("--short", dest="stream", action="store_false", help="answers that are not streamed")
    parser.add_argument("--pause", type=float, default=0)
    parser.add_argument("--prompt", type=int, default=32)
    parser.add_argument("--pid", dest="pids", type=int, action="append", default=[])
    parser.add_argument("--deadline", type=float, default=60)
    return parser


def main() -> None:
    """The command."""
    plan = Plan(**vars(arguments().parse_args()))

    async def run() -> dict[str, Any]:
        return asdict(await Run(plan).execute())

    gc.disable()  # a pause here would look like a delay of the proxy
    print(orjson.dumps(uvloop.run(run())).decode(), flush=True)


if __name__ == "__main__":
    main()

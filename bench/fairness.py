"""Who waits for whom: streams at 20 tokens a second, and /healthz, beside floods, large events and large prompts.

    python -m bench.fairness [--rounds 3] [--json FILE]

nginx, as the pass-through, has the same floods beside the same streams. How long the turns of the event loop take is
measured inside the process (bench/loop_turns.py), in runs of their own, as the hook keeps it awake. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from bench import contestants as who
from bench.contestants import REPOSITORY, Running, Unavailable, upstream
from bench.load import Plan, Result, command
from bench.machine import machine
from bench.rules import write_policy
from bench.runs import show_progress
from bench.wire import BIG_TEXTS, Pace, prompt
from tests import proxy_process
from tests.proxy_process import ProxyProcess

SLOW, RATE, SECONDS = 16, 20, 4.0
FLOODS = 8
FLOOD_EVENTS, AGAIN = 100_000, 10_000  # events of an answer, and answers: more than there is time for
BIG_EVENT, BIG_PROMPT, SCHEMA_KEYS = 4_000_000, 2_000_000, 19_000
PROBE_SECONDS = 0.05
LEAST = 5.0  # milliseconds
FIRST_SECONDS = 0.5  # of a run, before it is disturbed
QUIET, FLOOD = "nothing", f"{FLOODS} floods"


@dataclass(frozen=True)
class Row:
    """What one run has shown. Times in milliseconds.

    late:  of an event of the slow streams, from its stamp to its arrival: p50, p90, p99, most
    probe: longest time for /healthz on a connection of its own
    took:  what stood beside them, from the request to the end of the answer
    turn:  longest turn of the loop; `cpu`: the same in CPU time; `long`: how many took more than 20 ms of that
    """

    contestant: str
    beside: str
    late: list[float]
    probe: float | None = None
    took: float | None = None
    turn: float | None = None
    cpu: float | None = None
    long: int | None = None


Disturb = Callable[[Running], float | None]
"""Stands beside the slow streams; milliseconds that it took, where that can be told."""


def measure(running: Running, beside: str, disturb: Disturb | None, report: Path | None = None) -> Row:
    """The slow streams beside something."""
    pace = Pace(n=round(SECONDS * RATE), rate=RATE, wait=300)
    plan = Plan(running.port, pace.model(), SLOW, pids=list(running.pids))
    _turns(running, report)
    with subprocess.Popen(command(plan), cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        client.stdout.readline()
        with _probing(running) as probes:
            time.sleep(FIRST_SECONDS)
            took = disturb(running) if disturb is not None else None
            result = Result(**orjson.loads(client.stdout.readline()))
    turns = _turns(running, report)
    show_progress(f"{running.name}, beside {beside}")
    return Row(
        *(running.name, beside, [us / 1000 for us in result.delay]),
        max(probes, default=None),
        took,
        turns.get("worst_ms"),
        turns.get("worst_cpu_ms"),
        turns.get("long"),
    )


@contextmanager
def _probing(running: Running) -> Generator[list[float]]:
    """Ask for /healthz again and again; milliseconds of each answer."""
    took: list[float] = []
    over = threading.Event()

    def ask() -> None:
        while running.admin and not over.wait(PROBE_SECONDS):
            began = time.perf_counter()
            with urllib.request.urlopen(f"{running.admin}/healthz", timeout=60) as answer:
                answer.read()
            took.append((time.perf_counter() - began) * 1000)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield took
    finally:
        over.set()
        thread.join()


def _turns(running: Running, report: Path | None) -> dict[str, Any]:
    """What the hook has measured since the last call."""
    if report is None:
        return {}
    report.unlink(missing_ok=True)
    os.kill(running.pids[0], signal.SIGUSR1)
    while not report.exists():
        time.sleep(0.01)
    found: dict[str, Any] = orjson.loads(report.read_bytes())
    return found


# What stands beside the slow streams


@contextmanager
def flooded(running: Running) -> Generator[None]:
    """So many streams at full speed, as long as the block runs."""
    plan = Plan(running.port, Pace(n=FLOOD_EVENTS, batch=20).model(), FLOODS, AGAIN, deadline=600)
    with subprocess.Popen(["nice", *command(plan)], cwd=REPOSITORY, stdout=subprocess.DEVNULL) as client:
        try:
            time.sleep(1.0)
            yield
        finally:
            client.terminate()


def ask(body: dict[str, Any], running: Running) -> float:
    """One request; milliseconds until its answer has ended."""
    data = orjson.dumps(body)
    url = f"http://127.0.0.1:{running.port}/v1/chat/completions"
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=120) as answer:
        while answer.read(1 << 20):
            pass
    return (time.perf_counter() - began) * 1000


def question(text: str, pace: Pace, **more: Any) -> dict[str, Any]:
    """A request's body."""
    return {"model": pace.model(), "stream": True, "messages": [{"role": "user", "content": text}], **more}


def big_events() -> Iterator[tuple[str, Disturb]]:
    """One event of 4 MB."""
    for number, what in enumerate(BIG_TEXTS):
        body = question("Hello", Pace(n=1, batch=1, stamp=0, big=BIG_EVENT, what=number))
        yield f"an event of 4 MB, {what}", partial(ask, body)


def large_requests() -> Iterator[tuple[str, Disturb]]:
    """A prompt of 2 MB, and tools with very many keys."""
    short = Pace(n=1, stamp=0)
    yield "a prompt of 2 MB", partial(ask, question(prompt(BIG_PROMPT), short))
    keys = {f"key_{number}": {"type": "string", "description": f"The key {number}"} for number in range(SCHEMA_KEYS)}
    schema = {"type": "object", "properties": keys}
    tool = {"type": "function", "function": {"name": "tell", "description": "Tell", "parameters": schema}}
    yield f"tools with {SCHEMA_KEYS:,} keys", partial(ask, question("Hello", short, tools=[tool]))


def reload(running: Running) -> None:
    """A policy changes."""
    assert running.policies is not None
    file = running.policies / "bench.json"
    policy = orjson.loads(file.read_bytes())
    policy["rules"].append({"id": "new", "words": ["another phrase altogether"], "action": "block"})
    file.write_bytes(orjson.dumps(policy))


# Who takes part


@contextmanager
def watched(upstream_port: int, folder: Path) -> Generator[tuple[Running, Path]]:
    """The proxy with 100 rules and the detector of e-mail, with the hook in it."""
    report = folder / "turns.json"
    policies = write_policy(folder / "policies", 100, email=True)
    program = proxy_process.PROGRAM
    with ProxyProcess(
        upstream=f"http://127.0.0.1:{upstream_port}",
        policies=policies,
        program=(program[0], "-m", "bench.loop_turns", str(report)),
    ) as process:
        port = urlsplit(process.url).port
        assert port is not None
        yield Running("with the hook", port, (process.pid,), process.admin_url, policies), report


def floods(rounds: int, takes_part: tuple[str, ...], notes: list[str], quiet: bool = True) -> Iterator[Row]:
    """The slow streams beside floods, and alone if `quiet`, contestant by contestant, round by round."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        source = stack.enter_context(upstream())
        present: list[Running] = []
        for name in takes_part:
            try:
                start = who.CONTESTANTS[name]
                present.append(stack.enter_context(start(source.port, folder / name.replace(" ", "-"))))
            except Unavailable as why:
                notes.append(f"{name} did not take part: {why}")
        for _ in range(rounds):
            for contestant in present:
                if quiet:
                    yield measure(contestant, QUIET, None)
                with flooded(contestant):
                    yield measure(contestant, FLOOD, None)


def inside() -> Iterator[Row]:
    """What the turns of the loop take, beside everything that is large."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        source = stack.enter_context(upstream())
        running, report = stack.enter_context(watched(source.port, folder))
        yield measure(running, QUIET, None, report)
        with flooded(running):
            yield measure(running, FLOOD, None, report)
        for _, disturb in big_events():
            disturb(source)  # it makes a text once
        for what, disturb in (*big_events(), *large_requests(), ("a policy that changes", reload)):
            yield measure(running, what, disturb, report)


def lateness(rows: list[Row], name: str) -> list[float]:
    """How late the events of a contestant's slow streams were beside floods, p99, round by round, but at least LEAST:
    below it nothing but the machine is measured."""
    return [max(row.late[2], LEAST) for row in rows if (row.contestant, row.beside) == (name, FLOOD) and row.late]


def table(rows: list[Row]) -> Iterator[str]:
    """A line for each contestant and what stood beside it: the median over the rounds, and the most."""
    yield "| | beside | late p50 ms | p99 | most | /healthz | in all | turn | CPU of a turn | over 20 ms |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for contestant, beside in dict.fromkeys((row.contestant, row.beside) for row in rows):
        own = [row for row in rows if (row.contestant, row.beside) == (contestant, beside)]
        late = [[row.late[at] for row in own if row.late] for at in (0, 2, 3)]
        cells = [*late, *([getattr(row, name) for row in own] for name in ("probe", "took", "turn", "cpu", "long"))]
        yield " | ".join([f"| {contestant}", beside, *map(_cell, cells)]) + " |"


def _cell(values: list[Any]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    middle = f"{statistics.median(known):.1f}" if isinstance(known[0], float) else f"{statistics.median(known):g}"
    return middle if len(known) == 1 else f"{middle} ({min(known):.1f}-{max(known):.1f})"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write every single figure to this file")
    options = parser.parse_args()
    notes: list[str] = []
    rows = [*floods(options.rounds, (who.NGINX, who.HUNDRED), notes), *inside()]
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(row) for row in rows]), encoding="utf-8")
    print("\n".join([machine(), "", *notes, *table(rows)]))


if __name__ == "__main__":
    main()

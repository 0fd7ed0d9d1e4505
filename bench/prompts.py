"""What long prompts cost: conversations, pasted logs, arguments of calls. With nginx as a pass-through, in one run.

    python -m bench.prompts [--quick] [--rounds 5] [--only again --only log]

The time to first text is that of the whole request. What is added is the difference to nginx, or to the model server
where nginx is not installed, in the same round. CPU is read from the proxy's own clock. Beside it stands the CPU of
reading the body and writing it again in this process, with Python's json and with orjson. Linux only.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import re
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from bench import contestants as who
from bench.clocks import cpu_ns, resident_kib
from bench.contestants import REPOSITORY, Running, Unavailable, upstream
from bench.corpus import prose, words
from bench.machine import machine
from bench.rules import write_policy
from bench.wire import Pace
from tests.proxy_process import ProxyProcess

ROUNDS = 5
MESSAGES, MESSAGE = 100, 4_000
EVERY = 2_000  # characters between two matches
MIB = 1024 * 1024
MATCH = " 078-05-1120 "  # a number that the rules for personal data rewrite
MARKER = " <|im_start|> "  # a marker that the shipped policies rewrite
SHIPPED, LARGE = "shipped policies", "1000 rules, 100,000 words"
OFF = "100 rules, no memory"
ANSWER = Pace(n=2, stamp=0)
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
MARK, DONE = b'"content":"', b"data: [DONE]"

Messages = list[dict[str, Any]]


class Taken(NamedTuple):
    """One request: milliseconds to its first text, and of the proxy's CPU."""

    first: float
    cpu: float


class Case(NamedTuple):
    """A kind of prompt. `make` gets a number that is never used again, and the contestant's match.

    before: what is sent first, and not measured
    reach:  milliseconds that may be added, by contestant
    answer: what comes back; `stream`: in events
    """

    key: str
    title: str
    make: Callable[[int, str], Messages]
    before: Callable[[Messages], Messages] | None = None
    reach: Mapping[str, float] = MappingProxyType({})
    answer: Pace = ANSWER
    stream: bool = True


# -- the prompts


def text(number: int, size: int) -> str:
    """Prose that begins like no other text."""
    whole = prose()
    at = random.Random(number).randrange(len(whole) - size) if size < len(whole) else 0
    return f"Text {number}. {(whole[at:] + whole * (size // len(whole) + 1))[:size]}"


def with_matches(said: str, match: str) -> str:
    """A match every few characters."""
    return match.join(said[at : at + EVERY] for at in range(0, len(said), EVERY))


def conversation(number: int, match: str = "") -> Messages:
    """A hundred messages by turns."""
    messages: Messages = []
    for i in range(MESSAGES + 1):
        said = text(number * 1_000 + i, MESSAGE)
        role = "user" if i % 2 == 0 else "assistant"
        messages.append({"role": role, "content": with_matches(said, match) if match else said})
    return messages


def plain(number: int, _: str) -> Messages:
    """The same without a match."""
    return conversation(number)


def log_lines(number: int, size: int) -> str:
    """A log of a service, as people paste it."""
    rng = random.Random(number)
    lines: list[str] = []
    length = 0
    for i in itertools.count():
        level = rng.choice(("INFO", "INFO", "DEBUG", "WARN"))
        line = (
            f"14:{i // 60 % 60:02}:{i % 60:02},{rng.randrange(1000):03} {level} worker-{rng.randrange(64)} "
            f"request={rng.randrange(16**8):08x} path=/api/v1/items/{rng.randrange(10**5)} took={rng.randrange(900)}ms"
        )
        lines.append(line)
        length += len(line) + 1
        if length > size:
            break
    return "\n".join(lines)


def pasted_log(number: int, _: str) -> Messages:
    """A question with a log of 2 MB."""
    return [{"role": "user", "content": f"What went wrong? {number}\n{log_lines(number, 2 * MIB)}"}]


def with_call(arguments: object) -> Messages:
    """A call of a tool in the history."""
    call = {"id": "call_1", "type": "function", "function": {"name": "write", "arguments": json.dumps(arguments)}}
    return [
        {"role": "user", "content": "Write it down."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Done."},
    ]


def file_call(number: int, _: str) -> Messages:
    """Arguments of 1 MB: a path and a file."""
    return with_call({"path": f"notes/{number}.txt", "content": text(number, MIB)})


def table_call(number: int, _: str) -> Messages:
    """Arguments of 1 MB: a table of short values."""
    rng, names = random.Random(number), words(4_000)
    rows = [{"id": number * 100_000 + i, "name": rng.choice(names), "count": i % 97} for i in range(MIB // 55)]
    return with_call({"rows": rows})


def question(number: int, _: str) -> Messages:
    """A short one."""
    return [{"role": "user", "content": f"Question {number}"}]


CASES = (
    Case(
        *("again", "400 KB in 100 messages, one turn more", plain),
        before=lambda messages: messages[:-2],
        reach={SHIPPED: 6, who.HUNDRED: 6, LARGE: 6},
    ),
    Case(
        *("cold", "the same, never seen before", plain),
        reach={SHIPPED: 40, who.HUNDRED: 60, LARGE: 100},
    ),
    Case(
        *("matches", "the same, a match every 2 KB, rewritten", conversation),
        reach={SHIPPED: 120, who.HUNDRED: 180, LARGE: 300},
    ),
    Case(
        *("matches-again", "the same, one turn more", conversation),
        before=lambda messages: messages[:-2],
    ),
    Case("log", "a pasted log of 2 MB", pasted_log, reach=dict.fromkeys((SHIPPED, who.HUNDRED, LARGE), 250)),
    Case("file", "a call's arguments of 1 MB: a file", file_call, reach={SHIPPED: 100, who.HUNDRED: 150, LARGE: 250}),
    Case("table", "a call's arguments of 1 MB: a table", table_call, reach={SHIPPED: 100, who.HUNDRED: 150}),
    Case(
        *("whole", "a whole answer of 1 MB, which the model server sends as one event", question),
        reach={SHIPPED: 100, who.HUNDRED: 150, LARGE: 250},
        answer=Pace(n=1, stamp=0, big=MIB),
        stream=False,
    ),
)
QUICK = ("again", "cold", "matches")


# -- the contestants


@contextmanager
def ours(name: str, port: int, folder: Path) -> Iterator[Running]:
    """The proxy with some policies."""
    arguments: list[str] = []
    if name == SHIPPED:
        shutil.copytree(REPOSITORY / "policies", folder, ignore=shutil.ignore_patterns("more"))
    elif name == LARGE:
        write_policy(folder, 1000)
        (folder / "words.txt").write_text("\n".join(f"zzq {word}" for word in words(100_000)), encoding="utf-8")
        listed = {"id": "words", "words_file": "words.txt", "action": "block"}
        policy = {"version": 1, "policy": "words", "rules": [listed]}
        (folder / "words.json").write_text(json.dumps(policy), encoding="utf-8")
    else:
        write_policy(folder, 0 if name == who.NONE else 100)
    if name == who.NONE:
        arguments += ["--allow-empty", "true"]
    if name == OFF:
        arguments += ["--prompt-memory", "0"]
    target = f"http://127.0.0.1:{port}"
    with ProxyProcess(upstream=target, policies=folder, arguments=arguments) as process:
        listen = urlsplit(process.url).port
        assert listen is not None
        yield Running(name, listen, (process.pid,), process.admin_url, folder)


OURS = (who.NONE, SHIPPED, who.HUNDRED, OFF, LARGE)
NAMES = (who.DIRECT, who.NGINX, *OURS, who.LITELLM_FILTER)


def started(port: int, folder: Path, stack: ExitStack, names: Sequence[str]) -> Iterator[Running]:
    """Those that can take part on this machine."""
    for number, name in enumerate(names):
        place = folder / str(number)
        try:
            if name in OURS:
                yield stack.enter_context(ours(name, port, place))
            else:
                yield stack.enter_context(who.CONTESTANTS[name](port, place))
        except Unavailable as reason:
            print(f"{name}: left out. {reason}", file=sys.stderr)


# -- one request


def ask(contestant: Running, messages: Messages, answer: Pace = ANSWER, stream: bool = True) -> Taken:
    """Send a prompt, wait for the first text of the answer, and read it to the end."""
    body = orjson.dumps({"model": answer.model(), "stream": stream, "messages": messages})
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    used = cpu_ns(contestant.pids)
    with socket.create_connection(("127.0.0.1", contestant.port), 300) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.monotonic()
        client.sendall(head.encode() + body)
        first, received = 0.0, b""
        while not _is_whole(received) and (data := client.recv(1 << 16)):
            received += data
            if not first and MARK in received.replace(b'"content": "', MARK).replace(b'"content":""', b""):
                first = time.monotonic()
    if not first:
        raise AssertionError(f"{contestant.name}: {received[:300]!r}")
    return Taken(1000 * (first - began), (cpu_ns(contestant.pids) - used) / 1e6)


def _is_whole(received: bytes) -> bool:
    """Whether that is all of an answer."""
    head, _, body = received.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return len(body) >= int(length[1]) if length else DONE in body


def parse_and_write(messages: Messages, loads: Callable[[bytes], Any], dumps: Callable[[Any], object]) -> float:
    """Milliseconds of CPU to read a body and to write it again, the least of a few."""
    body = orjson.dumps({"model": "m", "messages": messages})
    least = 1e9
    for _ in range(5):
        began = time.process_time()
        dumps(loads(body))
        least = min(least, time.process_time() - began)
    return 1000 * least


# -- all of it


@dataclass
class Row:
    """What a case has cost a contestant, round by round."""

    added: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    ratio: list[float] = field(default_factory=list)


Table = dict[str, dict[str, Row]]


def measure(cases: Sequence[Case], names: Sequence[str], rounds: int) -> tuple[Table, dict[str, int]]:
    """The figures by case and contestant, and at the end each contestant's memory in KiB."""
    table: Table = {case.key: {} for case in cases}
    numbers = itertools.count(1)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        folder.chmod(0o755)
        source = stack.enter_context(upstream())
        contestants = list(started(source.port, folder, stack, names))
        for contestant in contestants:  # the automata are built as text comes
            for case in cases:
                ask(contestant, case.make(next(numbers), _match(contestant)), case.answer, case.stream)
        for turn in range(rounds):
            for case in cases:
                base = 0.0
                for contestant in contestants:
                    taken, parsing = _once(case, contestant, next(numbers))
                    if contestant.name in (who.DIRECT, who.NGINX):
                        base = taken.first
                    row = table[case.key].setdefault(contestant.name, Row())
                    row.added.append(taken.first - base)
                    row.cpu.append(taken.cpu)
                    row.ratio.append(taken.cpu / parsing)
                if sys.stderr.isatty():
                    print(f"\rround {turn + 1}, {case.key}      ", end="", file=sys.stderr, flush=True)
        memory = {contestant.name: resident_kib(contestant.pids) for contestant in contestants if contestant.pids}
    return table, memory


def _once(case: Case, contestant: Running, number: int) -> tuple[Taken, float]:
    messages = case.make(number, _match(contestant))
    if case.before is not None:
        ask(contestant, case.before(messages))
    large = messages if case.stream else [{"role": "assistant", "content": text(number, MIB)}]
    return ask(contestant, messages, case.answer, case.stream), parse_and_write(large, json.loads, json.dumps)


def _match(contestant: Running) -> str:
    return MARKER if contestant.name == SHIPPED else MATCH


def spread(values: Sequence[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def report(cases: Sequence[Case], table: Table, memory: dict[str, int]) -> Iterator[str]:
    """As Markdown."""
    yield machine(("orjson", "uvloop"), [])
    for case in cases:
        yield f"\n**{case.title}**\n"
        yield "| | added to first text, ms | at most | CPU ms | x json |"
        yield "|---|---|---|---|---|"
        for name, row in table[case.key].items():
            reach = case.reach.get(name)
            most = "-" if reach is None else f"{reach:g}"
            yield f"| {name} | {spread(row.added)} | {most} | {spread(row.cpu)} | {spread(row.ratio)} |"
    yield "\nMemory at the end, MiB: " + ", ".join(f"{name} {kib / 1024:.0f}" for name, kib in memory.items())


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.prompts", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round of the most telling cases")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--only", action="append", choices=[case.key for case in CASES])
    options = parser.parse_args()
    chosen = options.only or (QUICK if options.quick else [case.key for case in CASES])
    cases = [case for case in CASES if case.key in chosen]
    table, memory = measure(cases, NAMES, options.rounds or (1 if options.quick else ROUNDS))
    print("\n".join(report(cases, table, memory)))


if __name__ == "__main__":
    main()

"""The whole run: the server, the search for the target, the cases, the reports."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from proxy.conformance.cases import FOLDER, Case, CasesError, load
from proxy.conformance.client import Client, http_client
from proxy.conformance.dialects import DIALECTS, Dialect
from proxy.conformance.page import as_html
from proxy.conformance.preflight import TargetError, find
from proxy.conformance.report import as_json, as_junit, printable, summary
from proxy.conformance.runner import Result, run
from proxy.conformance.secrets import POLICY, RULES
from proxy.conformance.server import Server, serving
from proxy.conformance.timing import Timing, measure

PASSED, FAILED, NOT_RUN = 0, 1, 2
"""Exit codes."""


@dataclass(frozen=True)
class Options:
    """What was asked for. patience: seconds that the target has to go on in; wait: for it to be there."""

    target: str
    dialects: tuple[str, ...] = ("openai",)
    host: str = "127.0.0.1"
    port: int = 9300
    folders: tuple[Path, ...] = ()
    patience: float = 10.0
    wait: float = 60.0
    headers: Mapping[str, str] = field(default_factory=dict)
    timed: bool = True
    json: Path | None = None
    junit: Path | None = None
    html: Path | None = None
    version: str = ""


def conformance(options: Options) -> int:
    """Run it, and say how it went. Returns the exit code."""
    try:
        return asyncio.run(_run(options))
    except (CasesError, TargetError) as error:
        problem = str(error)
    except OSError as error:
        problem = f"{error.strerror or error} ({error.filename or f'{options.host}:{options.port}'})"
    print(f"safety-proxy: {printable(problem)}", file=sys.stderr)
    return NOT_RUN


def write_policy(path: Path) -> None:
    """Write the four rules as a policy of safety-proxy. Raises OSError."""
    shutil.copyfile(POLICY, path)


async def _run(options: Options) -> int:
    cases = load([FOLDER, *options.folders])
    dialects = [DIALECTS[name] for name in options.dialects]
    async with serving(options.host, options.port) as server:
        _say_what_to_do(options, server)
        async with http_client(options.patience, options.headers) as http:
            client = Client(http, options.target, options.patience)
            for dialect in dialects:
                await find(client, server, dialect, options.wait)
            results = await run(cases, dialects, client, server, _progress)
            timings = await _timings(options, client, server, dialects)
    _report(options, results, timings)
    return PASSED if all(result.passed for result in results) else FAILED


def _say_what_to_do(options: Options, server: Server) -> None:
    lines = [f"The scripted model server is {server.url}. The guard at {options.target} has to stand in front of it"]
    lines += [
        "and to have four rules (--policy-hint FILE writes them for safety-proxy):",
        *(f"  {one}" for one in RULES),
    ]
    print(*lines, sep="\n", file=sys.stderr, flush=True)


def _progress(done: int, total: int, case: Case, dialect: str) -> None:
    if sys.stderr.isatty():
        line = printable(f"{done + 1} of {total}: {dialect} {case.id}")[:78]
        print(f"\r{line:<78}", end="\n" if done + 1 == total else "", file=sys.stderr, flush=True)


async def _timings(options: Options, client: Client, server: Server, dialects: Sequence[Dialect]) -> list[Timing]:
    if not options.timed:
        return []
    async with http_client(options.patience, {}) as http:
        direct = Client(http, server.url, options.patience)
        found = [await measure(client, direct, server, dialect) for dialect in dialects]
    return [timing for timing in found if timing is not None]


def _report(options: Options, results: Sequence[Result], timings: Sequence[Timing]) -> None:
    if options.json is not None:
        options.json.write_text(as_json(options.target, options.version, results, timings) + "\n", "utf-8")
    if options.junit is not None:
        options.junit.write_bytes(as_junit(options.target, results))
    if options.html is not None:
        options.html.write_text(as_html(options.target, options.version, results, timings), "utf-8")
    for line in summary(results, timings):
        print(printable(line))

"""Runs the scenarios. In each round every contestant has its turn, so that a noisy machine is noisy for all."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from bench.clocks import cpu_ns
from bench.contestants import CONTESTANTS, HUNDRED, OURS, REPOSITORY, Running, Unavailable, upstream
from bench.load import Result, command
from bench.scenarios import FIRST_STEPS, WARM_UP, Kind, Scenario
from bench.wire import Pace, prompt

RELOAD, SCRAPE, PROMPT = 3, 6, 9
"""Seconds after the start at which a run is disturbed."""


@dataclass
class Figures:
    """Results by scenario and contestant, one for each round. `notes`: who did not take part, and why."""

    results: dict[str, dict[str, list[Result]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    upstream_share: float = 0.0
    """The most of a core that the upstream used in any run."""

    def of(self, scenario: str, name: str) -> list[Result]:
        """The results of one contestant; empty if there are none."""
        return self.results.get(scenario, {}).get(name, [])

    def ratios(self, scenario: str, name: str, base: str, value: Callable[[Result], float]) -> list[float]:
        """The ratios of two contestants, round by round."""
        pairs = zip(self.of(scenario, name), self.of(scenario, base), strict=False)
        return [value(one) / value(other) for one, other in pairs if value(other)]


def run(scenarios: Sequence[Scenario], rounds: int, names: Iterable[str] | None = None) -> Figures:
    """Start all contestants, measure, stop them. `names`: those that may take part."""
    figures = Figures()
    wanted = {name for scenario in scenarios for name in scenario.takes_part}
    if names is not None:
        wanted &= set(names)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        folder.chmod(0o755)
        source = stack.enter_context(upstream())
        running = dict(_start(wanted, source.port, folder, figures, stack))
        for number in range(rounds):
            for scenario in scenarios:
                if number < scenario.rounds:
                    _round(scenario, running, source, figures, number)
    return figures


def _start(
    wanted: set[str], port: int, folder: Path, figures: Figures, stack: ExitStack
) -> Iterator[tuple[str, Running]]:
    for number, (name, start) in enumerate(CONTESTANTS.items()):
        if name not in wanted:
            continue
        show_progress(f"starting {name}")
        try:
            contestant = stack.enter_context(start(port, folder / str(number)))
        except Unavailable as reason:
            figures.notes.append(f"{name}: left out. {reason}")
        else:
            measure(WARM_UP if name in OURS else FIRST_STEPS, contestant)
            yield name, contestant


def _round(scenario: Scenario, running: dict[str, Running], source: Running, figures: Figures, number: int) -> None:
    """Every contestant once. The first one changes from round to round."""
    taking_part = [running[name] for name in scenario.takes_part if name in running]
    turn = number % len(taking_part) if taking_part else 0
    results = figures.results.setdefault(scenario.key, {})
    for contestant in taking_part[turn:] + taking_part[:turn]:
        show_progress(f"round {number + 1}, {scenario.title}: {contestant.name}")
        began, used = time.monotonic_ns(), cpu_ns(source.pids)
        result = measure(scenario, contestant)
        share = (cpu_ns(source.pids) - used) / (time.monotonic_ns() - began)
        figures.upstream_share = max(figures.upstream_share, share)
        results.setdefault(contestant.name, []).append(result)


def measure(scenario: Scenario, contestant: Running) -> Result:
    """One run of the load client."""
    plan = scenario.plan(contestant.name, contestant.port, contestant.pids)
    with subprocess.Popen(command(plan), cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        lines = iter(client.stdout.readline, "")
        line = next(lines)
        if line.startswith('{"open"'):
            if scenario.kind is Kind.MEMORY and contestant.name == HUNDRED:
                disturb(contestant)
            line = next(lines)
    return Result(**orjson.loads(line))


def disturb(contestant: Running) -> None:
    """Disturb the run from a thread: a policy changes, a scrape comes, a prompt of 100 KB comes."""

    def act() -> None:
        began = time.monotonic()
        for due, what in ((RELOAD, _reload), (SCRAPE, _scrape), (PROMPT, _ask_at_length)):
            time.sleep(max(0.0, began + due - time.monotonic()))
            try:
                what(contestant)
            except OSError as error:
                print(f"the run was not disturbed as it should be: {error}", file=sys.stderr)

    threading.Thread(target=act, daemon=True).start()


def _reload(contestant: Running) -> None:
    assert contestant.policies is not None
    file = contestant.policies / "bench.json"
    policy = orjson.loads(file.read_bytes())
    policy["rules"][0]["words"].append("another phrase altogether")
    file.write_bytes(orjson.dumps(policy))


def _scrape(contestant: Running) -> None:
    with urllib.request.urlopen(f"{contestant.admin}/metrics", timeout=60) as answer:
        answer.read()


def _ask_at_length(contestant: Running) -> None:
    question = [{"role": "user", "content": prompt(100_000)}]
    body = orjson.dumps({"model": Pace(n=5).model(), "messages": question})
    url = f"http://127.0.0.1:{contestant.port}/v1/chat/completions"
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()


def show_progress(text: str) -> None:
    """Show on a terminal how far the bench is."""
    if sys.stderr.isatty():
        with contextlib.suppress(OSError):
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()

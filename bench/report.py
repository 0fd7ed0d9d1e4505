"""Figures as Markdown: the machine, a table for each scenario, and what was to be reached beside what was."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from bench import contestants as who
from bench.load import Result
from bench.machine import machine
from bench.runs import PROMPT, RELOAD, SCRAPE, Figures
from bench.scenarios import SCENARIOS, Kind, Scenario

Cells = Callable[[Figures, Scenario, str], list[str]]
STALL_MS = 50.0


LIBRARIES = ("uvloop", "httptools", "uvicorn", "orjson", "starlette", "httpx")


def report(figures: Figures) -> str:
    """All of it."""
    blocks = [
        machine(LIBRARIES, _peer_versions()),
        *figures.notes,
        f"The upstream used at most {figures.upstream_share:.0%} of a core.",
    ]
    blocks += ["\n".join(table(figures, scenario)) for scenario in SCENARIOS if figures.results.get(scenario.key)]
    return "\n\n".join([*blocks, "\n".join(reach(figures))])


def _peer_versions() -> Iterator[str]:
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is not None:
        said = subprocess.run([program, "-v"], capture_output=True, text=True, check=False).stderr
        yield said.strip().rpartition(" ")[2].replace("/", " ")
    for folder in who.PEERS.glob("lib/*/site-packages/litellm-*.dist-info"):
        yield folder.name.removesuffix(".dist-info").replace("-", " ")


# The tables


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Median and range."""
    if not values:
        return "-"
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def table(figures: Figures, scenario: Scenario) -> Iterator[str]:
    """A row for each contestant."""
    columns, cells = TABLES[scenario.kind]
    yield f"**{scenario.title}**"
    yield ""
    yield "| | " + " | ".join(columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for name in scenario.takes_part:
        if figures.of(scenario.key, name):
            yield f"| {name} | " + " | ".join(cells(figures, scenario, name)) + " |"


def _cpu(result: Result) -> float:
    return result.cpu


def _costs(figures: Figures, scenario: Scenario, name: str) -> list[str]:
    """CPU, and the same against the two that stand for the least and for the usual."""
    if name == who.DIRECT:
        return ["-", "-", "-"]
    against = [figures.ratios(scenario.key, name, base, _cpu) for base in (who.NGINX, who.NAIVE)]
    return [spread([r.cpu for r in figures.of(scenario.key, name)]), *(spread(ratios, 2) for ratios in against)]


def _paced(figures: Figures, scenario: Scenario, name: str) -> list[str]:
    results = figures.of(scenario.key, name)
    delays = [spread([r.delay[at] / 1000 for r in results if r.delay], 2) for at in (0, 2)]
    untouched = statistics.median(r.untouched for r in results)
    return [*_costs(figures, scenario, name), *delays, _waited(results), f"{untouched:.0%}", _served(results)]


def _flood(figures: Figures, scenario: Scenario, name: str) -> list[str]:
    rates = [r.events / r.seconds / 1000 for r in figures.of(scenario.key, name)]
    return [*_costs(figures, scenario, name), spread(rates, 0), _served(figures.of(scenario.key, name))]


def _short(figures: Figures, scenario: Scenario, name: str) -> list[str]:
    results = figures.of(scenario.key, name)
    return [*_costs(figures, scenario, name), spread([r.served / r.seconds for r in results], 0), _served(results)]


def _first(figures: Figures, scenario: Scenario, name: str) -> list[str]:
    results = figures.of(scenario.key, name)
    times = [spread([r.first[at] / 1000 for r in results], 2) for at in (0, 1)]
    return [*times, spread(added_first(figures, name), 2), spread([r.cpu for r in results], 0)]


def _memory(figures: Figures, scenario: Scenario, name: str) -> list[str]:
    results = figures.of(scenario.key, name)
    (result,) = results[:1]
    worst = [f"{ms:.0f}" for ms in worst_by_part(result)] if result.worst_ms else ["-"] * 4
    cpu = "-" if name == who.DIRECT else f"{result.cpu:.1f}"
    kib = "-" if name == who.DIRECT else f"{result.kib_a_stream:.0f}"
    return [_served(results), cpu, kib, _waited(results), str(result.stalls), *worst]


def _waited(results: Sequence[Result]) -> str:
    """Above a few percent, delays and stalls tell of the machine and not of the proxy."""
    return f"{statistics.median(r.waited for r in results):.0%}"


def _served(results: Sequence[Result]) -> str:
    served, wanted = sum(r.served for r in results), sum(r.wanted for r in results)
    return "all" if served == wanted else f"{served} of {wanted}"


def worst_by_part(result: Result) -> list[float]:
    """The longest delay (ms) before, after the reload, after the scrape, and after the long prompt."""
    seconds = result.worst_ms
    edges = [0, RELOAD, SCRAPE, PROMPT, len(seconds)]
    return [max(seconds[begin:end], default=0.0) for begin, end in pairwise(edges)]


def added_first(figures: Figures, name: str) -> list[float]:
    """Milliseconds until the first text on top of a direct request's, p50, round by round."""
    pairs = zip(figures.of("first", name), figures.of("first", who.DIRECT), strict=False)
    return [(one.first[0] - straight.first[0]) / 1000 for one, straight in pairs]


_AGAINST = ("CPU us per {unit}", "x nginx", "x naive")
_EVENT = tuple(column.format(unit="event") for column in _AGAINST)
_REQUEST = tuple(column.format(unit="request") for column in _AGAINST)
_MEMORY = (
    *("served", "CPU us per event", "KiB a stream", "no core", "over 50 ms"),
    *("worst ms", "after a reload", "a scrape", "a 100 KB prompt"),
)
TABLES: dict[Kind, tuple[tuple[str, ...], Cells]] = {
    Kind.PACED: ((*_EVENT, "delay p50 ms", "p99 ms", "no core", "untouched", "served"), _paced),
    Kind.FLOOD: ((*_EVENT, "1000 events/s", "served"), _flood),
    Kind.SHORT: ((*_REQUEST, "requests/s", "served"), _short),
    Kind.FIRST: (("p50 ms", "p90 ms", "p50 added ms", "CPU us per request"), _first),
    Kind.MEMORY: (_MEMORY, _memory),
}


# What was to be reached


class Reach(NamedTuple):
    """One row: the figure must be at most `most`.

    values: one for each round, none when it was not measured
    why:    what keeps it from being reached, for rows that mostly are not
    """

    what: str
    most: float
    values: Callable[[Figures], list[float]]
    digits: int = 2
    why: str = ""

    def line(self, figures: Figures) -> str:
        """Reached, or by how much not and why."""
        values = self.values(figures)
        if not values:
            return f"| {self.what} | {self.most:g} | - | not measured |"
        median = statistics.median(values)
        verdict = "reached" if median <= self.most else f"missed by {_missed(median, self.most)}{self.why}"
        return f"| {self.what} | {self.most:g} | {spread(values, self.digits)} | {verdict} |"


def _missed(value: float, most: float) -> str:
    return f"{value / most - 1:.0%}" if most else f"{value:g}"


def _ratio(scenario: str, base: str) -> Callable[[Figures], list[float]]:
    return lambda figures: figures.ratios(scenario, who.HUNDRED, base, _cpu)


def _added_delay(at: int) -> Callable[[Figures], list[float]]:
    def values(figures: Figures) -> list[float]:
        pairs = zip(figures.of("paced", who.HUNDRED), figures.of("paced", who.DIRECT), strict=False)
        return [(one.delay[at] - straight.delay[at]) / 1000 for one, straight in pairs]

    return values


def _first_against_naive(figures: Figures) -> list[float]:
    return [
        one / other
        for one, other in zip(added_first(figures, who.HUNDRED), added_first(figures, who.NAIVE), strict=False)
    ]


def _thousand(value: Callable[[Result], float]) -> Callable[[Figures], list[float]]:
    return lambda figures: [value(result) for result in figures.of("thousand", who.HUNDRED)]


COLD = (
    ": LiteLLM serves no more than some 1,000 events a second, and at the 320 that both can serve a process that "
    "sleeps between events finds its caches cold: an event costs it twice what it does at 3,200"
)
HOP = (
    ": a hop through another process costs nginx alone most of that here (its row above), and what is left has to do "
    "for an event's CPU time"
)
REACH = (
    Reach("CPU per event, 64 x 50/s, 100 rules, against nginx", 3.0, _ratio("paced", who.NGINX)),
    Reach("the same against the naive proxy", 0.35, _ratio("paced", who.NAIVE)),
    Reach("events that differ only in their text, against nginx", 3.0, _ratio("alike", who.NGINX)),
    Reach("the same against the naive proxy", 0.35, _ratio("alike", who.NAIVE)),
    Reach("CPU per event against LiteLLM with its filter", 0.05, _ratio("peers", who.LITELLM_FILTER), 3, COLD),
    Reach("short request, CPU against the naive proxy", 0.20, _ratio("short", who.NAIVE)),
    Reach("time to first text, added, p50 ms", 0.7, lambda figures: added_first(figures, who.HUNDRED)),
    Reach("the same against the naive proxy's", 0.5, _first_against_naive),
    Reach("delay of an event, added, p50 ms", 0.15, _added_delay(0), 2, HOP),
    Reach("delay of an event, added, p99 ms", 2.0, _added_delay(2)),
    Reach("flood, CPU us per event, 100 rules", 12, lambda f: [r.cpu for r in f.of("flood", who.HUNDRED)]),
    Reach(
        "flood of events that differ only in their text",
        12,
        lambda f: [r.cpu for r in f.of("flood-alike", who.HUNDRED)],
    ),
    Reach("1,000 streams: not served", 0, _thousand(lambda r: r.wanted - r.served), 0),
    Reach("1,000 streams: KiB a stream", 40, _thousand(lambda r: r.kib_a_stream), 0),
    Reach("1,000 streams: worst delay ms, disturbed too", STALL_MS, _thousand(lambda r: max(r.worst_ms, default=0)), 0),
)


def reach(figures: Figures) -> Iterator[str]:
    """The table of it."""
    yield "| to be reached (100 rules) | at most | was | |"
    yield "|---|---|---|---|"
    for row in REACH:
        yield row.line(figures)

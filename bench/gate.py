"""A check for CI: has the proxy become slower, measured against others in the same run?

    python -m bench.gate [--rounds 3]

It takes about two minutes. The limits are ratios within a round, of CPU time and of how late streams are beside
floods, and the median over the rounds counts. So a busy machine makes no difference. They leave a margin above what was
measured (docs/performance.md). Without nginx only the naive proxy is compared with. Exit code 1: a limit is exceeded.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator
from typing import NamedTuple

from bench import contestants as who
from bench import fairness, prompts
from bench.runs import Figures, run
from bench.scenarios import SCENARIOS

ROUNDS = 3
TAKE_PART = (who.NGINX, who.NAIVE, who.HUNDRED)


class Limit(NamedTuple):
    """The CPU of the proxy with 100 rules is at most so many times that of another contestant."""

    scenario: str
    base: str
    most: float

    def check(self, figures: Figures) -> Verdict:
        """Compare the median over the rounds."""
        ratios = figures.ratios(self.scenario, who.HUNDRED, self.base, lambda result: result.cpu)
        return Verdict(self, statistics.median(ratios) if ratios else None)


class Verdict(NamedTuple):
    """`ratio`: None if it could not be measured."""

    limit: Limit
    ratio: float | None

    @property
    def passed(self) -> bool:
        """Whether the ratio is within the limit. Only nginx may be missing."""
        if self.ratio is None:
            return self.limit.base == who.NGINX
        return self.ratio <= self.limit.most

    def line(self) -> str:
        """For people."""
        scenario, base, most = self.limit
        was = "not measured" if self.ratio is None else f"{self.ratio:.2f}"
        return f"{'ok  ' if self.passed else 'FAIL'} {scenario}: {was} x {base}, at most {most:g}"


LIMITS = (
    Limit("paced", who.NGINX, 3.5),
    Limit("paced", who.NAIVE, 0.45),
    Limit("alike", who.NGINX, 3.5),
    Limit("alike", who.NAIVE, 0.45),
    Limit("short", who.NAIVE, 0.35),
)


PROMPT_LIMITS = (
    (prompts.SHIPPED, Limit("again", who.NONE, 2.2)),  # of 400 KB that were judged before only the new turn is judged
    (who.HUNDRED, Limit("again", prompts.OFF, 0.2)),
    (prompts.SHIPPED, Limit("cold", who.NONE, 5.0)),  # without the quick look 100 rules take 40 times as much
    (who.HUNDRED, Limit("cold", who.NONE, 25.0)),
)
"""Of 400 KB of prompts: who is compared with whom."""


def prompt_verdicts(table: prompts.Table) -> Iterator[Verdict]:
    """One for each limit of long prompts."""
    for judged, limit in PROMPT_LIMITS:
        rows = table[limit.scenario]
        own, base = rows[judged].cpu, rows[limit.base].cpu
        yield Verdict(limit, statistics.median([one / other for one, other in zip(own, base, strict=True)]))


FAIR = Limit("events at 20 a second beside floods, how late (p99)", who.NGINX, 8.0)
"""Where one stream's work is not bounded, they are late by some 100 times as much."""


def fairness_verdict(rows: list[fairness.Row]) -> Verdict:
    """The median over the rounds."""
    pairs = zip(fairness.lateness(rows, who.HUNDRED), fairness.lateness(rows, who.NGINX), strict=False)
    ratios = [one / other for one, other in pairs]
    return Verdict(FAIR, statistics.median(ratios) if ratios else None)


def verdicts(figures: Figures) -> Iterator[Verdict]:
    """One for each limit."""
    return (limit.check(figures) for limit in LIMITS)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds: int = parser.parse_args().rounds
    scenarios = [s for s in SCENARIOS if s.key in {limit.scenario for limit in LIMITS}]
    figures = run(scenarios, rounds, TAKE_PART)
    cases = [case for case in prompts.CASES if case.key in ("again", "cold")]
    table, _ = prompts.measure(cases, (who.NONE, prompts.SHIPPED, who.HUNDRED, prompts.OFF), rounds)
    rows = list(fairness.floods(rounds, (who.NGINX, who.HUNDRED), [], quiet=False))
    found = [*verdicts(figures), *prompt_verdicts(table), fairness_verdict(rows)]
    print("\n".join([*figures.notes, *(verdict.line() for verdict in found)]))
    sys.exit(not all(verdict.passed for verdict in found))


if __name__ == "__main__":
    main()

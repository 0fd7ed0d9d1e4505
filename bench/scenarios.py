"""What is measured, on which contestants, with which load."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from bench import contestants as who
from bench.load import Plan
from bench.wire import Pace, tokens

EVERYBODY = (who.DIRECT, who.NGINX, who.NAIVE, *who.OURS)
FEW = (who.DIRECT, who.NGINX, who.NAIVE, who.NONE, who.HUNDRED)
PEERS = (who.NAIVE, who.HUNDRED, who.LITELLM, who.LITELLM_FILTER)
SETTLE = 300  # milliseconds, and one more for each stream, in which all streams of a run open
NAIVE_SHARE = 0.2


class Kind(Enum):
    """What a scenario's table shows."""

    PACED = auto()
    FLOOD = auto()
    SHORT = auto()
    FIRST = auto()
    MEMORY = auto()


@dataclass(frozen=True)
class Scenario:
    """One table. `quick`: it belongs to the short bench too."""

    key: str
    title: str
    kind: Kind
    pace: Pace
    streams: int = 1
    requests: int = 1
    pause: float = 0
    takes_part: tuple[str, ...] = EVERYBODY
    rounds: int = 99
    quick: bool = True

    def plan(self, name: str, port: int, pids: tuple[int, ...]) -> Plan:
        """For one contestant. The naive proxy gets less of the work without a pace: the figures are per unit."""
        pace, requests = self.pace, self.requests
        if name == who.NAIVE and self.kind is Kind.FLOOD:
            pace = replace(pace, n=round(pace.n * NAIVE_SHARE))
        if name == who.NAIVE and self.kind is Kind.SHORT:
            requests = round(requests * NAIVE_SHARE)
        stream = self.kind is not Kind.SHORT
        return Plan(port, pace.model(), self.streams, requests, stream, self.pause, pids=list(pids))


def paced(streams: int, rate: int, seconds: float, stamp: int = 1) -> Pace:
    """An answer that lasts so long."""
    return Pace(n=round(rate * seconds), rate=rate, stamp=stamp, wait=SETTLE + streams)


# A proxy runs for days, and its automata are built as text comes. So all of the text is read once before anything is
# measured. What a first reading costs is in bench/matching.py.
WARM_UP = Scenario("warm-up", "Warm-up", Kind.FLOOD, Pace(n=len(tokens()), batch=20, stamp=0))
FIRST_STEPS = replace(WARM_UP, pace=Pace(n=500, batch=20, stamp=0))
MAIN = Scenario("paced", "64 streams x 50 events/s", Kind.PACED, paced(64, 50, 3.0), 64)
SCENARIOS = (
    Scenario(
        *("thousand", "1,000 streams x 20 events/s", Kind.MEMORY, paced(1000, 20, 12.0), 1000),
        takes_part=(who.DIRECT, who.NGINX, who.HUNDRED),
        rounds=1,
    ),
    MAIN,
    # Not after a flood: httpx checks every idle connection for each request, and drops them after five seconds.
    Scenario("short", "Short answers, not streamed, 16 at a time", Kind.SHORT, Pace(n=9, batch=9, stamp=0), 16, 60),
    Scenario(
        "first", "Time to first text, one request after the other", Kind.FIRST, Pace(n=2, stamp=0), 1, 100, pause=5
    ),
    Scenario(
        *("alike", "64 streams x 50 events/s that differ in nothing but their text", Kind.PACED),
        *(paced(64, 50, 3.0, stamp=0), 64),
        takes_part=FEW[1:],
    ),
    Scenario("one", "1 stream x 50 events/s", Kind.PACED, paced(1, 50, 3.0), takes_part=FEW, quick=False),
    Scenario(*("many", "256 streams x 15 events/s", Kind.PACED, paced(256, 15, 3.0), 256), takes_part=FEW, quick=False),
    Scenario("flood", "Flood: 64 streams, 20 events a write", Kind.FLOOD, Pace(n=1500, batch=20), 64),
    Scenario(
        *("flood-alike", "Flood of events that differ in nothing but their text", Kind.FLOOD),
        *(Pace(n=1500, batch=20, stamp=0), 64),
        takes_part=FEW[1:],
    ),
    Scenario(
        *("peers", "16 streams x 20 events/s, beside LiteLLM", Kind.PACED, paced(16, 20, 3.0), 16),
        takes_part=PEERS,
        rounds=2,
        quick=False,
    ),
)

"""Run the drivers: `python -m fuzz.run --minutes 10`, or some of them: `--only "answers: /v1"`.

Each driver gets its share of the time, in rounds with new seeds. The first finding ends the run with status 1. It is
shrunk, and printed with the input that shows it again.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Sequence

from hypothesis import HealthCheck, Phase, seed, settings

from fuzz import answers, bodies, framing, requests

CHECKS = {**framing.CHECKS, **bodies.CHECKS, **answers.CHECKS, **requests.CHECKS}
ROUND = 500  # cases


def run(check: Callable[[], None], seconds: float, first_seed: int) -> int:
    """Run rounds until the time is over. Returns the number of cases. Raises what a check raises."""
    rules = settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    ends = time.monotonic() + seconds
    rounds = 0
    rules(check)
    while time.monotonic() < ends:
        seed(first_seed + rounds)(check)()
        rounds += 1
    return rounds * ROUND


def main(given: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.run", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="in all; each driver gets its share")
    parser.add_argument("--only", default="", help="drivers whose name has this in it")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the first round")
    options = parser.parse_args(given)
    chosen = {name: check for name, check in CHECKS.items() if options.only in name}
    if not chosen:
        parser.error(f"no driver is named so; there are: {', '.join(CHECKS)}")
    return run_all(chosen, options.minutes * 60 / len(chosen), options.seed)


def run_all(chosen: dict[str, Callable[[], None]], seconds: float, first_seed: int) -> int:
    """Run each driver for so many seconds. Returns 1 after the first finding."""
    print(f"{len(chosen)} drivers, {seconds:.0f} s each, from seed {first_seed}", flush=True)
    for name, check in chosen.items():
        try:
            cases = run(check, seconds, first_seed)
        except Exception:
            traceback.print_exc()
            print(f"FINDING in {name} (seed {first_seed})", flush=True)
            return 1
        print(f"{name:40} {cases:9} cases, no finding", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What the proxy costs, beside nginx (the least possible), a naive proxy (the usual) and LiteLLM, in one run.

    python -m bench [--quick] [--rounds 3] [--only paced --only first] [--json FILE]

Trust CPU times, which come from each process's own clock, and ratios, which are taken within a round. Times as a client
sees them depend on whatever else the machine does. Linux only.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from bench.report import report
from bench.runs import run, show_progress
from bench.scenarios import FEW, SCENARIOS


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round of the most telling part, in two minutes")
    parser.add_argument("--rounds", type=int, help="how often each is measured (default 3; quick: 1)")
    parser.add_argument("--only", action="append", choices=[s.key for s in SCENARIOS], help="this scenario")
    parser.add_argument("--json", type=Path, help="write every single figure to this file")
    options = parser.parse_args()
    chosen = [s for s in SCENARIOS if (s.key in options.only if options.only else s.quick or not options.quick)]
    rounds = options.rounds or (1 if options.quick else 3)
    figures = run(chosen, rounds, FEW if options.quick else None)
    show_progress("")
    if options.json is not None:
        options.json.write_text(json.dumps(asdict(figures)), encoding="utf-8")
    print(report(figures))


if __name__ == "__main__":
    main()

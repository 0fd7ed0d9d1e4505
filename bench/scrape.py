"""Does a scrape of the metrics delay streams? The delay of events with a scrape each second, and without, in turns.

    python -m bench.scrape [--rounds 5]

The machine's own noise is in both. The difference of the medians is what counts; the goal is 5 ms at the 99th
percentile.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from bench import contestants as who
from bench.runs import measure
from bench.scenarios import MAIN, WARM_UP

EVERY = 1.0  # seconds
MOST_ADDED_MS = 5.0


@contextmanager
def scraping(contestant: who.Running) -> Generator[list[int]]:
    """Scrape each second while the block runs; the number of bytes of each scrape."""
    sizes: list[int] = []
    over = threading.Event()

    def scrape() -> None:
        while not over.wait(EVERY):
            with urllib.request.urlopen(f"{contestant.admin}/metrics", timeout=60) as answer:
                sizes.append(len(answer.read()))

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield sizes
    finally:
        over.set()
        thread.join()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds: int = parser.parse_args().rounds
    quiet: list[list[float]] = []
    scraped: list[list[float]] = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        who.upstream() as source,
        who.ours(who.HUNDRED, source.port, Path(folder) / "ours") as ours,
    ):
        measure(WARM_UP, ours)
        for _ in range(rounds):
            quiet.append(measure(MAIN, ours).delay)
            with scraping(ours) as sizes:
                scraped.append(measure(MAIN, ours).delay)
    for place, name in enumerate(("p50", "p90", "p99")):
        before, after = (statistics.median(delay[place] / 1000 for delay in one) for one in (quiet, scraped))
        print(f"{name}: {before:.2f} ms, with a scrape of {sizes[-1]:,} bytes each second {after:.2f} ms")
    print(f"the goal at p99: at most {MOST_ADDED_MS:g} ms more")


if __name__ == "__main__":
    main()
